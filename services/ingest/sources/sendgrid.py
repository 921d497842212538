"""SendGrid's Inbound Parse: a mail as a form, whole (`email`) or taken apart, each field in a charset of its own.

Inbound Parse does not sign as the event webhook does; the address that it is given carries a name and a password.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.options import MailOptions
from services.ingest.domain.provider import FORM, MULTIPART, Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.mail_rebuilt import Enclosed, TakenApart, form_text, octets

_LARGEST_ENCLOSED = 512 * 1024


def map_webhook(delivery: Delivery, origin: Origin, options: MailOptions) -> Mapped:
    """Map a parsed or a raw mail. Raises `Unmapped` for what it does not understand."""
    form = delivery.payload
    if not isinstance(form, dict):
        raise Unmapped("not_an_object")
    recipients = _recipients(form)
    raw = form.get("email")
    if isinstance(raw, str) and raw.strip():
        delivered = "".join(f"X-Original-To: {one}\r\n" for one in recipients)
        mail = delivered.encode("utf-8", "replace") + octets(raw)
    else:
        mail = _taken_apart(form, delivery.files, recipients).put_together()
    return map_mail(mail, Mailbox.of(options), origin)


def _taken_apart(form: Mapping[str, Any], files: Mapping[str, bytes], recipients: Sequence[str]) -> TakenApart:
    charsets = _object(form.get("charsets"))

    def text(field: str) -> str | None:
        value = form.get(field)
        return form_text(value, str(charsets.get(field, "utf-8"))) if isinstance(value, str) else None

    headers = _headers(form_text(str(form.get("headers", ""))))
    there = {name.lower() for name, _ in headers}
    for name in ("From", "To", "Cc", "Subject"):
        value = text(name.lower())
        if name.lower() not in there and value:
            headers.append((name, value))
    headers += [("X-Original-To", one) for one in recipients]
    return TakenApart(headers, text("text"), text("html"), _enclosed(form, files))


def _headers(block: str) -> list[tuple[str, str]]:
    """Return the headers of the mail, which come as they stood there, folded lines and all."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines():
        if line[:1] in {" ", "\t"} and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        elif ":" in line:
            name, _, value = line.partition(":")
            found.append((name, value.strip()))
    return found


def _enclosed(form: Mapping[str, Any], files: Mapping[str, bytes]) -> Sequence[Enclosed]:
    described = _object(form.get("attachment-info"))
    found = []
    for field, content in files.items():
        said = described.get(field)
        kind = str(said.get("type", "")) if isinstance(said, dict) else ""
        if 0 < len(content) <= _LARGEST_ENCLOSED:
            found.append(Enclosed(content, kind))
    return [each for each in found if each.known_kind != "application/octet-stream"]


def _recipients(form: Mapping[str, Any]) -> list[str]:
    """Return the addresses of ours to which it was delivered."""
    listed = _object(form.get("envelope")).get("to")
    addresses = listed if isinstance(listed, list) else []
    return [" ".join(one.split()) for one in addresses if isinstance(one, str) and "@" in one][:20]


def _object(written: Any) -> dict[str, Any]:
    try:
        found = json.loads(written) if isinstance(written, str) else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


PROVIDER = Provider(
    name="sendgrid",
    scheme=SchemeName.BASIC,
    read=map_webhook,
    options=MailOptions,
    media=FORM | MULTIPART,
    large=True,
    has_system=False,
)
