"""The values of every KPI and window, from running sums and what was read beside them."""

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from operator import itemgetter
from typing import NamedTuple

from services.metrics.domain.numbers import EXACT, money
from services.metrics.domain.state import AccountState, Hours
from services.metrics.domain.windows import ADDITIVE, LENGTHS, ORDERS, WINDOWS, Sums

_BEFORE_HOURS = ("touches_out", "touches_in", "support_requests", "tickets_opened")
_HOURS = ("resolution_hours_mean", "resolution_hours_median", "resolution_hours_p90")
_AFTER_HOURS = ("tickets_resolved", "orders")
_shown = itemgetter(*(LENGTHS.index(length) for window in WINDOWS for length in (window, 2 * window)))
_ALL = Decimal("100.0000")
_NONE = Decimal("0.0000")


class Figure(NamedTuple):
    """One KPI over one window and over the one before it. Values are canonical (see `numbers`)."""

    kpi: str
    window: int
    currency: str | None
    value: int | Decimal | None
    previous: int | Decimal | None

    @property
    def change(self) -> int | Decimal | None:
        """The value minus the previous one."""
        if self.value is None or self.previous is None:
            return None
        if isinstance(self.value, int) and isinstance(self.previous, int):
            return self.value - self.previous
        difference = EXACT.subtract(Decimal(self.value), Decimal(self.previous))
        return money(difference) if self.kpi == "net_revenue" else difference


def figures(
    sums: Sums, hours: Sequence[Hours | None], rates: Sequence[Decimal | None], currency: str
) -> Iterator[Figure]:
    """Yield every KPI and window in a fixed order; `currency` is that of a revenue of nothing."""
    for name in _BEFORE_HOURS:
        yield from _counts(sums, name)
    yield from hour_figures(hours)
    for name in _AFTER_HOURS:
        yield from _counts(sums, name)
    yield from revenue_figures(sums, currency)
    for window_place, window in enumerate(WINDOWS):
        yield Figure("repeat_purchase_rate", window, None, rates[2 * window_place], rates[2 * window_place + 1])


def _counts(sums: Sums, name: str) -> Iterator[Figure]:
    metric = ADDITIVE.index(name)
    for window in WINDOWS:
        now = sums.count(metric, window)
        yield Figure(name, window, None, now, sums.count(metric, 2 * window) - now)


def hour_figures(hours: Sequence[Hours | None]) -> Iterator[Figure]:
    """Yield the three figures of time to resolution."""
    for place, name in enumerate(_HOURS):
        for window_place, window in enumerate(WINDOWS):
            now, before = hours[2 * window_place], hours[2 * window_place + 1]
            yield Figure(name, window, None, now and now[place], before and before[place])


def revenue_figures(sums: Sums, default: str) -> Iterator[Figure]:
    """Yield net revenue per currency; nothing at all is told in `default`."""
    for currency in currencies(sums) or [default]:
        for window in WINDOWS:
            now = sums.amount(currency, window)
            before = EXACT.subtract(sums.amount(currency, 2 * window), now)
            yield Figure("net_revenue", window, currency, money(now), money(before))


def currencies(sums: Sums) -> list[str]:
    """Return the currencies in which some window, or the one before it, has revenue."""
    return sorted([currency for currency, amounts in sums.money.items() if amounts[-1] or any(_shown(amounts))])


def repeat_rates(sums: Sums, first_order: date | None) -> list[Decimal | None]:
    """Return, per window and the one before it, 100 when the account placed an order that is not its first, else 0.

    None: it placed no order.
    """
    rates: list[Decimal | None] = []
    age = -1 if first_order is None else (sums.as_of - first_order).days
    for window in WINDOWS:
        both = sums.count(ORDERS, 2 * window)
        now = sums.count(ORDERS, window) if both else 0
        rates.append(_rate(now, first=0 <= age < window))
        rates.append(_rate(both - now, first=window <= age < 2 * window))
    return rates


def _rate(orders: int, *, first: bool) -> Decimal | None:
    return None if not orders else _ALL if orders > first else _NONE


def of_account(state: AccountState) -> Iterator[Figure]:
    """Yield the figures of one account."""
    return figures(state.sums, state.hours, repeat_rates(state.sums, state.rhythm.first_day), state.currency)
