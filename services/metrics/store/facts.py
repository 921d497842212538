"""Slim rows: load, save, and what is read again from them because it cannot be subtracted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from services.metrics.domain.facts import Fact
from services.metrics.domain.rhythm import of_days
from services.metrics.domain.state import Item, Rhythm, Ticket, Touch, TouchKey
from services.runtime import arrays
from services.runtime.fresh import insert_fresh

OPEN_ITEMS_LIMIT = 500
"""Of an account that never answers, the latest are kept in sight."""

_COLUMNS = (
    "f.account_id, f.interaction_id, f.version, f.present, f.kind, f.at, f.day, f.effects, f.began_at, f.resolved_at,"
    " f.resolved_on, f.cancelled, f.amount, f.currency, f.parent_id, f.priority, f.side, f.sort, f.touch_class,"
    " f.contacts::text[] as contacts, f.question, f.answered_at, f.counted_class, f.two_way, f.roles, f.voided"
)
_CONTACTS = Fact._fields.index("contacts")
_LOAD = (
    f"select {_COLUMNS} from unnest($1::uuid[], $2::uuid[])"  # noqa: S608 - constants
    " as wanted (account_id, interaction_id) inner join fact as f using (account_id, interaction_id)"
)
Window = tuple[str, datetime, datetime]


def _fact(row: asyncpg.Record) -> Fact:
    values: list[Any] = list(row)
    values[_CONTACTS] = tuple(values[_CONTACTS])
    return Fact(*values)


async def load(connection: asyncpg.Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Fact]:
    """Return the stored rows of (account, interaction)."""
    # by primary key
    rows = await connection.fetch(
        _LOAD, arrays.ids([account for account, _ in keys]), arrays.ids([interaction for _, interaction in keys])
    )
    return {(row[0], row[1]): _fact(row) for row in rows}


async def versions(connection: asyncpg.Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the stored versions of (account, interaction)."""
    # by primary key
    rows = await connection.fetch(
        "select account_id, interaction_id, f.version from unnest($1::uuid[], $2::uuid[])"
        " as wanted (account_id, interaction_id) inner join fact as f using (account_id, interaction_id)",
        arrays.ids([account for account, _ in keys]),
        arrays.ids([interaction for _, interaction in keys]),
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def load_touches(connection: asyncpg.Connection, windows: Sequence[Window]) -> dict[str, list[Fact]]:
    """Return per account touches and missed calls from a moment on, and older questions answered from another on.

    `windows`: (account, touches from, questions answered from).
    """
    found: dict[str, list[Fact]] = {}
    accounts, touches_from, answered_from = (list(column) for column in zip(*windows, strict=True))
    # two index ranges per account, without overlap
    rows = await connection.fetch(
        "with wanted as (select account_id, touches_from, answered_from"  # noqa: S608 - constants
        " from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) as w (account_id, touches_from, answered_from))"
        f" select {_COLUMNS} from wanted as w"
        " inner join fact as f on w.account_id = f.account_id and f.side is not null and f.at >= w.touches_from"
        f" union all select {_COLUMNS} from wanted as w"
        " inner join fact as f on w.account_id = f.account_id and f.answered_at >= w.answered_from"
        " and f.at < w.touches_from",
        accounts,
        touches_from,
        answered_from,
    )
    for row in rows:
        found.setdefault(row[0], []).append(_fact(row))
    return found


async def load_refunds(connection: asyncpg.Connection, orders: Sequence[tuple[str, str]]) -> list[Fact]:
    """Return the refunds of (account, order)."""
    # by the partial index on parents
    rows = await connection.fetch(
        f"select {_COLUMNS} from unnest($1::uuid[], $2::uuid[]) as wanted (account_id, parent_id)"  # noqa: S608 - constants
        " inner join fact as f using (account_id, parent_id)",
        [account for account, _ in orders],
        [order for _, order in orders],
    )
    return [_fact(row) for row in rows]


async def save(connection: asyncpg.Connection, new: Sequence[Fact], known: Sequence[Fact]) -> None:
    """Insert `new` rows and replace `known` ones; their accounts are locked by the caller, who has compared."""
    if new:
        await insert_fresh(connection, _INSERT, _REPLACE, _packed(new), len(new))
    if known:
        await connection.execute(_INSERT + _REPLACE, *_packed(known))


def _packed(facts: Sequence[Fact]) -> list[arrays.Packed]:
    columns: list[Sequence[Any]] = list(zip(*facts, strict=True))
    # a text per row: arrays of arrays cannot be unnested by one level
    columns[_CONTACTS] = [arrays.literal_ids(contacts) if contacts else None for contacts in columns[_CONTACTS]]
    columns[_AMOUNT] = [None if amount is None else str(amount) for amount in columns[_AMOUNT]]
    return [arrays.or_nothing(pack, values) for pack, values in zip(_PACKS, columns, strict=True)]


_NAMES = Fact._fields
_AMOUNT = _NAMES.index("amount")
_KINDS: Mapping[str, tuple[str, Callable[[Sequence[Any]], arrays.Packed]]] = {
    "account_id": ("uuid", arrays.ids),
    "interaction_id": ("uuid", arrays.ids),
    "version": ("bigint", arrays.numbers),
    "present": ("boolean", arrays.flags),
    "at": ("timestamptz", arrays.moments),
    "day": ("date", arrays.days),
    "effects": ("bigint", arrays.numbers),
    "began_at": ("timestamptz", arrays.moments),
    "resolved_at": ("timestamptz", arrays.moments),
    "resolved_on": ("date", arrays.days),
    "cancelled": ("boolean", arrays.flags),
    "parent_id": ("uuid", arrays.ids),
    "question": ("boolean", arrays.flags),
    "answered_at": ("timestamptz", arrays.moments),
    "two_way": ("boolean", arrays.flags),
    "roles": ("bigint", arrays.numbers),
    "voided": ("boolean", arrays.flags),
}
_TEXT = ("text", arrays.texts)
_PACKS = tuple(_KINDS.get(name, _TEXT)[1] for name in _NAMES)
_UNNESTED = ", ".join(
    f"unnest(${place}::{_KINDS.get(name, _TEXT)[0]}[]) as {name}" for place, name in enumerate(_NAMES, 1)
)
_WRITTEN = {"contacts": "coalesce(contacts::uuid[], '{}')", "amount": "amount::numeric"}
_SELECTED = ", ".join(_WRITTEN.get(name, name) for name in _NAMES)
_SET = ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:])
_INSERT = f"insert into fact ({', '.join(_NAMES)}) select {_SELECTED} from (select {_UNNESTED}) as saved"  # noqa: S608 - constants
_REPLACE = f" on conflict (account_id, interaction_id) do update set {_SET}"


