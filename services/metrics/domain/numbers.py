"""The one place where figures are rounded and written.

Counts are whole. Hours, rates and days have four decimals, rounded half to even from the exact ratio. Money is exact,
written without superfluous zeros but with two decimals at least.
"""

from collections.abc import Sequence
from decimal import Context, Decimal, localcontext

EXACT = Context(prec=80)
"""For sums and products of money: wide enough never to round."""

_CENTS_PLACES = 2
_CENTS = Decimal("0.01")
NOTHING = Decimal("0.00")
_SCALE = 10_000
_HOUR = 3_600_000_000
"""Microseconds."""


def ratio(numerator: int, denominator: int) -> Decimal:
    """Return numerator ÷ denominator with four decimals, rounded half to even. `denominator` is positive."""
    quotient, rest = divmod(numerator * _SCALE, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2):
        quotient += 1
    return Decimal(quotient).scaleb(-4)


def percentile(ordered: Sequence[int], tenths: int, unit: int = 1) -> Decimal:
    """Return the percentile (`tenths` 5: the median) of ascending values ÷ `unit`, as percentile_cont interpolates."""
    whole, rest = divmod(tenths * (len(ordered) - 1), 10)
    scaled = ordered[whole] * 10
    if rest:
        scaled += rest * (ordered[whole + 1] - ordered[whole])
    return ratio(scaled, 10 * unit)


def hours(durations: Sequence[int]) -> tuple[Decimal, Decimal, Decimal]:
    """Return mean, median and 90th percentile, in hours, of durations in microseconds. There is at least one."""
    ordered = sorted(durations)
    return ratio(sum(ordered), len(ordered) * _HOUR), percentile(ordered, 5, _HOUR), percentile(ordered, 9, _HOUR)


def money(amount: Decimal) -> Decimal:
    """Return the same amount in its canonical form: 12.5 and 12.500 are both written 12.50."""
    if not amount:
        return NOTHING
    if str(amount)[-3:-2] == ".":
        return amount  # nearly always: two decimals, as it came
    with localcontext(EXACT):
        plain = amount.normalize()
        exponent = plain.as_tuple().exponent
        if isinstance(exponent, int) and exponent > -_CENTS_PLACES:
            plain = plain.quantize(_CENTS)
        return plain


def add(first: Decimal, second: Decimal) -> Decimal:
    """Return the exact sum."""
    return EXACT.add(first, second)
