"""How a mapping makes reports: straight into stand-ins, and into models only where these have to judge.

A stand-in is read whole against every constraint of its model, but for the small values that are made here and by
`Directory.party`: these are what their models demand by construction. Whatever is in doubt is made as a model, which
takes it or says what is wrong with it; so nothing is let in that the models would refuse.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel

from contracts import standins
from contracts.codec import encode
from contracts.events import Event
from contracts.values import InteractionKey, Kind, Party, PartyRole, Reference, Revision

E = TypeVar("E", bound=Event)

_LONGEST_ID = 1024
_MOST = 1 << 63
_PLAIN = (datetime, date, Decimal)
_key = standins.checked_form_of(InteractionKey)
_reference = standins.checked_form_of(Reference)
_revision = standins.checked_form_of(Revision)


def reported(model: type[E], fields: Mapping[str, Any]) -> E:
    """Return the report with these fields: JSON types, or values such as those of this module.

    Amounts are best given as text (see `stated`). Raises pydantic's ValidationError.
    """
    found = standins.made(model, fields)
    if found is None:
        return model.model_validate(msgspec.to_builtins(fields, builtin_types=_PLAIN, enc_hook=_fields_of))
    return found


def encoded(event: Event) -> bytes:
    """Return the JSON of a report, a model or what stands in for one."""
    return standins.encode(event) if standins.is_stand_in(event) else encode(event)


def _fields_of(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    raise TypeError(f"a report cannot hold a {type(value).__name__}")


def key_of(kind: Kind, system: str, native_id: str) -> InteractionKey:
    """Return what a configured system calls an interaction; raises ValidationError for an id that is none."""
    if 0 < len(native_id) <= _LONGEST_ID:
        return _key(kind=kind, system=system, native_id=native_id)
    return InteractionKey(kind=kind, system=system, native_id=native_id)


def reference_to(kind: str, value: str) -> Reference:
    """Return a reference, of a kind that `Reference` knows; raises ValidationError for a value that is none."""
    if 0 < len(value) <= _LONGEST_ID:
        return _reference(kind=kind, value=value)  # type: ignore[arg-type] # the callers' words are the model's
    return Reference.model_validate({"kind": kind, "value": value})


def revision_of(authority: int, order: int, mapper: int, mark: str) -> Revision:
    """Return a revision; `mark` is a digest. Raises ValidationError for an order beyond 63 bits."""
    if 0 <= order < _MOST:
        return _revision(authority=authority, order=order, mapper=mapper, digest=mark)
    return Revision(authority=authority, order=order, mapper=mapper, digest=mark)


def stated(amounts: Mapping[str, Any]) -> dict[str, Any]:
    """Return money, or a line of an order, with its amounts as reports write them: text, every digit of it."""
    return {name: format(value, "f") if type(value) is Decimal else value for name, value in amounts.items()}


def altered(party: Party, *, role: PartyRole | None = None, name: str | None = None) -> Party:
    """Return the party in another role, or under another name: one line of at most 1,000 characters."""
    return replace(party, role=role or party.role, name=name or party.name)  # type: ignore[type-var]
