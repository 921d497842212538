"""Aircall: calls. The webhook's token rides in the body, there is no signature.

A transfer keeps the call's id. Who passes a call on has answered it: that is a leg of its own, and nothing that befalls
the call later takes it back. Of the reports of the call as a whole the one sent when its data is complete counts above
the provisional one at hang-up, then the later one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from contracts.events import CallLegEnded
from contracts.values import Party
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    digest_of,
    id_at,
    micros,
    moment_of,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, Provider, without_token
from services.ingest.domain.reports import reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.calls import TERMINAL, SiteOptions, leg_report, seconds_between
from services.ingest.sources.ticketing import present

_PROVISIONAL = "call.hungup"
_PASSED_ON = frozenset({"call.transferred", "call.external_transferred"})
_UNDER_WAY = frozenset(
    {
        "call.created",
        "call.ringing_on_agent",
        "call.agent_declined",
        "call.answered",
        "call.hold",
        "call.unhold",
        "call.unsuccessful_transfer",
    }
)
_DIRECTIONS = {"inbound": "in", "outbound": "out"}


def read(delivery: Delivery, origin: Origin, options: SiteOptions) -> Mapped:
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
    here = origin.directory.in_region(options.default_region)
    site = origin if here is origin.directory else replace(origin, directory=here)
    if event in _PASSED_ON:
        return Mapped([_passed_on(payload, call, body, site)])
    if call.get("ended_at") is None:
        return Mapped(ignored="call_under_way")
    return Mapped([_whole(event, payload, call, body, site)])


def _whole(
    event: str, payload: Mapping[str, Any], call: Mapping[str, Any], body: bytes, origin: Origin
) -> CallLegEnded:
    ended = moment_of(call["ended_at"], "data.ended_at")
    sent = micros(moment_of(payload.get("timestamp"), "timestamp"))
    order = sent if event == _PROVISIONAL else sent | TERMINAL
    answered = _answered_at(call)
    return reported(
        CallLegEnded,
        {
            **_common(call, body, origin, leg=id_at(call, "id"), order=order),
            "text": _comments(call),
            "root": True,
            "answered_by_person": answered is not None,
            "talk_seconds": 0 if answered is None else seconds_between(answered, ended),
            "tags": _tags(call),
        },
    )


def _passed_on(payload: Mapping[str, Any], call: Mapping[str, Any], body: bytes, origin: Origin) -> CallLegEnded:
    """Who passes a call on is "transferred_by", before that "user"; the leg ends with the transfer.

    Without a time of answer it was the exchange that passed it on, to the next team for instance.
    """
    sent = moment_of(payload.get("timestamp"), "timestamp")
    by = optional_id(_optional_object(call, "transferred_by") or _optional_object(call, "user"), "id") or "somebody"
    answered = call.get("answered_at")
    since = sent if answered is None else moment_of(answered, "data.answered_at")
    return reported(
        CallLegEnded,
        {
            **_common(call, body, origin, leg=f"{id_at(call, 'id')}:{by}", order=micros(sent)),
            "root": False,
            "answered_by_person": answered is not None,
            "talk_seconds": seconds_between(since, sent),
        },
    )


def _common(call: Mapping[str, Any], body: bytes, origin: Origin, *, leg: str, order: int) -> dict[str, Any]:
    native = id_at(call, "id")
    direction = _DIRECTIONS.get(str(call.get("direction")))
    if direction is None:
        raise Unmapped("unknown_direction")
    return {
        **leg_report(origin, native, leg=leg, report=digest_of(body), order=order, body=body),
        "occurred_at": moment_of(call.get("started_at"), "data.started_at"),
        "parties": _people(call, direction, origin),
        "direction": direction,
    }


def _answered_at(call: Mapping[str, Any]) -> datetime | None:
    """A call that ended in our voicemail was answered by a machine, whatever `answered_at` says.

    Unless it was passed on: then somebody had answered, and the voicemail was the next one's.
    """
    if call.get("answered_at") is None:
        return None
    if not _optional_object(call, "transferred_by") and (call.get("voicemail") or call.get("missed_call_reason")):
        return None
    return moment_of(call["answered_at"], "data.answered_at")


def _people(call: Mapping[str, Any], direction: str, origin: Origin) -> tuple[Party, ...]:
    contact = _optional_object(call, "contact")
    number = _optional_object(call, "number")
    contact_id = optional_id(contact, "id")
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
    agents = (_agent(call, end, origin) for end in ("transferred_by", "user" if call.get("user") else "assigned_to"))
    return tuple(dict.fromkeys(present(theirs, line, *agents)))


def _agent(call: Mapping[str, Any], field: str, origin: Origin) -> Party | None:
    user = _optional_object(call, field)
    user_id = optional_id(user, "id")
    return origin.directory.party(
        "assignee",
        address=optional_text(user, "email"),
        person=origin.named(f"user:{user_id}") if user_id else None,
        name=optional_text(user, "name"),
        ours=True,
    )


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


PROVIDER = Provider(
    name="aircall", scheme=SchemeName.AIRCALL, read=read, options=SiteOptions, without_secrets=without_token
)