async def touches_of(connection: asyncpg.Connection, accounts: Sequence[str]) -> list[Fact]:
    """Return all touches of accounts."""
    # by the index on touches; only for accounts whose contacts changed, or that had facts of days to come
    rows = await connection.fetch(
        f"select {_COLUMNS} from fact as f where f.account_id = any($1::uuid[]) and f.side is not null",  # noqa: S608 - constants
        accounts,
    )
    return [_fact(row) for row in rows]


async def last_touches(
    connection: asyncpg.Connection, wanted: Iterable[tuple[str, TouchKey, date]]
) -> list[tuple[str, TouchKey, Touch]]:
    """Return the last touch of each (account, key) on or before a day, where there is one."""
    asked = [(account, sort, touch_class, bit, as_of) for account, (sort, touch_class, bit), as_of in wanted]
    columns = [list(column) for column in zip(*asked, strict=True)]
    # backwards through the account's touches until one fits, from where the day ends in any time zone
    rows = await connection.fetch(
        "select w.account_id, w.sort, w.touch_class, w.bit, f.at, f.interaction_id"
        " from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::date[])"
        " as w (account_id, sort, touch_class, bit, as_of) cross join lateral ("
        " select t.at, t.interaction_id from fact as t where t.account_id = w.account_id and t.side is not null"
        " and t.sort is not null and t.counted_class = w.touch_class and t.day <= w.as_of"
        " and t.at < (w.as_of + 2)::timestamp at time zone 'UTC'"
        " and (case when w.sort = 'two_way' then t.two_way else t.sort = w.sort end)"
        " and (w.bit is null or (t.roles >> w.bit) & 1 = 1)"
        " order by t.at desc, t.interaction_id desc limit 1) as f",
        *columns,
    )
    return [(row[0], (row[1], row[2], row[3]), Touch(row[4], row[5])) for row in rows]


async def open_items(connection: asyncpg.Connection, ends: Mapping[str, datetime]) -> dict[str, list[Item]]:
    """Return per account what waits at the end of its day (`ends`: the first moment after it), the oldest first."""
    found: dict[str, list[Item]] = {account: [] for account in ends}
    # unanswered questions and unresolved tickets, each by its partial index; of too many the latest
    rows = await connection.fetch(
        "select w.account_id, i.kind, i.interaction_id, i.at, i.contact, i.priority"
        " from unnest($1::uuid[], $2::timestamptz[]) as w (account_id, until) cross join lateral ("
        " select f.kind, f.interaction_id, f.at, f.contacts[1]::text as contact, null as priority from fact as f"
        " where f.account_id = w.account_id and f.answered_at >= w.until and f.at < w.until"
        " union all select f.kind, f.interaction_id, f.began_at, null, f.priority from fact as f"
        " where f.account_id = w.account_id and f.effects & 8 <> 0 and f.resolved_at is null and f.began_at < w.until"
        " union all select f.kind, f.interaction_id, f.began_at, null, f.priority from fact as f"
        " where f.account_id = w.account_id and f.effects & 8 <> 0 and f.began_at < w.until"
        " and f.resolved_on is not null and f.resolved_at >= w.until and f.resolved_on >= w.until::date - 1"
        " order by 3 desc limit $3) as i",
        list(ends),
        list(ends.values()),
        OPEN_ITEMS_LIMIT,
    )
    names = {"mail": "unanswered_mail", "call": "missed_call", "ticket": "open_ticket"}
    for account, kind, interaction, since, contact, priority in rows:
        found[account].append(Item(names[kind], interaction, kind, since, contact, priority))
    for items in found.values():
        items.sort(key=lambda item: (item.since, item.interaction_id))
    return found


