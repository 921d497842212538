"""Mail, as one mailbox saw it: RFC 5322 bytes → what was received or sent, and whose address bounced."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mailparser_reply import EmailReplyParser

from contracts.events import ContactBounced, EmailReceived, EmailSent, Event
from contracts.ids import derive_id, digest
from contracts.values import EARLIEST, Direction, InteractionKey, Kind, Party, PartyRole, Reference, Revision
from services.ingest.domain.identities import normalise_address, one_line
from services.ingest.domain.mail_identity import MAIL_SYSTEM, mail_native_id, unnamed_mail_native_id
from services.ingest.domain.mapping import Mapped, Origin, Unmapped, micros, storable_text
from services.ingest.sources.mail_automatic import classify
from services.ingest.sources.mail_message import Mail

_ROLES: Sequence[PartyRole] = ("to", "cc", "bcc")
_SKEW = timedelta(days=1)
_PRIVATE = frozenset({"private", "personal", "company-confidential"})
_LABELS = ("x-gmail-labels", "keywords", "x-keywords")
_MOST_LABELS = 100
_FAILED_FOR_GOOD = re.compile(r"^5\.\d{1,3}\.\d{1,3}")
# The line above a quoted mail. The reply parser knows those of English and German programs only.
_QUOTED_BELOW = re.compile(
    r"^-{3,} ?(?:Ursprüngliche Nachricht|Original Message|Mensaje original|Mensagem original) ?-{3,}[ \t]*$|"
    r"^(?:On|Am|El|Em|Le|Il|No dia)\b[^\n]{4,200}(?:\n[^\n]{0,120})?\b"
    r"(?:wrote|schrieb[^\n:]{0,120}|escribió|escreveu|a écrit|ha scritto) ?:[ \t]*$",
    re.MULTILINE,
)
_REPLIES = EmailReplyParser(languages=["en", "de", "es", "fr", "it", "nl"])


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Whose mail it is and what may be kept of it."""

    address: str
    """Normalised."""
    content: bool = True
    internal: bool = False


def map_mail(raw: bytes, mailbox: Mailbox, origin: Origin, *, stored_at: datetime | None = None) -> Mapped:
    """Map one mail. `stored_at` is the server's own receipt time, where it is known.

    Raises `Unmapped` only for what has no sender that could be anybody.
    """
    mail = Mail(raw)
    sender = _sender(mail)
    if sender is None:
        raise Unmapped("no_sender")
    name, address = sender
    automatic = classify(mail, address, origin.directory)
    recipients = _recipients(mail, origin)
    direction = _direction(address, recipients, mailbox, origin)
    dated = mail.moment(mail.value("date"))
    sent_at = _plausible(dated, origin)
    stored_at = _plausible(mail.received_at(), origin) or _plausible(stored_at, origin)
    occurred_at = stored_at or sent_at or origin.received_at
    key = InteractionKey(kind=Kind.MAIL, system=MAIL_SYSTEM, native_id=_native_id(mail, address, dated))
    revision = origin.revision(micros(occurred_at), raw)
    bounces = _bounces(mail, key.native_id, revision, occurred_at, origin) if automatic == "bounce" else []
    if direction == "internal" and not mailbox.internal:
        # A bounce that our own server wrote is among ourselves, but it speaks of somebody else.
        return Mapped(bounces) if bounces else Mapped(ignored="internal")
    private = mail.plain("sensitivity") in _PRIVATE
    kept = mailbox.content and not private
    author = origin.directory.party("from", address=address, name=name)
    report = {
        "interaction": key,
        "report": mailbox.address,
        "revision": revision,
        "source": origin.source,
        "occurred_at": occurred_at,
        "parties": [party for party in (author, *recipients) if party is not None],
        "references": _references(mail),
        "title": one_line(mail.value("subject"), 1000) if kept else None,
        "text": newest_reply(mail.text()) if kept else None,
        "mailbox": mailbox.address,
        "direction": direction,
        "sent_at": sent_at,
        "automatic": automatic,
        "labels": _labels(mail),
        "private": private,
    }
    model = EmailReceived if direction == "in" else EmailSent
    return Mapped([model.model_validate(report), *bounces])


