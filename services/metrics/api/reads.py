"""What the reading endpoints answer; every one in a transaction that carries the caller's scope."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import asyncpg
from babel.numbers import get_currency_precision

from contracts.envelope import format_instant
from contracts.kpis import Kpi
from services.metrics.api.tables import ReadTable
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.figures import Figure, figures, of_account
from services.metrics.domain.numbers import EXACT, ratio
from services.metrics.domain.publish import evidence_query, profile
from services.metrics.domain.scope import PORTFOLIO, EvidenceItem, Scope, converted
from services.metrics.domain.windows import WINDOWS, Sums, summed
from services.runtime.auth import Caller
from services.runtime.clock import Clock
from services.runtime.freshness import Freshness
from services.runtime.postgres import scoped
from services.runtime.problems import FieldError, invalid, not_found

KPIS: tuple[str, ...] = get_args(Kpi)
UNITS = {"net_revenue": "money", "repeat_purchase_rate": "%"} | dict.fromkeys(
    ("resolution_hours_mean", "resolution_hours_median", "resolution_hours_p90"), "hours"
)
_EARLIEST = date(1990, 1, 1)


class Reads:
    """Figures of accounts and roll-ups as of any day, their evidence, and rates."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        table: ReadTable,
        days: CompanyDays,
        clock: Clock,
        currency: str,
        freshness: Freshness,
    ) -> None:
        self._pool = pool
        self._table = table
        self._days = days
        self._clock = clock
        self._currency = currency
        self._freshness = freshness

    async def account(self, caller: Caller, account_id: str, as_of: str | None) -> dict[str, Any]:
        """Return everything about one account as of the end of a day."""
        day = self._day(as_of)
        await self._freshness.require()
        async with scoped(self._pool, caller, readonly=True) as connection:
            await self._table.set_today(connection, self._today())
            account_id = await self._table.survivor(connection, account_id)
            state = await self._table.account_as_of(connection, account_id, day, self._days, self._currency)
            if state is None:
                raise not_found("account")
            # Not asked of the sums: what came and went in another currency is nothing in it, and something in ours.
            foreign = await self._table.has_money_beside(connection, account_id, day, self._currency)
            money = await self._table.money_days(connection, account_id, day) if foreign else None
            rates = await self._table.rates(connection) if money is not None else {}
        shown: dict[str, Any] = {"account_id": account_id, "as_of": day.isoformat()}
        shown["values"] = [_shown(figure, account_id, day) for figure in of_account(state)]
        if money is None:
            shown["reporting"] = self._reporting(state.sums, [])
        else:
            shown["reporting"] = self._reporting(*converted(money, rates, self._currency, day))
        return shown | profile(state)

    async def scope(self, caller: Caller, scope: Scope, as_of: str | None) -> dict[str, Any]:
        """Return a roll-up as of the end of a day, each interaction counted once, credited to the day's owner."""
        day = self._day(as_of)
        await self._freshness.require()
        async with scoped(self._pool, caller, readonly=True) as connection:
            await self._table.set_today(connection, self._today())
            if not await self._table.may_see(connection, scope):
                raise not_found(scope.kind)
            buckets = await self._table.roll_up(connection, scope, day)
            hours = await self._table.scope_hours(connection, scope, day)
            repeat = await self._table.scope_repeat_rates(connection, scope, day)
            rates = await self._table.rates(connection)
        sums = summed(buckets, day)
        shown: dict[str, Any] = {"scope": scope.kind, "as_of": day.isoformat()}
        if scope != PORTFOLIO:
            shown["id"] = scope.scope_id
        shown["values"] = [_shown(figure) for figure in figures(sums, hours, repeat, self._currency)]
        money = [(on, bucket) for on, bucket in buckets if bucket.money]
        return shown | {"reporting": self._reporting(*converted(money, rates, self._currency, day))}

    async def evidence(
        self,
        caller: Caller,
        account_id: str,
        kpi: str,
        *,
        window: str,
        as_of: str | None,
        cursor: str | None,
        limit: int,
    ) -> dict[str, Any]:
        """Return the interactions behind one value, the latest first."""
        day, span, before = self._day(as_of), _window(window), _cursor(cursor)
        if kpi not in KPIS:
            raise invalid([FieldError("kpi", f"{kpi!r} is no KPI", "use one of " + ", ".join(KPIS))])
        await self._freshness.require()
        async with scoped(self._pool, caller, readonly=True) as connection:
            await self._table.set_today(connection, self._today())
            account_id = await self._table.survivor(connection, account_id)
            if not await self._table.visible(connection, account_id):
                raise not_found("account")
            first = day - timedelta(days=span)
            count, items = await self._table.evidence(
                connection, account_id, kpi, span=(first, day), before=before, limit=limit
            )
        more = len(items) == limit
        return {
            "account_id": account_id,
            "kpi": kpi,
            "window": span,
            "as_of": day.isoformat(),
            "count": count,
            "items": [_evidence(item) for item in items],
            "next": _dump_cursor(items[-1].at, items[-1].interaction_id) if more else None,
        }

    async def rates(self, caller: Caller) -> dict[str, Any]:
        """Return every rate."""
        async with scoped(self._pool, caller, readonly=True) as connection:
            known = await self._table.rates(connection)
        items = [
            {"currency": currency, "since": since.isoformat(), "rate": str(rate)}
            for currency, dated in known.items()
            for since, rate in dated
        ]
        return {"reporting_currency": self._currency, "items": items}

    def _today(self) -> date:
        return self._days.day(self._clock.now())

    def _day(self, text: str | None) -> date:
        today = self._today()
        day = today if text is None else parse_date("as_of", text)
        if day > today:
            message = f"{day.isoformat()} lies in the future"
            raise invalid([FieldError("as_of", message, f"ask for {today.isoformat()} or an earlier day")])
        if day < _EARLIEST:
            raise invalid([FieldError("as_of", "lies before 1990", "ask for a later day")])
        return day

    def _reporting(self, sums: Sums, missing: Sequence[str]) -> dict[str, Any]:
        """Return the revenue in the reporting currency, undefined while a rate is missing."""
        shown = []
        for window in WINDOWS:
            now = sums.amount(self._currency, window)
            before = EXACT.subtract(sums.amount(self._currency, 2 * window), now)
            pair = (None, None) if missing else (_minor(now, self._currency), _minor(before, self._currency))
            shown.append(_shown(Figure("net_revenue", window, self._currency, *pair)))
        return {"currency": self._currency, "values": shown, "missing_rates": list(missing)}


