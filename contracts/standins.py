"""Stand-ins: plain structs with the attributes and values of the models, for the way that every record goes.

A model validates, explains what is wrong and costs ten times as much. So a record is read into a stand-in first, and
only where that is beyond doubt: the bytes must be exactly those that we write (`codec.encode`; attributions in the
order of names) and every constraint of the model must hold. Anything else, right or wrong, is the
model's to judge. The structs are generated from the models, so there is nothing to keep in step; a property test
demands that both accept the same and say the same.

Stand-ins are typed as the models that they stand for. They have no pydantic methods, and `isinstance` knows nothing of
them: ask `KIND`, `TYPE` and `detail.kind`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, TypeVar, cast, get_type_hints

import msgspec

from contracts import details
from contracts.activity import Attribution
from contracts.codec import check_identity
from contracts.codec import decode as decode_model
from contracts.codec import encode as encode_model
from contracts.envelope import Envelope
from contracts.events import BY_TYPE, Event
from contracts.events.base import ENVELOPE_FIELDS
from contracts.interactions import Interaction
from contracts.kpis import AccountKpis, KpiValue, OrderRhythm
from contracts.piecewise import Piecewise
from contracts.standin_types import DECIMALS, MOMENTS, copied, parts, type_of, validator
from contracts.values import EARLIEST, LATEST, Entry, InteractionKey, Model, Revision

M = TypeVar("M", bound=Model)

_ESCAPE, _NUL = b"\\", b"\\u0000"

_write = msgspec.json.Encoder().encode
_write_sorted = msgspec.json.Encoder(order="sorted").encode


def encode(value: object) -> bytes:
    """Return the JSON of a stand-in, or of JSON types that hold some, as `codec.encode` writes the model."""
    return _write(value)


def encode_sorted(value: object) -> bytes:
    """Return the JSON with the members of every object in the order of their names."""
    return _write_sorted(value)


def read(model: type[M], value: bytes) -> M | None:
    """Return the stand-in that `value` says, or None where `model` has to judge."""
    decoder = _DECODERS.get(model)
    if decoder is None:
        return None
    try:
        found = decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    # What is written again as it came has no unknown members, no defaults left out, no other spelling of a number.
    # A single byte is looked for many times as fast as several, and most records have no escape.
    if _ESCAPE in value and _NUL in value:
        return None
    if (_write_sorted if model is Attribution else _write)(found) != value:
        return None
    return cast("M", found)


def made(model: type[M], fields: Mapping[str, Any]) -> M | None:
    """Return the stand-in with these fields, given as JSON types or as the values themselves.

    None where `model` has to judge, which is whenever they are not acceptable: unknown fields count as that, too.
    """
    try:
        found = msgspec.convert(fields, _STRUCTS[model])
        written = _write(found)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    return None if _ESCAPE in written and _NUL in written else cast("M", found)


def decode(envelope: Envelope, value: bytes | None, types: Mapping[str, type[M]]) -> M:
    """Return a record's stand-in, or, where it is unusual, its model; raise `Unreadable` as `codec.decode` does."""
    model = types.get(envelope.type)
    found = None if model is None or value is None else read(model, value)
    if found is None:
        return cast("M", decode_model(envelope, value, types))
    if envelope.type in BY_TYPE:
        check_identity(envelope, cast("Event", found))
    return found


def stand_in(model: M) -> M:
    """Return the stand-in of a valid model."""
    return cast("M", _DECODERS[type(model)].decode(encode_model(model)))


def model_of(event: Event) -> Event:
    """Return the model of a report, whichever of the two is given."""
    return BY_TYPE[event.TYPE].model_validate_json(_write(event)) if is_stand_in(event) else event


def is_stand_in(value: object) -> bool:
    """Say whether a value typed as a model is a stand-in."""
    return isinstance(value, msgspec.Struct)


def form_of(model: type[M]) -> type[M]:
    """Return the struct that stands in for `model` where its fields come from others that were accepted: unchecked."""
    return cast("type[M]", _UNCHECKED[model])


