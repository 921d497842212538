"""Slack: messages in channels that are shared with a customer (Slack Connect), by the Events API.

A message is known by its channel and `ts`. The channel stands for the customer: its id, entered as an organisation of
an account, says whose the message is also when one of ours writes. Channels among ourselves are left alone.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from contracts.events import ChatMessageSent, InteractionWithdrawn
from contracts.ids import digest
from contracts.values import InteractionKey, Kind, Reference
from services.ingest.domain.handshakes import slack_verification
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    id_at,
    micros,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, Options, Provider
from services.ingest.domain.schemes import SchemeName

# What a person wrote; joins, topics, calls and bots have subtypes of their own.
_WRITTEN = frozenset({"", "file_share", "thread_broadcast", "me_message"})


class SlackOptions(Options):
    """What a workspace's table may hold."""

    content: bool = True
    """Whether texts are kept, or who wrote to whom and when only."""
    teams: tuple[str, ...] = ()
    """Ids of further workspaces of ours, where the company has several."""
    internal: bool = False
    """Whether messages in channels that are shared with nobody are kept; they concern no customer by themselves."""


def read(delivery: Delivery, origin: Origin, options: SlackOptions) -> Mapped:
    """Map a verified event. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    if payload.get("type") != "event_callback":
        # How Slack says that it holds events back; they come later.
        return Mapped(ignored=str(payload.get("type"))[:50])
    event = object_at(payload, "event")
    if event.get("type") != "message":
        return Mapped(ignored=str(event.get("type"))[:50])
    if not (payload.get("is_ext_shared_channel") is True or options.internal):
        return Mapped(ignored="message among ourselves")
    subtype = optional_text(event, "subtype") or ""
    if subtype == "message_deleted":
        return _deleted(event, delivery, origin)
    if subtype == "message_changed":
        message = object_at(event, "message")
        if not isinstance(message.get("edited"), dict):
            # Only a preview was added, or an answer counted.
            return Mapped(ignored="message unfurled")
        changed = _moment(message["edited"], "ts")
    else:
        message, changed = event, _moment(event, "ts")
    written = optional_text(message, "subtype") or ""
    if written not in _WRITTEN or message.get("bot_id"):
        return Mapped(ignored=f"message of {written or 'a bot'}"[:50])
    return Mapped([_message(message, id_at(event, "channel"), changed, payload, delivery, origin, options)])


def _message(
    message: Mapping[str, Any],
    channel: str,
    changed: datetime,
    payload: Mapping[str, Any],
    delivery: Delivery,
    origin: Origin,
    options: SlackOptions,
) -> ChatMessageSent:
    sent = _moment(message, "ts")
    team = next(filter(None, (optional_id(message, name) for name in ("user_team", "source_team", "team"))), None)
    ours = team in {optional_id(payload, "team_id"), *options.teams}
    party = origin.directory.party
    writer = party("from", person=origin.named(id_at(message, "user")), ours=ours)
    customer = party("customer", organisation=origin.named(channel))
    thread = optional_id(message, "thread_ts") or id_at(message, "ts")
    return ChatMessageSent.model_validate(
        {
            "interaction": _key(channel, id_at(message, "ts"), origin),
            "report": optional_id(payload, "event_id") or digest(delivery.body),
            "revision": origin.revision(micros(changed), delivery.body),
            "source": origin.source,
            "occurred_at": sent,
            "parties": [somebody for somebody in (writer, customer) if somebody is not None],
            "references": (Reference(kind="thread", value=origin.named(f"{channel}:{thread}")),),
            "text": storable_text(optional_text(message, "text")) if options.content else None,
            "direction": "out" if ours else "in",
        }
    )


def _deleted(event: Mapping[str, Any], delivery: Delivery, origin: Origin) -> Mapped:
    at = _moment(event, "event_ts")
    report = {
        "interaction": _key(id_at(event, "channel"), id_at(event, "deleted_ts"), origin),
        "report": digest(delivery.body),
        "revision": origin.revision(micros(at), delivery.body),
        "source": origin.source,
        "occurred_at": at,
        "reason": "deleted",
    }
    return Mapped([InteractionWithdrawn.model_validate(report)])


def _key(channel: str, ts: str, origin: Origin) -> InteractionKey:
    return InteractionKey(kind=Kind.CHAT, system=origin.system, native_id=f"{channel}/{ts}")


def _moment(payload: Mapping[str, Any], field: str) -> datetime:
    """Slack's own moments: Unix seconds with six decimals, as text; also what names a message."""
    whole, dot, part = str(payload.get(field)).partition(".")
    try:
        if not (whole.isascii() and whole.isdigit() and len(whole) <= 12 and (part + "0").isdigit()):  # noqa: PLR2004 - seconds until far beyond any date
            raise ValueError
        return datetime.fromtimestamp(int(whole), UTC).replace(microsecond=int(f"{part[:6]:0<6}") if dot else 0)
    except (ValueError, OverflowError, OSError):
        raise Unmapped(f"bad_time:{field}") from None


def _without_token(delivery: Delivery) -> bytes:
    """Slack still sends its old verification token along, and that is a secret."""
    if not isinstance(delivery.payload, dict):
        return delivery.body
    return orjson.dumps({name: value for name, value in delivery.payload.items() if name != "token"})


PROVIDER = Provider(
    name="slack",
    scheme=SchemeName.SLACK,
    read=read,
    options=SlackOptions,
    handshake=slack_verification,
    without_secrets=_without_token,
)
