"""What the API reads, under row-level security: states as of any day, roll-ups, evidence, rates."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

import asyncpg

from services.metrics.domain.days import CompanyDays
from services.metrics.domain.numbers import hours, ratio
from services.metrics.domain.scope import EvidenceItem, Scope
from services.metrics.domain.state import AccountState, Hours, opened_tickets, resolution_hours
from services.metrics.domain.touches import latest
from services.metrics.domain.windows import ADDITIVE, LENGTHS, WINDOWS, Bucket, padded, summed
from services.metrics.store import facts as fact_store
from services.metrics.store import states as state_store

_LONGEST = timedelta(days=LENGTHS[-1])
EVIDENCE_IDS = 20


async def set_today(connection: asyncpg.Connection, today: date) -> None:
    """Tell scope which day it is by the system's clock, for this transaction."""
    # owners, team members and deputies are dated
    await connection.execute("select set_config('tenure.today', $1, true)", today.isoformat())


async def survivor(connection: asyncpg.Connection, account_id: str) -> str:
    """Return the account that `account_id` was merged into, else itself."""
    # a merged id lives on as an alias; merges of merges are followed, also where the alias itself is nobody's
    merged = await connection.fetchval("select surviving_account($1)", account_id)
    return str(merged) if merged is not None else account_id


async def account_as_of(
    connection: asyncpg.Connection, account_id: str, day: date, days: CompanyDays, currency: str
) -> AccountState | None:
    """Return an account's state as of the end of `day`, with everything known now; None: not visible."""
    state = await state_store.read(connection, account_id, currency)
    if state is None:
        return None
    if state.sums.as_of <= day and (state.due is None or day < state.due):
        state.sums.as_of = day  # nothing changes by itself before the account is due
        return state
    after, end = day - _LONGEST, days.end(day)
    buckets = (await state_store.load_bucket_ranges(connection, {account_id: after})).get(account_id, {})
    past = AccountState(account_id, summed(buckets.items(), day), state.version, state.account_version)
    past.currency, past.since = state.currency, state.since
    tickets = (await fact_store.tickets(connection, {account_id: after}))[account_id]
    past.hours = resolution_hours(tickets, day)
    past.opened = opened_tickets(tickets, day, EVIDENCE_IDS)
    past.rhythm = (await fact_store.rhythms(connection, {account_id: day}))[account_id]
    past.items = (await fact_store.open_items(connection, {account_id: end}))[account_id]
    if day <= state.sums.as_of:
        # whatever was a last touch of its sort then has a successor among those of now, or is it
        known = [(account_id, key, day) for key in state.touches]
        found = await fact_store.last_touches(connection, known) if known else []
        past.touches = {key: touch for _, key, touch in found}
    else:
        past.touches = latest(await fact_store.touches_of(connection, [account_id]), day)
    return past


async def visible(connection: asyncpg.Connection, account_id: str) -> bool:
    """Say whether the caller may see an account."""
    # row-level security answers
    return bool(
        await connection.fetchval("select exists (select from account_state where account_id = $1)", account_id)
    )


async def has_money_beside(connection: asyncpg.Connection, account_id: str, day: date, currency: str) -> bool:
    """Say whether an account has money in another currency on a day of the longest window that ends with `day`."""
    # one range by primary key
    return bool(
        await connection.fetchval(
            "select exists (select from bucket where account_id = $1 and day > $2 and day <= $3"
            " and exists (select from json_object_keys(money) as k (currency) where k.currency <> $4))",
            account_id,
            day - _LONGEST,
            day,
            currency,
        )
    )


async def money_days(connection: asyncpg.Connection, account_id: str, day: date) -> list[tuple[date, Bucket]]:
    """Return an account's days with money in the longest window that ends with `day`."""
    buckets = await state_store.load_bucket_ranges(connection, {account_id: day - _LONGEST})
    return [(on, bucket) for on, bucket in buckets.get(account_id, {}).items() if bucket.money and on <= day]


async def may_see(connection: asyncpg.Connection, scope: Scope) -> bool:
    """Say whether the caller may see a roll-up that exists."""
    # both functions run with the owner's rights and tell nothing else
    return bool(await connection.fetchval("select may_see($1, $2) and scope_exists($1, $2)", *scope))


async def roll_up(connection: asyncpg.Connection, scope: Scope, day: date) -> list[tuple[date, Bucket]]:
    """Return a roll-up's days in the longest window that ends with `day`."""
    # one range by primary key
    rows = await connection.fetch(
        "select day, counts, money::text as money from rollup"
        " where scope = $1 and scope_id = $2 and day > $3 and day <= $4",
        *scope,
        day - _LONGEST,
        day,
    )
    return [(row[0], Bucket(padded(row[1], len(ADDITIVE)), state_store.load_money(row[2]))) for row in rows]


