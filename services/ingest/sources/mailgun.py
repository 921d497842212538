"""Mailgun's routes: a mail as a form, whole (`body-mime`, at an address that ends with "mime") or taken apart.

The signature covers a timestamp and a token, which stand in the form beside the mail.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from services.ingest.domain.mapping import Mapped, Origin, Unmapped
from services.ingest.domain.options import MailOptions
from services.ingest.domain.provider import FORM, JSON, MULTIPART, Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.mail_rebuilt import Enclosed, TakenApart, code_of, form_text, octets

_LARGEST_ENCLOSED = 512 * 1024


def map_webhook(delivery: Delivery, origin: Origin, options: MailOptions) -> Mapped:
    """Map what a route forwards or stores. Raises `Unmapped` for what it does not understand."""
    form = delivery.payload
    if not isinstance(form, dict):
        raise Unmapped("not_an_object")
    if isinstance(form.get("event-data"), dict):
        # Another webhook, about mail that was sent through Mailgun, was given this address.
        return Mapped(ignored=f"event:{code_of(form['event-data'].get('event'))}")
    stored_at = _taken_at(form.get("timestamp"))
    raw = form.get("body-mime")
    if isinstance(raw, str) and raw.strip():
        mail = _delivered(form) + octets(raw)
    else:
        mail = _taken_apart(form, delivery.files).put_together()
    return map_mail(mail, Mailbox.of(options), origin, stored_at=stored_at)


def _delivered(form: Mapping[str, Any]) -> bytes:
    recipient = form.get("recipient")
    if not isinstance(recipient, str) or "@" not in recipient:
        return b""
    return f"X-Original-To: {' '.join(recipient.split())}\r\n".encode("utf-8", "replace")


def _taken_apart(form: Mapping[str, Any], files: Mapping[str, bytes]) -> TakenApart:
    headers = _headers(form.get("message-headers"))
    there = {name.lower() for name, _ in headers}
    for name in ("from", "subject"):
        if name not in there and isinstance(form.get(name), str):
            headers.append((name.title(), form_text(form[name])))
    if isinstance(form.get("recipient"), str):
        headers.append(("X-Original-To", form["recipient"]))
    return TakenApart(headers, _text(form, "body-plain"), _text(form, "body-html"), _enclosed(files))


def _headers(written: Any) -> list[tuple[str, str]]:
    """Return the headers in their order: a JSON list of pairs in a field."""
    try:
        pairs = json.loads(written) if isinstance(written, str) else []
    except (ValueError, RecursionError):
        raise Unmapped("bad_headers") from None
    if not isinstance(pairs, list):
        raise Unmapped("bad_headers")
    return [(str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2]  # noqa: PLR2004 - name and value


def _enclosed(files: Mapping[str, bytes]) -> Sequence[Enclosed]:
    """Return the attachments that say something; the form does not name their types."""
    found = (Enclosed(content) for content in files.values() if 0 < len(content) <= _LARGEST_ENCLOSED)
    return [each for each in found if each.known_kind != "application/octet-stream"]


def _text(form: Mapping[str, Any], field: str) -> str | None:
    value = form.get(field)
    return form_text(value) if isinstance(value, str) else None


def _taken_at(written: Any) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(written), UTC)
    except (ValueError, TypeError, OverflowError, OSError):
        return None


PROVIDER = Provider(
    name="mailgun",
    scheme=SchemeName.MAILGUN,
    read=map_webhook,
    options=MailOptions,
    media=FORM | MULTIPART | JSON,
    large=True,
    has_system=False,
)
