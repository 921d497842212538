"""Between models and Kafka records, for every type that Tenure writes."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from pydantic import ValidationError

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.alerts import (
    AlertAcknowledged,
    AlertEscalated,
    AlertOpened,
    AlertReopened,
    AlertResolved,
    AlertSnoozed,
)
from contracts.envelope import Envelope, Unreadable
from contracts.events import BY_TYPE, Event
from contracts.ids import event_id
from contracts.kpis import AccountKpis
from contracts.values import Model

STATES: dict[str, type[Model]] = {
    model.TYPE: model
    for model in (
        Attribution,
        Account,
        User,
        Team,
        AccountKpis,
        AlertOpened,
        AlertEscalated,
        AlertAcknowledged,
        AlertSnoozed,
        AlertResolved,
        AlertReopened,
    )
}
"""What services tell one another, by CloudEvents type."""

ALL_TYPES: Mapping[str, type[Model]] = {**BY_TYPE, **STATES}


def encode(model: Model) -> bytes:
    """Return the JSON bytes of a record's value; fields that are not stated are left out."""
    return model.model_dump_json(exclude_none=True).encode()


def event_envelope(event: Event, recorded_at: datetime, traceparent: str | None = None) -> Envelope:
    """Return the envelope under which ingest publishes `event`."""
    return Envelope(
        id=event.id,
        source=f"/sources/{event.source}",
        type=event.TYPE,
        subject=event.interaction.id,
        time=event.occurred_at,
        recordedtime=recorded_at,
        traceparent=traceparent,
    )


def decode(envelope: Envelope, value: bytes | None, types: Mapping[str, type[Model]] = ALL_TYPES) -> Model:
    """Return the model of a record; raise `Unreadable` with the field and the remedy.

    Reasons: `unknown_type`, `unknown_version`, `empty`, `bad_data`, `wrong_id`.
    """
    model = types.get(envelope.type)
    if model is None:
        raise _unknown(envelope.type, types)
    if value is None:
        raise Unreadable("empty", f"a record of type {envelope.type} has no value")
    if b"NaN" in value or b"Infinity" in value:
        _refuse_constants(value)
    try:
        decoded = model.model_validate_json(value)
    except ValidationError as error:
        raise Unreadable("bad_data", explain(error)) from None
    except ValueError as error:
        raise Unreadable("bad_data", str(error)) from None
    if isinstance(decoded, Event):
        check_identity(envelope, decoded)
    return decoded


def _refuse_constants(value: bytes) -> None:
    """Raise for NaN and infinities: no JSON, but the models read over them in members that they do not know."""

    def refuse(name: str) -> float:
        raise Unreadable("bad_data", f"data holds {name}, which is no JSON; leave the member out")

    # What is no JSON for another reason is the model's to explain.
    with suppress(ValueError, RecursionError):
        json.loads(value, parse_constant=refuse)


def check_identity(envelope: Envelope, event: Event) -> None:
    """Raise `Unreadable` unless the attributes say again what the data says: neither could be trusted then."""
    interaction = event.interaction.id
    if envelope.subject != interaction:
        raise Unreadable(
            "wrong_id", "ce_subject is not the id of data.interaction; derive it from kind, system, native_id"
        )
    if envelope.id != event_id(interaction, event.TYPE, event.report):
        raise Unreadable("wrong_id", "ce_id is not the id of the report; derive it from interaction, type, report")


def _unknown(name: str, types: Mapping[str, type[Model]]) -> Unreadable:
    family, _, version = name.rpartition(".")
    known = sorted(known for known in types if known.rpartition(".")[0] == family)
    if known:
        return Unreadable("unknown_version", f"{family} has no version {version}; known: {', '.join(known)}")
    return Unreadable("unknown_type", f"{name!r} is no type that is read here")


def explain(error: ValidationError) -> str:
    """Say for a person which fields are wrong, without repeating what they hold: it may be personal."""
    shown = [
        f"{'.'.join(map(str, item['loc'])) or 'data'}: {item['msg']}" for item in error.errors(include_input=False)[:5]
    ]
    more = error.error_count() - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")
