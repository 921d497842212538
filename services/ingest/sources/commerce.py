"""What shops and billing have in common: amounts, and what counts from the first time it was said."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from services.ingest.domain.mapping import Unmapped, micros

_FIRST = 1 << 62
_TYPE = re.compile(r"[a-z0-9_]{1,40}(?:\.[a-z0-9_]{1,40}){1,4}")
_GREATEST = 10**18
# Within these bounds beyond doubt; whatever else may be is looked at by its parts.
_PLAIN = re.compile(r"-?[0-9]{1,17}(?:\.[0-9]{1,12})?", re.ASCII)
_MOST_PLACES = 12


def first_said(moment: datetime) -> int:
    """Return an order in which the earliest report is the greatest.

    For what a provider repeats with every later change and dates by that change: an arrival, a refund.
    """
    return _FIRST - micros(moment)


def objects(payload: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list under `field`; none where there is no list."""
    value = payload.get(field)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping_in(payload: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Return the object under `field`, or an empty one."""
    value = payload.get(field)
    return value if isinstance(value, dict) else {}


def sum_of(parts: Iterable[Mapping[str, Any]], field: str) -> Decimal:
    """Sum an amount over `parts`; one that does not carry it counts as nothing."""
    return sum((decimal_of(part[field], field) for part in parts if part.get(field) is not None), Decimal(0))


def decimal_of(value: Any, field: str) -> Decimal:
    """Read an exact number: a string, a whole number, or a decimal; raise `Unmapped` naming the field."""
    if isinstance(value, float):
        # Shops of floats write 12.5 and mean it: the shortest text that reads back as the same number.
        value = repr(value)
    if type(value) is str and _PLAIN.fullmatch(value):
        return Decimal(value)
    if type(value) is Decimal and _PLAIN.fullmatch(str(value)):
        return value
    if isinstance(value, str | Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and abs(number) < _GREATEST and _places(number) <= _MOST_PLACES:
            return number
    raise Unmapped(f"bad_number:{field}")


def day_of(value: Any, field: str) -> date:
    """Return the day on the shop's own clock, of a time with its offset; raise `Unmapped` naming the field."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value).date()
    except ValueError:
        pass
    raise Unmapped(f"bad_time:{field}")


def _places(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def counted(name: str) -> str:
    """Return the name under which an event of a type that we do not want is counted; never what a payload may hold."""
    return name if _TYPE.fullmatch(name) else "unknown_type"


def country_of(address: Mapping[str, Any], field: str) -> str | None:
    """Return the ISO 3166 code of a postal address, or None."""
    value = address.get(field)
    code = value.strip().upper() if isinstance(value, str) else ""
    return code if len(code) == 2 and code.isascii() and code.isalpha() else None  # noqa: PLR2004 - alpha-2