async def scope_hours(connection: asyncpg.Connection, scope: Scope, day: date) -> list[Hours | None]:
    """Return mean, median and p90 of the time to resolution, per window and the one before it."""
    # each ticket once, credited to who owned the account on the day of the resolution
    rows = await connection.fetch(
        "select resolved_on, microseconds from scope_resolutions($1, $2, $3, $4)", *scope, day - _LONGEST, day
    )
    figures: list[Hours | None] = []
    for first, last in _spans(day):
        spans = [row[1] for row in rows if first < row[0] <= last]
        figures.append(hours(spans) if spans else None)
    return figures


async def scope_repeat_rates(connection: asyncpg.Connection, scope: Scope, day: date) -> list[Decimal | None]:
    """Return customers with a follow-up order ÷ customers with any, in %, per window and the one before it."""
    # orders by account and day, credited to who owned the account on that day
    rows = await connection.fetch(
        "select account_id, day, orders, has_first from scope_orders($1, $2, $3, $4)", *scope, day - _LONGEST, day
    )
    rates: list[Decimal | None] = []
    for first, last in _spans(day):
        orders: dict[str, int] = {}
        for account, on, number, has_first in rows:
            if first < on <= last:
                orders[account] = orders.get(account, 0) + number - bool(has_first)
        followed = sum(number > 0 for number in orders.values())
        rates.append(ratio(100 * followed, len(orders)) if orders else None)
    return rates


def _spans(day: date) -> list[tuple[date, date]]:
    """Return (the day before the first, the last day) of each window and of the one before it."""
    lengths = [timedelta(days=window) for window in WINDOWS]
    return [span for length in lengths for span in ((day - length, day), (day - 2 * length, day - length))]


async def rates(connection: asyncpg.Connection) -> dict[str, list[tuple[date, Decimal]]]:
    """Return the rates of each currency, the earliest first."""
    # a few rows per currency and day
    rows = await connection.fetch("select currency, since, rate from rate order by currency, since")
    found: dict[str, list[tuple[date, Decimal]]] = {}
    for currency, since, rate in rows:
        found.setdefault(currency, []).append((since, rate))
    return found


async def save_rate(connection: asyncpg.Connection, currency: str, since: date, rate: Decimal) -> None:
    """Set the rate of a currency from a day on."""
    # a corrected rate restates: nothing converted is stored
    await connection.execute(
        "insert into rate (currency, since, rate) values ($1, $2, $3)"
        " on conflict (currency, since) do update set rate = excluded.rate",
        currency,
        since,
        rate,
    )


async def delete_rate(connection: asyncpg.Connection, currency: str, since: date) -> bool:
    """Remove a rate; say whether there was one."""
    # by primary key
    return bool(
        await connection.fetchval("delete from rate where currency = $1 and since = $2 returning true", currency, since)
    )


_TIMED = "f.resolved_on is not null and f.began_at is not null"
EVIDENCE: Mapping[str, str] = {
    "touches_out": "f.effects & 1 <> 0",
    "touches_in": "f.effects & 2 <> 0",
    "support_requests": "f.effects & 4 <> 0",
    "tickets_opened": "f.effects & 8 <> 0",
    "orders": "f.effects & 16 <> 0",
    "repeat_purchase_rate": "f.effects & 16 <> 0",
    "net_revenue": "f.amount is not null and not f.voided",
    "tickets_resolved": "f.resolved_on is not null",
    "resolution_hours_mean": _TIMED,
    "resolution_hours_median": _TIMED,
    "resolution_hours_p90": _TIMED,
}
"""What counts for each KPI, over the slim rows."""


async def evidence(
    connection: asyncpg.Connection,
    account_id: str,
    kpi: str,
    *,
    span: tuple[date, date],
    before: tuple[datetime, str] | None,
    limit: int,
) -> tuple[int, list[EvidenceItem]]:
    """Return how many interactions are behind a value, and up to `limit` of them, the latest first, after a cursor."""
    condition = EVIDENCE[kpi]
    resolved = condition.startswith("f.resolved_on")
    on, at = ("f.resolved_on", "f.resolved_at") if resolved else ("f.day", "coalesce(f.began_at, f.at)")
    where = f"f.account_id = $1 and {condition} and {on} > $2 and {on} <= $3"
    # all of them, counted
    count = await connection.fetchval(f"select count(*) from fact as f where {where}", account_id, *span)  # noqa: S608 - constants
    # one page by keyset
    rows = await connection.fetch(
        f"select f.interaction_id, f.kind, {at} as moment, {on} as on_day, f.amount, f.currency,"  # noqa: S608 - constants
        f" f.began_at, f.resolved_at"
        f" from fact as f where {where} and ($4::timestamptz is null or ({at}, f.interaction_id) < ($4, $5::uuid))"
        f" order by {at} desc, f.interaction_id desc limit $6",
        account_id,
        *span,
        before[0] if before else None,
        before[1] if before else None,
        limit,
    )
    items = [
        EvidenceItem(
            row[0],
            row[1],
            row[2],
            row[3],
            row[4],
            row[5],
            fact_store.microseconds(row[6], row[7]) if resolved else None,
        )
        for row in rows
    ]
    return count, items