async def tickets(connection: asyncpg.Connection, horizon: Mapping[str, date]) -> dict[str, list[Ticket]]:
    """Return per account the tickets opened or resolved after a day."""
    found: dict[str, list[Ticket]] = {account: [] for account in horizon}
    # two index ranges, without overlap
    rows = await connection.fetch(
        "with wanted as (select account_id, after_day from unnest($1::uuid[], $2::date[]) as w (account_id, after_day))"
        " select f.account_id, f.interaction_id, f.day, f.resolved_on, f.began_at, f.resolved_at from wanted as w"
        " inner join fact as f on w.account_id = f.account_id and f.resolved_on > w.after_day"
        " union all select f.account_id, f.interaction_id, f.day, f.resolved_on, f.began_at, f.resolved_at"
        ""
        " from wanted as w inner join fact as f"
        " on w.account_id = f.account_id and f.day > w.after_day and f.effects & 8 <> 0"
        " and (f.resolved_on is null or f.resolved_on <= w.after_day)",
        list(horizon),
        list(horizon.values()),
    )
    for account, interaction, opened_on, resolved_on, began, resolved in rows:
        found[account].append(Ticket(interaction, opened_on, resolved_on, microseconds(began, resolved), began))
    return found


def microseconds(began: datetime | None, ended: datetime | None) -> int | None:
    """Return the time between, not below zero; None where one is not known."""
    if began is None or ended is None:
        return None
    span = ended - began
    return max((span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds, 0)


async def rhythms(connection: asyncpg.Connection, as_of: Mapping[str, date]) -> dict[str, Rhythm]:
    """Return per account the rhythm of its orders up to a day, from scratch."""
    # all order days from the buckets, the last order by index
    rows = await connection.fetch(
        "select w.account_id, d.orders, d.days, l.began_at, l.interaction_id"
        " from unnest($1::uuid[], $2::date[]) as w (account_id, as_of)"
        " cross join lateral (select sum(b.counts[6])::bigint as orders, array_agg(b.day order by b.day) as days"
        " from bucket as b where b.account_id = w.account_id and b.day <= w.as_of and b.counts[6] > 0) as d"
        " cross join lateral (select f.began_at, f.interaction_id from fact as f where f.account_id = w.account_id"
        " and f.effects & 16 <> 0 and f.day <= w.as_of order by f.began_at desc, f.interaction_id desc limit 1) as l",
        arrays.ids(as_of),
        arrays.days(as_of.values()),
    )
    found = dict.fromkeys(as_of, Rhythm())
    for account, orders, days, last_at, last_id in rows:
        found[account] = of_days(orders, (last_at, last_id), days)
    return found


async def last_orders(connection: asyncpg.Connection, as_of: Mapping[str, date]) -> dict[str, tuple[datetime, str]]:
    """Return per account when the last of its orders up to a day was placed, and which it is; none: not in it."""
    # backwards by the partial index on orders
    rows = await connection.fetch(
        "select w.account_id, l.began_at, l.interaction_id from unnest($1::uuid[], $2::date[]) as w (account_id, as_of)"
        " cross join lateral (select f.began_at, f.interaction_id from fact as f where f.account_id = w.account_id"
        " and f.effects & 16 <> 0 and f.day <= w.as_of order by f.began_at desc, f.interaction_id desc limit 1) as l",
        arrays.ids(as_of),
        arrays.days(as_of.values()),
    )
    return {account: (at, interaction) for account, at, interaction in rows}


async def first_moments(connection: asyncpg.Connection, accounts: Sequence[str]) -> dict[str, datetime]:
    """Return when the first interaction of each account happened, where there is one."""
    # one index lookup per account
    rows = await connection.fetch(
        "select w.account_id, f.at from unnest($1::uuid[]) as w (account_id) cross join lateral ("
        " select t.at from fact as t where t.account_id = w.account_id and t.present order by t.at limit 1) as f",
        accounts,
    )
    return {row[0]: row[1] for row in rows}


async def have_future(connection: asyncpg.Connection, accounts: Mapping[str, tuple[date, datetime]]) -> set[str]:
    """Return which accounts have facts after a day (given with the first moment after it)."""
    # accounts with facts of days to come are few
    rows = await connection.fetch(
        "select w.account_id from unnest($1::uuid[], $2::date[], $3::timestamptz[]) as w (account_id, as_of, until)"
        " where exists (select from fact as f where f.account_id = w.account_id and f.at >= w.until and f.present)"
        " or exists (select from bucket as b where b.account_id = w.account_id and b.day > w.as_of)",
        list(accounts),
        [day for day, _ in accounts.values()],
        [end for _, end in accounts.values()],
    )
    return {row[0] for row in rows}
