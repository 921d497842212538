"""Mail, as one mailbox saw it: RFC 5322 bytes → what was received or sent, who meets, and whose address bounced."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Self

from contracts.events import ContactBounced, EmailReceived, EmailSent, Event
from contracts.ids import derive_id
from contracts.values import EARLIEST, Automatic, Direction, Kind, Party, PartyRole, Reference, Revision
from services.ingest.domain.identities import Directory, normalise_address, one_line, without_tag
from services.ingest.domain.mail_identity import MAIL_SYSTEM, mail_native_id, unnamed_mail_native_id
from services.ingest.domain.mail_mime import ReadMail
from services.ingest.domain.mapping import LONGEST_TEXT, MAPPER, Mapped, Origin, Unmapped, micros
from services.ingest.domain.options import MailOptions
from services.ingest.domain.privacy import Looked
from services.ingest.domain.reports import key_of, reference_to, reported, revision_of
from services.ingest.sources.icalendar import mail_notices
from services.ingest.sources.mail_automatic import classify
from services.ingest.sources.mail_away import away_until
from services.ingest.sources.mail_bounce import failed_addresses
from services.ingest.sources.mail_message import Mail, dated_there
from services.ingest.sources.mail_reply import newest_reply

_ROLES: Sequence[PartyRole] = ("to", "cc", "bcc")
_SERVER = re.compile(r"\b(?:mailer-?daemon|postmaster)\b")
_SKEW = timedelta(days=1)
_PRIVATE = frozenset({"private", "personal", "company-confidential"})
_LABELS = ("x-gmail-labels", "keywords", "x-keywords")
_MOST_LABELS = 100
_LONGEST_LABELS = 20_000
_MOST_PARTIES = 1000
"""Of ten thousand recipients: a record must not outgrow what the broker takes."""
_DELIVERED = ("delivered-to", "x-original-to", "x-delivered-to", "envelope-to", "x-envelope-to")
_LOOKED_AT = ("from", "sender", "reply-to", "return-path", *_ROLES, *_DELIVERED)
# Where a group or a relay that puts itself into From says who wrote it.
_ORIGINAL_AUTHOR = ("x-original-from", "x-original-sender", "x-google-original-from")
# Where a relay that gives a mail another Message-ID keeps the first: Amazon SES and Exchange replace it.
_ORIGINAL_ID = ("x-original-message-id", "x-microsoft-original-message-id", "x-google-original-message-id")


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Whose mail it is and what may be kept of it."""

    address: str
    """Normalised."""
    content: bool = True
    internal: bool = False
    aliases: frozenset[str] = field(default=frozenset())
    """Other addresses of the same people, normalised."""
    excerpt: int = LONGEST_TEXT
    """Characters of text that are kept; 0: none."""

    @classmethod
    def of(cls, options: MailOptions) -> Self:
        """Return the mailbox that sources.toml describes."""
        return cls(
            options.mailbox,
            content=options.content,
            internal=options.internal,
            aliases=frozenset(options.aliases),
            excerpt=options.excerpt,
        )

    def owns(self, address: str) -> bool:
        """Say whether a normalised address is this mailbox's, plus-addresses included."""
        plain = without_tag(address)
        return plain == without_tag(self.address) or plain in self.aliases or address in self.aliases


@dataclass(frozen=True, slots=True)
class _Somebody:
    """A writer or recipient."""

    role: PartyRole
    address: str
    """Normalised."""
    name: str
    ours: bool


