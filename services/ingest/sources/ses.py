"""Amazon SES, by way of SNS: mail that it received for us, and mail of ours that came back to it."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from services.ingest.domain.handshakes import sns_confirmation
from services.ingest.domain.mapping import Mapped, Origin, Unmapped, moment_of, object_at
from services.ingest.domain.options import MailOptions
from services.ingest.domain.provider import JSON, Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.mail import Mailbox, bounced, map_mail
from services.ingest.sources.mail_rebuilt import TakenApart, code_of

_GONE = frozenset({"General", "NoEmail", "OnAccountSuppressionList", "Suppressed"})


class SesOptions(MailOptions):
    """What a source may say beside what every mailbox may."""

    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """The topics (ARNs) whose messages we take: Amazon signs for everybody's."""


def map_webhook(delivery: Delivery, origin: Origin, options: SesOptions) -> Mapped:
    """Map a notification. Raises `Unmapped` for what it does not understand."""
    envelope = delivery.payload
    if not isinstance(envelope, dict) or envelope.get("Type") != "Notification":
        raise Unmapped("not_a_notification")
    message = _message(envelope)
    kind = message.get("notificationType", message.get("eventType"))
    if kind == "Received":
        return _received(message, origin, options)
    if kind == "Bounce":
        return _bounce(message, delivery, origin)
    return Mapped(ignored=f"notification:{code_of(kind)}")


def _message(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    written = envelope.get("Message")
    try:
        message = json.loads(written) if isinstance(written, str) else None
    except (ValueError, RecursionError):
        # When a subscription begins, SES sends a sentence.
        message = {"notificationType": "sentence"} if str(written).startswith("Successfully validated") else None
    if not isinstance(message, dict):
        raise Unmapped("bad_message")
    return message


def _received(message: Mapping[str, Any], origin: Origin, options: SesOptions) -> Mapped:
    mail, receipt = object_at(message, "mail"), object_at(message, "receipt")
    stored_at: datetime = moment_of(mail.get("timestamp"), "mail.timestamp")
    content = message.get("content")
    if isinstance(content, str) and content:
        raw = _content(content, receipt)
    else:
        # Kept in S3 or handed to Lambda: the notification has the headers only, which say who wrote to whom and when.
        raw = TakenApart(_headers(mail)).put_together()
    listed = receipt.get("recipients")
    recipients = [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    delivered = "".join(f"X-Original-To: {' '.join(one.split())}\r\n" for one in recipients[:20])
    return map_mail(delivered.encode("utf-8", "replace") + raw, Mailbox.of(options), origin, stored_at=stored_at)


def _content(content: str, receipt: Mapping[str, Any]) -> bytes:
    action = receipt.get("action")
    encoding = str(action.get("encoding", "")).upper() if isinstance(action, dict) else ""
    if encoding != "BASE64":
        return content.encode("utf-8", "replace")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise Unmapped("bad_content") from None


def _headers(mail: Mapping[str, Any]) -> list[tuple[str, str]]:
    listed = mail.get("headers")
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return [(str(one.get("name", "")), str(one.get("value", ""))) for one in found]


def _bounce(message: Mapping[str, Any], delivery: Delivery, origin: Origin) -> Mapped:
    """SES keeps notifications of failure to itself, and reports them this way."""
    bounce = object_at(message, "bounce")
    if bounce.get("bounceType") != "Permanent" or bounce.get("bounceSubType") not in _GONE:
        return Mapped(ignored="bounce_for_now")
    at = moment_of(bounce.get("timestamp"), "bounce.timestamp")
    listed = bounce.get("bouncedRecipients")
    failed = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    report = str(bounce.get("feedbackId") or object_at(message, "mail").get("messageId"))
    events = bounced(
        ((str(one.get("emailAddress", "")), str(one.get("status", "5.0.0"))) for one in failed),
        report=report,
        at=at,
        content=delivery.body,
        origin=origin,
    )
    return Mapped(events) if events else Mapped(ignored="no_customer")


PROVIDER = Provider(
    name="ses",
    scheme=SchemeName.SNS,
    read=map_webhook,
    options=SesOptions,
    # SNS says that its JSON is plain text.
    media=JSON | {"text/plain"},
    handshake=sns_confirmation,
    large=True,
    has_system=False,
)