def parse_date(field: str, text: str) -> date:
    """Read a day; raise the 422 that names `field`."""
    try:
        if len(text) != len("2026-03-02"):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise invalid([FieldError(field, "is no date", "write a date such as 2026-03-02")]) from None


def _window(text: str) -> int:
    if text not in {str(window) for window in WINDOWS}:
        raise invalid([FieldError("window", f"{text!r} is no window", "use 7, 30, 90 or 365 (days)")])
    return int(text)


def _cursor(text: str | None) -> tuple[datetime, str] | None:
    if text is None:
        return None
    try:
        moment, _, interaction = urlsafe_b64decode(text).decode("ascii").partition("|")
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError
        return at, str(UUID(interaction))
    except ValueError:
        raise invalid(
            [FieldError("cursor", "is no cursor of ours", "send `next` of the page before as it came")]
        ) from None


def _dump_cursor(at: datetime, interaction_id: str) -> str:
    return urlsafe_b64encode(f"{format_instant(at)}|{interaction_id}".encode()).decode()


def _minor(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's minor unit, half to even."""
    return EXACT.quantize(amount, Decimal(1).scaleb(-get_currency_precision(currency)))


def _shown(figure: Figure, account_id: str | None = None, day: date | None = None) -> dict[str, Any]:
    shown: dict[str, Any] = {"kpi": figure.kpi, "window": figure.window, "unit": UNITS.get(figure.kpi, "count")}
    if figure.currency is not None:
        shown["currency"] = figure.currency
    for name in ("value", "previous", "change"):
        value = getattr(figure, name)
        shown[name] = None if value is None else str(value)
    if account_id is not None and day is not None:
        shown["evidence"] = evidence_query(account_id, figure.kpi, figure.window, day)
    return shown


def _evidence(item: EvidenceItem) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "interaction_id": item.interaction_id,
        "kind": item.kind,
        "at": format_instant(item.at),
        "day": item.day.isoformat(),
    }
    if item.amount is not None:
        shown |= {"amount": str(item.amount), "currency": item.currency}
    if item.microseconds is not None:
        shown["hours"] = str(ratio(item.microseconds, 3_600_000_000))
    return shown
