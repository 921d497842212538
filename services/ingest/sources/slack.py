"""Slack: messages in channels that are shared with a customer (Slack Connect), by the Events API.

A message is known by its channel and `ts`. The channel stands for the customer: its id, entered as an organisation of
an account, says whose the message is also when one of ours writes. Channels among ourselves are left alone.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from contracts.events import ChatMessageSent, InteractionWithdrawn
from contracts.values import Kind
from services.ingest.domain.handshakes import slack_verification
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    digest_of,
    id_at,
    micros,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, Options, Provider, without_token
from services.ingest.domain.reports import key_of, reference_to, reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.ticketing import present, unwanted

# What a person wrote; joins, topics, calls and bots have subtypes of their own.
_WRITTEN = ("file_share", "thread_broadcast", "me_message")
_GONE = "tombstone"
"""What stands in the place of a deleted message that others have answered."""
_TS = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,6}))?")


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
        return unwanted(str(payload.get("type")))
    event = object_at(payload, "event")
    if event.get("type") != "message":
        return unwanted(str(event.get("type")))
    if not (payload.get("is_ext_shared_channel") is True or options.internal):
        return Mapped(ignored="message_among_ourselves")
    told = _Told(event, delivery, origin, options)
    subtype = event.get("subtype")
    if subtype == "message_deleted":
        return told.deletion(id_at(event, "deleted_ts"))
    if subtype == "message_changed":
        return told.change(object_at(event, "message"))
    return told.message(event, told.moment(event, "ts"))


class _Told(Struct, frozen=True):
    """One event about a message."""

    event: Mapping[str, Any]
    delivery: Delivery
    origin: Origin
    options: SlackOptions

    def change(self, message: Mapping[str, Any]) -> Mapped:
        """An edit; also what Slack itself changes, a preview or the count of answers, which says nothing."""
        if message.get("subtype") == _GONE:
            return self.deletion(id_at(message, "ts"))
        if not isinstance(message.get("edited"), dict):
            return Mapped(ignored="message_unfurled")
        return self.message(message, self.moment(message["edited"], "ts"))

    def message(self, message: Mapping[str, Any], changed: datetime) -> Mapped:
        """What somebody wrote, as it stands since `changed`."""
        subtype = message.get("subtype")
        if subtype is not None and subtype not in _WRITTEN:
            return unwanted(f"message.{subtype}")
        if message.get("bot_id"):
            return Mapped(ignored="message_of_a_bot")
        channel, ts, origin = id_at(self.event, "channel"), id_at(message, "ts"), self.origin
        payload = self.delivery.payload
        team = next(filter(None, (optional_id(message, name) for name in ("user_team", "source_team", "team"))), None)
        ours = team is not None and team in {optional_id(payload, "team_id"), *self.options.teams}
        writer = origin.directory.party("from", person=origin.named(id_at(message, "user")), ours=ours)
        customer = origin.directory.party("customer", organisation=origin.named(channel))
        thread = optional_id(message, "thread_ts") or ts
        stated = {
            **self._report(ts, optional_id(payload, "event_id"), changed),
            "occurred_at": self.moment(message, "ts"),
            "parties": present(writer, customer),
            "references": (reference_to("thread", origin.named(f"{channel}:{thread}")),),
            "text": storable_text(optional_text(message, "text")) if self.options.content else None,
            "direction": "out" if ours else "in",
        }
        return Mapped([reported(ChatMessageSent, stated)])

    def deletion(self, ts: str) -> Mapped:
        """The message is gone."""
        at = self.moment(self.event, "event_ts")
        report = self._report(ts, None, at)
        return Mapped([reported(InteractionWithdrawn, {**report, "occurred_at": at, "reason": "deleted"})])

    def _report(self, ts: str, event_id: str | None, changed: datetime) -> dict[str, Any]:
        body = self.delivery.body
        native = f"{id_at(self.event, 'channel')}/{ts}"
        return {
            "interaction": key_of(Kind.CHAT, self.origin.system, native),
            "report": event_id or digest_of(body),
            "revision": self.origin.revision(micros(changed), body),
            "source": self.origin.source,
        }

    @staticmethod
    def moment(payload: Mapping[str, Any], field: str) -> datetime:
        """Slack's own moments: Unix seconds with six decimals, as text; also what names a message."""
        match = _TS.fullmatch(str(payload.get(field)))
        if match is None:
            raise Unmapped(f"bad_time:{field}")
        whole, part = match.groups(default="")
        return datetime.fromtimestamp(int(whole), UTC).replace(microsecond=int(f"{part:0<6}"))


PROVIDER = Provider(
    name="slack",
    scheme=SchemeName.SLACK,
    read=read,
    options=SlackOptions,
    handshake=slack_verification,
    without_secrets=without_token,
)
