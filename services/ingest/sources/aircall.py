"""Aircall: calls. The webhook's token rides in the body, there is no signature.

A transfer keeps the call's id, so a call has one leg here. Which report of it counts: one sent when the call's data is
complete above the provisional one at hang-up, then the later one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from contracts.events import CallLegEnded
from contracts.ids import digest
from contracts.values import InteractionKey, Kind, Party, Reference
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    id_at,
    micros,
    moment_of,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, NoOptions, Provider
from services.ingest.domain.schemes import SchemeName

_PROVISIONAL = "call.hungup"
_UNDER_WAY = frozenset(
    {"call.created", "call.ringing_on_agent", "call.agent_declined", "call.answered", "call.transferred"}
)
_TERMINAL_BIT = 1 << 60
_LONGEST_CALL = 7 * 24 * 3600
_DIRECTIONS = {"inbound": "in", "outbound": "out"}


def read(delivery: Delivery, origin: Origin, _options: NoOptions) -> Mapped:
    """Map a webhook whose token was verified. Raises `Unmapped` for what it does not understand."""
    payload, body = delivery.payload, delivery.body
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    event = payload.get("event")
    if payload.get("resource") != "call" or not isinstance(event, str):
        return Mapped(ignored="not_about_a_call")
    if event in _UNDER_WAY:
        return Mapped(ignored="call_under_way")
    call = object_at(payload, "data")
    if call.get("ended_at") is None:
        return Mapped(ignored="call_under_way")
    return Mapped([_leg(event, payload, call, body, origin)])


def _leg(event: str, payload: Mapping[str, Any], call: Mapping[str, Any], body: bytes, origin: Origin) -> CallLegEnded:
    native = id_at(call, "id")
    direction = _DIRECTIONS.get(str(call.get("direction")))
    if direction is None:
        raise Unmapped("unknown_direction")
    started = moment_of(call.get("started_at"), "data.started_at")
    ended = moment_of(call["ended_at"], "data.ended_at")
    sent = micros(moment_of(payload.get("timestamp"), "timestamp"))
    answered = _answered_at(call)
    return CallLegEnded.model_validate(
        {
            "interaction": InteractionKey(kind=Kind.CALL, system=origin.system, native_id=native),
            "report": digest(body),
            "revision": origin.revision(sent if event == _PROVISIONAL else sent | _TERMINAL_BIT, body),
            "source": origin.source,
            "occurred_at": started,
            "parties": _people(call, direction, origin),
            "references": (Reference(kind="call", value=origin.named(native)),),
            "text": _comments(call),
            "leg": native,
            "root": True,
            "direction": direction,
            "answered_by_person": answered is not None,
            "talk_seconds": 0 if answered is None else _seconds(answered, ended),
            "tags": _tags(call),
        }
    )


def _answered_at(call: Mapping[str, Any]) -> datetime | None:
    """A call that ended in our voicemail was answered by a machine, whatever `answered_at` says."""
    if call.get("answered_at") is None or call.get("voicemail") or call.get("missed_call_reason"):
        return None
    return moment_of(call["answered_at"], "data.answered_at")


def _seconds(since: datetime, until: datetime) -> int:
    return min(max(int((until - since).total_seconds()), 0), _LONGEST_CALL)


def _people(call: Mapping[str, Any], direction: str, origin: Origin) -> tuple[Party, ...]:
    contact = _optional_object(call, "contact")
    user = _optional_object(call, "user") or _optional_object(call, "assigned_to")
    number = _optional_object(call, "number")
    contact_id, user_id = optional_id(contact, "id"), optional_id(user, "id")
    names = (optional_text(contact, "first_name"), optional_text(contact, "last_name"))
    theirs = origin.directory.party(
        "caller" if direction == "in" else "callee",
        phone=optional_text(call, "raw_digits"),
        person=origin.named(contact_id) if contact_id else None,
        name=" ".join(filter(None, names)) or None,
    )
    line = origin.directory.party(
        "callee" if direction == "in" else "caller",
        phone=optional_text(number, "digits"),
        name=optional_text(number, "name"),
        ours=True,
    )
    agent = origin.directory.party(
        "assignee",
        address=optional_text(user, "email"),
        person=origin.named(f"user:{user_id}") if user_id else None,
        name=optional_text(user, "name"),
        ours=True,
    )
    return tuple(party for party in (theirs, line, agent) if party is not None)


def _optional_object(payload: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = payload.get(field)
    return value if isinstance(value, dict) else {}


def _tags(call: Mapping[str, Any]) -> list[str]:
    tags = call.get("tags")
    names = (
        (one_line(optional_text(tag, "name")) for tag in tags if isinstance(tag, dict))
        if isinstance(tags, list)
        else ()
    )
    return sorted({name for name in names if name})[:50]


def _comments(call: Mapping[str, Any]) -> str | None:
    comments = call.get("comments")
    if not isinstance(comments, list):
        return None
    texts = (optional_text(comment, "content") for comment in comments if isinstance(comment, dict))
    return storable_text("\n\n".join(text for text in texts if text))


def _without_token(delivery: Delivery) -> bytes:
    """The token is a secret: it must not lie on topics and in dead letters."""
    if not isinstance(delivery.payload, dict):
        return delivery.body
    return orjson.dumps({name: value for name, value in delivery.payload.items() if name != "token"})


PROVIDER = Provider(
    name="aircall", scheme=SchemeName.AIRCALL, read=read, options=NoOptions, without_secrets=_without_token
)