def checked_form_of(model: type[M]) -> type[M]:
    """Return the struct as which a `model` is read. `made` takes values of it as they are: who makes them vouches."""
    return cast("type[M]", _STRUCTS[model])


def _like(model: type[Model], name: str) -> property:
    """Return the property of a model, for its stand-in; a cached one is asked anew each time."""
    found: Any = vars(model)[name]
    return property(getattr(found, "func", None) or found.fget)


class _Event(msgspec.Struct):
    """What a report can do beside holding its fields; see `events.base.Event`."""

    form_of: ClassVar[Callable[..., Any]] = staticmethod(form_of)

    id = _like(Event, "id")
    imported = _like(Event, "imported")

    @property
    def stated_entries(self) -> tuple[Entry, ...]:
        me = cast("Event", self)
        if me.ENTRY is None:
            return me.entries
        own: Any = _UNCHECKED[Entry](kind=me.ENTRY, at=me.occurred_at)
        return (*me.entries, own) if me.entries else (own,)

    def stated_fields(self) -> Any:
        """Everything that is not None was stated: the bytes would not have been those of `encode` otherwise."""
        return zip(self.__struct_fields__, msgspec.structs.astuple(self), strict=True)


_BEHAVIOUR: Mapping[type[Model], Mapping[str, Any]] = {
    InteractionKey: {"id": _like(InteractionKey, "id")},
    Revision: {"sort_key": _like(Revision, "sort_key")},
    Interaction: {"kind": _like(Interaction, "kind")},
}
_STRUCTS: dict[type[Model], type[msgspec.Struct]] = {}
_UNCHECKED: dict[type[Model], type[msgspec.Struct]] = {}
"""The same without what is checked when one is made."""
_WRITTEN: Mapping[type[Model], tuple[str, ...]] = {
    AccountKpis: (
        *("account_id", "version", "as_of_day", "computed_at", "account_version", "values", "last_touches"),
        *("open_items", "order_rhythm", "tickets_norm_30d", "history_since"),
    ),
    OrderRhythm: ("orders", "gaps", "last_order_at", "last_order_id", "p90_gap_days"),
}
"""In which order their members are written where that is not the model's: metrics puts its states together by hand."""


def _struct_of(model: type[Model]) -> type[msgspec.Struct]:
    """Generate the stand-in's class, and first those of what it is made of."""
    if model in _STRUCTS:
        return _STRUCTS[model]
    hints = get_type_hints(model, include_extras=True)
    namespace: dict[str, Any] = dict(_BEHAVIOUR.get(model, {}))
    fields: list[Any] = []
    rename: dict[str, str] = {}
    moments: list[str] = []
    tag: str | None = None
    for name in _WRITTEN.get(model, model.model_fields):
        hint, info = hints[name], model.model_fields[name]
        if model.__module__ == details.__name__ and name == "kind":
            tag = namespace["kind"] = info.default
            continue
        sort = DECIMALS if Decimal in parts(hint) else validator(hint)
        kind = type_of(hint, _struct_of)
        field = name
        if sort is DECIMALS:
            # Decimals stay text until somebody asks: most are passed on only.
            field = f"{name}_text"
            rename[field] = name
            namespace[name] = _decimal(field)
        elif sort is MOMENTS:
            moments.append(name)
        if info.is_required():
            fields.append((field, kind))
        elif info.default is None:
            fields.append((field, kind, None))
        else:
            # A factory, because plain defaults are left out when they are written; `encode` writes them.
            fields.append((field, kind, msgspec.field(default_factory=_constant(info.default))))
    bases: tuple[type, ...] = (msgspec.Struct,)
    about: Any = None
    if issubclass(model, Event):
        bases = (_Event,)
        about = model.KIND
        namespace |= {"TYPE": model.TYPE, "KIND": model.KIND, "ENTRY": model.ENTRY}
        namespace["stated_of_kind"] = _stating([name for name, *_ in fields if name not in ENVELOPE_FIELDS])
    rules = _rules(model)
    checks = {"__post_init__": _check(tuple(moments), about, rules)} if moments or rules or about is not None else {}
    _STRUCTS[model], _UNCHECKED[model] = (
        msgspec.defstruct(
            model.__name__,
            fields,
            bases=bases,
            namespace=namespace | more,
            module=__name__,
            frozen=True,
            kw_only=True,
            gc=False,
            omit_defaults=True,
            forbid_unknown_fields=True,
            rename=rename or None,
            tag_field="kind" if tag is not None else None,
            tag=tag,
        )
        for more in (checks, {})
    )
    return _STRUCTS[model]