def map_mail(raw: bytes | ReadMail, mailbox: Mailbox, origin: Origin, *, stored_at: datetime | None = None) -> Mapped:
    """Map one mail. `stored_at` is the server's own receipt time, where it is known.

    Raises `Unmapped` only for what has no sender that could be anybody.
    """
    mail = Mail(raw)
    left_out = origin.privacy.left_out(_looked_at(mail, origin), origin.source)
    if left_out is not None:
        return Mapped(ignored=left_out)
    author = _author(mail, mailbox, origin.directory)
    if author is None:
        return _from_nobody(mail, origin, stored_at)
    automatic = classify(mail, author.address, origin.directory)
    recipients = _recipients(mail, mailbox, origin.directory)
    direction = _direction(author, recipients)
    if direction == "in" and not any(mailbox.owns(person.address) for person in recipients):
        # Blind copies, groups and forwarding: the mailbox had it, whatever the headers for people say.
        recipients.append(_Somebody("bcc", mailbox.address, "", ours=True))
    sent_at, dated = _moments(mail, origin, stored_at)
    occurred_at = dated or origin.received_at
    key = key_of(Kind.MAIL, MAIL_SYSTEM, _native_id(mail, author.address))
    revision = _revision(mail, origin, dated)
    kept = mailbox.content and mail.plain("sensitivity") not in _PRIVATE
    notices = mail_notices(mail.calendars, content=kept, since=occurred_at - _SKEW, sender=author.address)
    bounces = _bounces(mail, key.native_id, revision, occurred_at, origin) if automatic == "bounce" else []
    if direction == "internal" and not mailbox.internal:
        # A bounce that our own server wrote is among ourselves, but it speaks of somebody else.
        return Mapped(bounces, notices=notices) if bounces or notices else Mapped(ignored="internal")
    report = {
        "interaction": key,
        "report": mailbox.address,
        "revision": revision,
        "source": origin.source,
        "occurred_at": occurred_at,
        "parties": _parties(author, recipients, mailbox, origin.directory),
        "references": _references(mail, automatic),
        "mailbox": mailbox.address,
        "direction": direction,
        "sent_at": sent_at,
        "automatic": automatic,
        "labels": _labels(mail),
        "private": mail.plain("sensitivity") in _PRIVATE,
        "protection": mail.protection,
        **(_content(mail, mailbox, automatic) if kept else {}),
    }
    model = EmailReceived if direction == "in" else EmailSent
    return Mapped([reported(model, report), *bounces], notices=notices)


def _from_nobody(mail: Mail, origin: Origin, stored_at: datetime | None) -> Mapped:
    """Map what a mail server wrote that gives no address of its own: it can only speak of others."""
    signed = mail.plain("from").strip("<>")
    server = _SERVER.search(signed or ("mailer-daemon" if mail.plain("return-path") == "<>" else ""))
    if classify(mail, server.group() if server else "", origin.directory) != "bounce":
        raise Unmapped("no_sender")
    dated = _moments(mail, origin, stored_at)[1]
    bounces = _bounces(mail, _native_id(mail, ""), _revision(mail, origin, dated), dated or origin.received_at, origin)
    return Mapped(bounces) if bounces else Mapped(ignored="bounce")


