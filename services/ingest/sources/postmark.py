"""Postmark's inbound stream: a mail as JSON, whole (RawEmail) or taken apart.

Postmark does not sign; the address that it is given carries a name and a password, which it sends in the header.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.options import MailOptions
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.mail_rebuilt import Enclosed, TakenApart, code_of, mailbox_header, octets

# What the button "Check" sends: always the same mail, from Postmark's support.
_TEST = frozenset({"73e6d360-66eb-11e1-8e72-a8904824019b", "00000000-0000-0000-0000-000000000000"})
_APART = (("From", "FromFull"), ("To", "ToFull"), ("Cc", "CcFull"), ("Bcc", "BccFull"))
_PLAIN = (("Subject", "Subject"), ("Date", "Date"), ("Reply-To", "ReplyTo"))
_LARGEST_ENCLOSED = 512 * 1024


def map_webhook(delivery: Delivery, origin: Origin, options: MailOptions) -> Mapped:
    """Map a delivery of the inbound stream. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    record = payload.get("RecordType", "Inbound")
    if record != "Inbound":
        # Another stream's webhook was given this address.
        return Mapped(ignored=f"record:{code_of(record)}")
    if str(payload.get("MessageID")) in _TEST:
        return Mapped(ignored="test")
    raw = payload.get("RawEmail")
    if isinstance(raw, str) and raw.strip():
        mail = _delivered(payload) + octets(raw)
    else:
        mail = _taken_apart(payload).put_together()
    return map_mail(mail, Mailbox.of(options), origin)


def _delivered(payload: Mapping[str, Any]) -> bytes:
    """Return the header that says to which of our addresses it came; the raw mail does not."""
    recipient = payload.get("OriginalRecipient")
    if not isinstance(recipient, str) or "@" not in recipient:
        return b""
    return f"X-Original-To: {' '.join(recipient.split())}\r\n".encode("utf-8", "replace")


def _taken_apart(payload: Mapping[str, Any]) -> TakenApart:
    given = [
        (str(header["Name"]), str(header["Value"]))
        for header in _objects(payload.get("Headers"))
        if "Name" in header and "Value" in header
    ]
    there = {name.strip().lower() for name, _ in given}
    for name, field in _APART:
        people = payload.get(field)
        listed = [people] if isinstance(people, dict) else _objects(people)
        if name.lower() not in there and listed:
            given.append((name, ", ".join(mailbox_header(one.get("Name"), one.get("Email")) for one in listed)))
    for name, field in _PLAIN:
        value = payload.get(field)
        if name.lower() not in there and isinstance(value, str) and value:
            given.append((name, value))
    recipient = payload.get("OriginalRecipient")
    if isinstance(recipient, str) and "@" in recipient:
        given.append(("X-Original-To", recipient))
    return TakenApart(given, _text(payload, "TextBody"), _text(payload, "HtmlBody"), _enclosed(payload))


def _enclosed(payload: Mapping[str, Any]) -> Sequence[Enclosed]:
    found = []
    for attachment in _objects(payload.get("Attachments")):
        content = attachment.get("Content", attachment.get("Data"))
        if not isinstance(content, str) or len(content) > _LARGEST_ENCLOSED:
            continue
        try:
            found.append(Enclosed(base64.b64decode(content), str(attachment.get("ContentType", ""))))
        except (binascii.Error, ValueError):
            continue
    return found


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(payload: Mapping[str, Any], field: str) -> str | None:
    value = payload.get(field)
    return value if isinstance(value, str) else None


PROVIDER = Provider(
    name="postmark",
    scheme=SchemeName.BASIC,
    read=map_webhook,
    options=MailOptions,
    large=True,
    has_system=False,
)