def _stating(names: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    """Return the method that tells what a report states beside what all reports may."""
    values = operator.attrgetter(*names) if len(names) > 1 else None

    def stated(self: Any) -> dict[str, Any]:
        if values is None:
            return {name: value for name in names if (value := getattr(self, name)) is not None}
        return {name: value for name, value in zip(names, values(self), strict=True) if value is not None}

    return stated


def _constant(default: Any) -> Callable[[], Any]:
    return lambda: default


def _decimal(field: str) -> property:
    def value(self: Any) -> Decimal | None:
        text = getattr(self, field)
        return None if text is None else Decimal(text)

    return property(value)


_Rule = Callable[[Any], object]


def _rules(model: type[Model]) -> tuple[_Rule, ...]:
    """Return what the model demands over several of its fields, but for the kind of a report, which `_check` knows."""
    found = model.__pydantic_decorators__.model_validators
    rules = {name: one for name, one in found.items() if name != "_is_about_its_kind"}
    if any(one.info.mode != "after" for one in rules.values()):
        message = f"no stand-in for what {model.__name__} does before it reads its fields; teach contracts/standins.py"
        raise TypeError(message)
    return tuple(one.func for one in rules.values())


def _check(moments: tuple[str, ...], about: object, rules: tuple[_Rule, ...]) -> Callable[[Any], None]:
    """Return what `Model` demands and no type can say: moments of UTC between 1990 and 2200, the kind of a report."""
    if moments == ("occurred_at",) and about is not None and not rules:

        def report(self: Any) -> None:
            moment = self.occurred_at
            if self.interaction.kind is not about or moment.tzinfo is not UTC or not EARLIEST <= moment < LATEST:
                raise ValueError

        return report

    def every(self: Any) -> None:
        if about is not None and self.interaction.kind is not about:
            raise ValueError
        for name in moments:
            moment: datetime | None = getattr(self, name)
            if moment is not None and (moment.tzinfo is not UTC or not EARLIEST <= moment < LATEST):
                raise ValueError
        for rule in rules:
            rule(self)

    return every


_GIVEN_BY_THE_DOOR = frozenset({"interaction", "report", "revision", "source", "occurred_at"})


@functools.cache
def stated_form(model: type[Event]) -> type[msgspec.Struct]:
    """Return the struct of what a sender of `model` states: all of its fields but those that the door gives.

    Encoded, it is the tail of the report's own encoding, after what the door gives.
    """
    hints = get_type_hints(model, include_extras=True)
    moments = tuple(name for name in hints if name != "occurred_at" and validator(hints[name]) is MOMENTS)
    rules = _rules(model)
    return msgspec.defstruct(
        f"Stated{model.__name__}",
        **copied(_STRUCTS[model], without=_GIVEN_BY_THE_DOOR),
        namespace={"__post_init__": _check(moments, None, rules)} if moments or rules else {},
        module=__name__,
        frozen=True,
        kw_only=True,
        gc=False,
        omit_defaults=True,
        forbid_unknown_fields=True,
    )


_READ: tuple[type[Model], ...] = (*BY_TYPE.values(), Interaction, Attribution, AccountKpis)
_DECODERS: dict[type[Model], msgspec.json.Decoder[Any] | Piecewise] = {
    model: msgspec.json.Decoder(_struct_of(model)) for model in _READ if model is not AccountKpis
}
_DECODERS[AccountKpis] = Piecewise(_struct_of(AccountKpis), "values", _struct_of(KpiValue))
