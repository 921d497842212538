"""Whose figures, what they rest on, and money in one currency."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from services.metrics.domain.numbers import EXACT
from services.metrics.domain.windows import Bucket, Sums

Rates = Mapping[str, Sequence[tuple[date, Decimal]]]
"""By currency: (since, units of the reporting currency for one unit), the earliest first."""


class Scope(NamedTuple):
    """Whose roll-up: a manager's, a team's or the portfolio's."""

    kind: str
    scope_id: str


PORTFOLIO = Scope("portfolio", "00000000-0000-0000-0000-000000000000")


class EvidenceItem(NamedTuple):
    """One interaction behind a value."""

    interaction_id: str
    kind: str
    at: datetime
    day: date
    amount: Decimal | None
    currency: str | None
    microseconds: int | None


def converted(money: Sequence[tuple[date, Bucket]], rates: Rates, reporting: str, day: date) -> tuple[Sums, list[str]]:
    """Return the sums of `money` in the reporting currency at each day's rate, and the currencies that lack one."""
    sums, missing = Sums(day), set()
    for on, bucket in money:
        total = Decimal(0)
        for currency, amount in bucket.money.items():
            rate = Decimal(1) if currency == reporting else _rate_on(rates.get(currency, ()), on)
            if rate is None:
                missing.add(currency)
            else:
                total = EXACT.add(total, EXACT.multiply(amount, rate))
        sums.include(on, Bucket(money={reporting: total}))
    return sums, sorted(missing)


def _rate_on(dated: Sequence[tuple[date, Decimal]], day: date) -> Decimal | None:
    return next((rate for since, rate in reversed(dated) if since <= day), None)
