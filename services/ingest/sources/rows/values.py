"""What stands in a cell: moments, days, amounts, numbers and words, written the way people and programs write them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from contracts.values import EARLIEST, LATEST

_SHOWN = 40
_LONGEST_NUMBER = 40
_EXACT_PLACES = 6
_EXACT_DIGITS = 18
_EXACT_FLOAT = 1 << 53
# Within every bound, and no zeros but the last ones can be needless.
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,17}(?:\.[0-9]{1,6})?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_YES = frozenset({"yes", "true", "1", "y", "ja", "oui", "si", "sí", "sim"})
_NO = frozenset({"no", "false", "0", "n", "nein", "non", "não"})


class BadCell(ValueError):
    """A cell that cannot be taken: which column, what is wrong, what to write."""

    def __init__(self, column: str, reason: str, remedy: str) -> None:
        super().__init__(f"{column} {reason}; {remedy}")
        self.column = column
        self.reason = reason
        self.remedy = remedy


def text_of(value: Any) -> str | None:
    """Return a cell as text, or None when it states nothing. Whatever JSON holds is written as JSON writes it."""
    if value is None or isinstance(value, dict | list):
        return None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # Twelve and a half comes out of a parser as 12.5: the shortest decimal that is read as the same number again.
        # A whole number is one however it is written: as an id, 4711.0 would be another thing than 4711.
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT_FLOAT else repr(value)
    return str(value)


@lru_cache
def _set_off(thousands: str, decimal: str) -> re.Pattern[str]:
    """Return what a number looks like in which thousands are set off; in India the groups before the last have two."""
    mark = re.escape(thousands)
    return re.compile(rf"\s*[-+\u2212]?\d{{1,3}}(?:{mark}\d{{2,3}})*{mark}\d{{3}}(?:{re.escape(decimal)}\d*)?\s*")


@dataclass(frozen=True, slots=True)
class Writing:
    """How a file writes its values. `zone`: of moments without an offset; `dates`: patterns beside RFC 3339."""

    zone: tzinfo
    dates: Sequence[str] = ()
    decimal: str = "."
    thousands: str = ""

    def moment(self, column: str, text: str) -> datetime:
        """Return an aware moment in UTC; a day alone is its first moment in the file's zone."""
        found = self._parsed(text)
        if found is None:
            known = ", ".join(repr(pattern) for pattern in self.dates) or "RFC 3339 such as 2026-03-02T09:30:00Z"
            remedy = f"write it as {known}, or name its pattern in dates"
            raise BadCell(column, f"is no moment: {text[:_SHOWN]}", remedy)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=self.zone)
        try:
            moment = aware.astimezone(UTC)
        except OverflowError:
            moment = LATEST
        if not EARLIEST <= moment < LATEST:
            raise BadCell(column, f"lies in the year {found.year}", "write a moment between 1990 and 2199")
        return moment

    def day(self, column: str, text: str) -> date:
        """Return a day as it is written; of a moment with an offset the day in the file's zone."""
        found = self._parsed(text)
        if found is None or not EARLIEST.year <= found.year < LATEST.year:
            remedy = "write it like 2026-03-02, or name its pattern in dates"
            raise BadCell(column, f"is no day: {text[:_SHOWN]}", remedy)
        return found.date() if found.tzinfo is None else found.astimezone(self.zone).date()

    def _parsed(self, text: str) -> datetime | None:
        # Patterns first: "20260302" and the like are RFC 3339 to Python, too.
        for pattern in self.dates:
            try:
                return datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone comes from the file's declaration
            except ValueError:
                continue
        try:
            # Some programs put a blank before the offset.
            found = datetime.fromisoformat(re.sub(r" (?=[+-]\d\d:?\d\d$)", "", text))
        except ValueError:
            return None
        return found if _DAY.match(text) else None

    def number(self, column: str, text: str) -> Decimal:
        """Return an exact decimal with at most 18 digits and 6 places."""
        if self.decimal == "." and _PLAIN_NUMBER.fullmatch(text):
            return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)
        plain = text.replace("\u00a0", " ") if self.thousands == " " else text
        if self.thousands and self.thousands in plain:
            if not _set_off(self.thousands, self.decimal).fullmatch(plain):
                # "12.50" where points set off thousands is no twelve hundred and fifty.
                remedy = f"write {self.thousands!r} before three digits only, and {self.decimal!r} before the decimals"
                raise BadCell(column, f"is no amount: {text[:_SHOWN]}", remedy)
            plain = plain.replace(self.thousands, "")
        plain = plain.replace("\u00a0", "").replace("\u2212", "-").strip()
        if self.decimal != ".":
            # "1.234" in a file with a decimal comma is a thousand or a typo; nobody can tell.
            if "." in plain:
                raise BadCell(column, f"is no amount: {text[:_SHOWN]}", f"write {self.decimal!r} before the decimals")
            plain = plain.replace(self.decimal, ".")
        try:
            number = Decimal(plain) if len(plain) <= _LONGEST_NUMBER and "_" not in plain else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite():
            remedy = f"write digits, and {self.decimal!r} before the decimals"
            raise BadCell(column, f"is no amount: {text[:_SHOWN]}", remedy)
        return exact(column, number)

    def whole(self, column: str, text: str) -> int:
        """Return a whole number."""
        number = self.number(column, text)
        if number != number.to_integral_value():
            raise BadCell(column, f"is no whole number: {text[:_SHOWN]}", "write digits only")
        return int(number)


def exact(column: str, number: Decimal) -> Decimal:
    """Return the number without an exponent and needless zeros; raise for one that cannot be kept exactly."""
    plain = Decimal(format(number.normalize(), "f"))
    places = -int(plain.as_tuple().exponent)
    if places > _EXACT_PLACES or plain.adjusted() >= _EXACT_DIGITS:
        raise BadCell(column, "has too many digits", "write at most 18 digits and 6 decimals")
    return plain


def truth(column: str, text: str) -> bool:
    """Return whether a cell says yes."""
    word = text.casefold()
    if word in _YES or word in _NO:
        return word in _YES
    raise BadCell(column, f"says neither yes nor no: {text[:_SHOWN]}", "write yes or no")


def cell(row: Mapping[str, Any], column: str) -> str | None:
    """Return what stands in `column`, or None. A name with dots leads into nested objects where none is so called."""
    if column in row or "." not in column:
        return text_of(row.get(column))
    found: Any = row
    for step in column.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return text_of(found)