def newest_reply(text: str) -> str | None:
    """Return what the writer of a mail added to it: without quoted mails and signature."""
    cut = _QUOTED_BELOW.search(text)
    own = text[: cut.start()] if cut else text
    try:
        reply = _REPLIES.parse_reply(own.replace("\r\n", "\n"))
    except (ValueError, IndexError, AttributeError, RecursionError):
        reply = None
    # A mail that is nothing but a quotation, or that the parser took for one, is kept whole.
    return storable_text(reply) or storable_text(own) or storable_text(text)


def _sender(mail: Mail) -> tuple[str, str] | None:
    """Return (name, normalised address) of who wrote it; some notifications carry a Sender or Return-Path only."""
    for header in ("from", "sender", "return-path"):
        for name, raw in mail.addresses(header):
            address = normalise_address(raw)
            if address is not None:
                return name, address
    return None


def _recipients(mail: Mail, origin: Origin) -> list[Party]:
    found: dict[tuple[str, str], Party] = {}
    for role in _ROLES:
        for name, raw in mail.addresses(role):
            party = origin.directory.party(role, address=raw, name=name)
            if party is not None:
                found.setdefault((role, party.identities[0].value), party)
    return list(found.values())


def _direction(sender: str, recipients: Sequence[Party], mailbox: Mailbox, origin: Origin) -> Direction:
    if not origin.directory.is_own(sender) and sender != mailbox.address:
        return "in"
    if recipients and all(party.ours for party in recipients):
        return "internal"
    return "out"


def _plausible(moment: datetime | None, origin: Origin) -> datetime | None:
    """A clock that is wrong by years says nothing."""
    if moment is None or not EARLIEST <= moment <= origin.received_at + _SKEW:
        return None
    return moment


def _native_id(mail: Mail, sender: str, dated: datetime | None) -> str:
    """The date as it is written, plausible or not: an id must not depend on when we look."""
    message_id = mail.message_ids("message-id")
    if message_id:
        return mail_native_id(message_id[0], sender, dated)
    body = digest(mail.body_bytes())
    return unnamed_mail_native_id(sender, dated, mail.value("to"), mail.value("subject"), body)


def _references(mail: Mail) -> tuple[Reference, ...]:
    found = mail.message_ids("references", "in-reply-to", "message-id")
    return tuple(Reference(kind="message", value=value) for value in found)


def _labels(mail: Mail) -> list[str]:
    written = (label for name in _LABELS for value in mail.values(name) for label in value.split(","))
    cleaned = {label for label in (one_line(each.strip(' "')) for each in written) if label}
    return sorted(cleaned)[:_MOST_LABELS]


def _bounces(mail: Mail, report: str, revision: Revision, at: datetime, origin: Origin) -> list[Event]:
    """Return who cannot be reached any more, by a delivery status notification (RFC 3464)."""
    events: dict[str, Event] = {}
    for fields in map(dict, mail.delivery_reports()):
        status = fields.get("status", "").strip()
        if fields.get("action", "").strip().lower() != "failed" or not _FAILED_FOR_GOOD.match(status):
            continue
        recipient = (fields.get("original-recipient") or fields.get("final-recipient") or "").rpartition(";")[2]
        address = normalise_address(recipient.strip(" <>"))
        party = origin.directory.party("subject", address=address) if address else None
        if address is None or party is None or party.ours:
            continue
        events[address] = ContactBounced(
            interaction=InteractionKey(kind=Kind.CONTACT, system=MAIL_SYSTEM, native_id=derive_id("address", address)),
            report=report,
            revision=revision,
            source=origin.source,
            occurred_at=at,
            parties=(party,),
            references=(Reference(kind="message", value=mail_id),) if (mail_id := _about(mail)) else (),
            reason=status[:20],
        )
    return list(events.values())


def _about(mail: Mail) -> str | None:
    """Return the Message-ID of the notification itself: the evidence."""
    return next(iter(mail.message_ids("message-id")), None)