def _moments(mail: Mail, origin: Origin, stored_at: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Return when it was sent by its own word, and when it came or was sent."""
    sent_at = _plausible(mail.moment(mail.value("date")), origin)
    return sent_at, _plausible(mail.received_at(), origin) or _plausible(stored_at, origin) or sent_at


def _revision(mail: Mail, origin: Origin, dated: datetime | None) -> Revision:
    return revision_of(origin.authority, micros(dated) if dated else 0, MAPPER, mail.read.digest)


def _content(mail: Mail, mailbox: Mailbox, automatic: Automatic | None) -> Mapping[str, Any]:
    """Return what only mailboxes say whose content may be kept."""
    own = newest_reply(mail.text)
    return {
        "title": one_line(mail.value("subject"), 1000),
        "text": own[: mailbox.excerpt].rstrip() or None if own else None,
        "away_until": _away_until(mail) if automatic in {"out_of_office", "auto_reply"} else None,
    }


def _away_until(mail: Mail) -> date | None:
    sent = dated_there(mail.value("date")) or mail.received_at()
    return None if sent is None else away_until(mail.subject, mail.text, sent)


def _looked_at(mail: Mail, origin: Origin) -> Looked:
    written = (normalise_address(address) for name in _LOOKED_AT for _, address in mail.addresses(name))
    return Looked(
        addresses=frozenset(address for address in written if address is not None),
        subject=mail.value("subject"),
        sensitivity=mail.plain("sensitivity"),
        labels=_labels(mail),
        folder=origin.folder,
    )


def _author(mail: Mail, mailbox: Mailbox, directory: Directory) -> _Somebody | None:
    """Return who wrote it; some notifications carry a Sender or Return-Path only."""
    found = _first(mail, ("from", "sender", "return-path"))
    if found is None:
        return None
    name, address = found
    if directory.is_own(address) or mailbox.owns(address):
        original = _before_the_group(mail, name, directory)
        if original is None:
            return _Somebody("from", address, name, ours=True)
        name, address = original
    return _Somebody("from", address, name, ours=False)


def _before_the_group(mail: Mail, name: str, directory: Directory) -> tuple[str, str] | None:
    """Return who wrote a mail that a group of ours sent on under its own name, or None where we wrote it ourselves."""
    through_list = "list-id" in mail or "x-google-group-id" in mail
    original = _first(mail, _ORIGINAL_AUTHOR)
    if original is None and through_list and " via " in name:
        # "Bob Miller via Support <support@…>": the one who is to be answered wrote it.
        original = _first(mail, ("reply-to",))
    if original is None or directory.is_own(original[1]):
        return None
    return original[0] or name.partition(" via ")[0].strip(" '\""), original[1]


def _first(mail: Mail, headers: Sequence[str]) -> tuple[str, str] | None:
    for header in headers:
        for name, raw in mail.addresses(header):
            address = normalise_address(raw)
            if address is not None:
                return name, address
    return None


def _recipients(mail: Mail, mailbox: Mailbox, directory: Directory) -> list[_Somebody]:
    found: dict[tuple[PartyRole, str], _Somebody] = {}
    for role in _ROLES:
        for name, raw in mail.addresses(role):
            address = normalise_address(raw)
            if address is not None and (role, address) not in found:
                ours = directory.is_own(address) or mailbox.owns(address)
                found[role, address] = _Somebody(role, address, name, ours=ours)
    return list(found.values())


def _direction(author: _Somebody, recipients: Sequence[_Somebody]) -> Direction:
    if not author.ours:
        return "in"
    if recipients and all(person.ours for person in recipients):
        return "internal"
    return "out"


def _parties(author: _Somebody, recipients: Sequence[_Somebody], mailbox: Mailbox, directory: Directory) -> list[Party]:
    people = [author, *recipients]
    if len(people) > _MOST_PARTIES:
        # Of too many those count whom it may concern: the author, this mailbox, then customers before colleagues.
        first = sorted(people, key=lambda one: (one is not author and not mailbox.owns(one.address), one.ours))
        chosen = set(map(id, first[:_MOST_PARTIES]))
        people = [person for person in people if id(person) in chosen]
    parties = (
        directory.party(person.role, address=person.address, name=person.name, ours=person.ours) for person in people
    )
    return [party for party in parties if party is not None]


def _plausible(moment: datetime | None, origin: Origin) -> datetime | None:
    """A clock that is wrong by years says nothing."""
    if moment is None or not EARLIEST <= moment <= origin.received_at + _SKEW:
        return None
    return moment


def _native_id(mail: Mail, author: str) -> str:
    """The date as it is written, plausible or not: an id must not depend on when we look."""
    dated = mail.moment(mail.value("date"))
    message_id = mail.message_ids(*_ORIGINAL_ID) or mail.message_ids("message-id")
    if message_id:
        return mail_native_id(message_id[0], author, dated)
    return unnamed_mail_native_id(author, dated, mail.value("to"), mail.value("subject"), mail.body_digest())


def _references(mail: Mail, automatic: Automatic | None) -> tuple[Reference, ...]:
    found = mail.message_ids("references", "in-reply-to", *_ORIGINAL_ID, "message-id")
    returned = mail.returned() if automatic == "bounce" else None
    if returned is not None:
        # A notification answers the mail that it gives back, though it seldom says so.
        found = list(dict.fromkeys([*returned.message_ids("message-id"), *found]))
    return tuple(reference_to("message", value) for value in found)


def _labels(mail: Mail) -> list[str]:
    written = (label for name in _LABELS for value in mail.values(name) for label in value[:_LONGEST_LABELS].split(","))
    cleaned = {label for label in (one_line(each.strip(' "')) for each in written) if label}
    return sorted(cleaned)[:_MOST_LABELS]


def _bounces(mail: Mail, report: str, revision: Revision, at: datetime, origin: Origin) -> list[Event]:
    """Return who cannot be reached any more. The notification's own Message-ID is the evidence."""
    evidence = tuple(reference_to("message", value) for value in mail.message_ids("message-id")[:1])
    return _contacts_bounced(failed_addresses(mail), report, revision, origin, at=at, evidence=evidence)


def bounced(
    failed: Iterable[tuple[str, str]], *, report: str, at: datetime, content: bytes, origin: Origin
) -> list[Event]:
    """Return the reports about everybody in `failed`, as (address as written, status), who is none of ours.

    `report` is the provider's id of what it reports, `content` its bytes.
    """
    return _contacts_bounced(failed, report, origin.revision(micros(at), content), origin, at=at)


def _contacts_bounced(
    failed: Iterable[tuple[str, str]],
    report: str,
    revision: Revision,
    origin: Origin,
    *,
    at: datetime,
    evidence: tuple[Reference, ...] = (),
) -> list[Event]:
    events: dict[str, Event] = {}
    for written, status in failed:
        address = normalise_address(written)
        party = origin.directory.party("subject", address=address) if address else None
        if address is None or party is None or party.ours:
            continue
        fields = {
            "interaction": key_of(Kind.CONTACT, MAIL_SYSTEM, derive_id("address", address)),
            "report": report,
            "revision": revision,
            "source": origin.source,
            "occurred_at": at,
            "parties": (party,),
            "references": evidence,
            "reason": status[:20],
        }
        events[address] = reported(ContactBounced, fields)
    return list(events.values())
