"""How the annotations of models read in msgspec's words: the types and bounds of `contracts.standins`' structs.

What is not known here is no mistake to be passed over: it raises when the structs are generated, at import.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from pydantic import AfterValidator, BeforeValidator, StringConstraints
from pydantic.fields import FieldInfo

from contracts import values
from contracts.currencies import CURRENCIES
from contracts.values import Kind, Model

StructOf = Callable[[type[Model]], type[msgspec.Struct]]

# What `values.Amount` takes, as `str(Decimal)` writes it.
_EXACT = r"^-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,6})?\Z"
_NOT_NEGATIVE = _EXACT.replace("-?", "")

DECIMALS = "decimals"
MOMENTS = "moments"
_VALIDATORS: Mapping[Any, str] = {
    values._exact: DECIMALS,  # noqa: SLF001 - the validators are what tells these types apart
    values._moment: MOMENTS,  # noqa: SLF001 - see above
}


def validator(hint: Any) -> str | None:
    """Return whether a field holds decimals or moments."""
    for part in parts(hint):
        if get_origin(part) is Annotated:
            for note in part.__metadata__:
                if isinstance(note, BeforeValidator) and note.func in _VALIDATORS:
                    return _VALIDATORS[note.func]
    return None


def parts(hint: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, else the hint alone."""
    return get_args(hint) if get_origin(hint) in _UNIONS else (hint,)


def type_of(hint: Any, struct_of: StructOf) -> Any:
    """Translate a field's annotation; `struct_of` makes the structs of models in it. Raises `TypeError`."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _annotated(hint, struct_of)
    if origin in _UNIONS:
        return functools.reduce(operator.or_, [type_of(one, struct_of) for one in get_args(hint)])
    if origin is tuple:
        return types.GenericAlias(tuple, (type_of(get_args(hint)[0], struct_of), ...))
    if isinstance(hint, type) and issubclass(hint, Model):
        return struct_of(hint)
    if origin is Literal or hint in _PLAIN:
        return hint
    if hint is Decimal:
        return Annotated[str, msgspec.Meta(pattern=_EXACT)]
    message = f"no stand-in for {hint!r}; teach contracts/standin_types.py this type"
    raise TypeError(message)


_UNIONS = (Union, types.UnionType)
_PLAIN = frozenset({str, int, bool, type(None), date, Kind})


def _annotated(hint: Any, struct_of: StructOf) -> Any:
    base, notes = hint.__origin__, list(_flat(hint.__metadata__))
    functions = [note.func for note in notes if isinstance(note, BeforeValidator | AfterValidator)]
    if values._exact in functions:  # noqa: SLF001 - see above
        positive = values._not_negative in functions  # noqa: SLF001 - see above
        return Annotated[str, msgspec.Meta(pattern=_NOT_NEGATIVE if positive else _EXACT)]
    if values._moment in functions:  # noqa: SLF001 - see above
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if values._known_currency in functions:  # noqa: SLF001 - see above
        return Literal[tuple(sorted(CURRENCIES))]
    bounds: dict[str, Any] = {}
    for note in notes:
        bounds |= _text_bounds(note) if isinstance(note, StringConstraints) else _bounds(note)
    kind = type_of(base, struct_of)
    return Annotated[kind, msgspec.Meta(**bounds)] if bounds else kind


def _flat(notes: Any) -> Any:
    for note in notes:
        if isinstance(note, FieldInfo):
            yield from note.metadata
        else:
            yield note


def _text_bounds(note: StringConstraints) -> dict[str, Any]:
    pattern = None if note.pattern == values._NO_NUL else str(note.pattern or "")  # noqa: SLF001 - `read` looks for NUL
    # In Python `$` also matches before a last line break.
    text = f"{pattern.removesuffix('$')}\\Z" if pattern else None
    found = {"min_length": note.min_length, "max_length": note.max_length, "pattern": text}
    return {name: bound for name, bound in found.items() if bound is not None}


def _bounds(note: Any) -> dict[str, Any]:
    """Translate one constraint; numbers are whole."""
    for name in ("ge", "le", "min_length", "max_length"):
        if hasattr(note, name):
            return {name: getattr(note, name)}
    if hasattr(note, "lt"):
        return {"le": note.lt - 1}
    message = f"no stand-in for the constraint {note!r}; teach contracts/standin_types.py"
    raise TypeError(message)


def copied(
    struct: type[msgspec.Struct], *, without: Collection[str] = (), retyped: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """Return `fields` and `rename` of a struct like `struct`, for `msgspec.defstruct`.

    What is in `without` is left out; what is in `retyped` has that type there, and is demanded.
    """
    fields: list[Any] = []
    kept = [field for field in msgspec.structs.fields(struct) if field.name not in without]
    for field in kept:
        if field.name in retyped:
            fields.append((field.name, retyped[field.name]))
        elif field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        elif field.default is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, field.default))
        else:
            fields.append((field.name, field.type))
    rename = {field.name: field.encode_name for field in kept if field.name != field.encode_name}
    return {"fields": fields, "rename": rename or None}
