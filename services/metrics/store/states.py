"""Account states (each row is its account's lock) and day buckets."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import asyncpg
import orjson

from services.metrics.domain.facts import RoleSpans
from services.metrics.domain.state import AccountState, Item, Rhythm, Touch
from services.metrics.domain.windows import ADDITIVE, LENGTHS, Bucket, Sums, padded
from services.runtime import arrays
from services.runtime.fresh import insert_fresh

_COLUMNS = (
    "s.account_id, s.version, s.account_version, s.as_of, s.due, s.future, s.since, s.counts, s.money::text as money,"
    " s.derived::text as derived, s.digest, a.currency, a.roles::text as roles"
)
_SAVE = (
    "update account_state as s set version = n.version, account_version = n.account_version, as_of = n.as_of,"
    " due = n.due, future = n.future, since = n.since, counts = ($8::bigint[])[$12 * (n.place - 1) + 1:$12 * n.place],"
    " money = n.money::json, derived = coalesce(n.derived, '{}')::json, digest = n.digest from (select"
    " unnest($1::uuid[]) as account_id, unnest($2::bigint[]) as version, unnest($3::bigint[]) as account_version,"
    " unnest($4::date[]) as as_of, unnest($5::date[]) as due, unnest($6::boolean[]) as future,"
    " unnest($7::date[]) as since, unnest($9::text[]) as money, unnest($10::text[]) as derived,"
    " unnest($11::bytea[]) as digest, generate_subscripts($1::uuid[], 1) as place) as n"
    " where s.account_id = n.account_id"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


async def lock(
    connection: asyncpg.Connection, accounts: Sequence[str], today: date, currency: str
) -> dict[str, AccountState]:
    """Lock the accounts' rows in order of id, creating those that are missing, and return their states.

    `today` is the day of a new state; `currency` that of an account that states none.
    """
    ordered = sorted(accounts)
    rows = await _locked(connection, ordered)
    if len(rows) < len(ordered):
        known = {row[0] for row in rows}
        await _create(connection, [account for account in ordered if account not in known], today)
        rows = await _locked(connection, ordered)
    return {row[0]: _state(row, currency) for row in rows}


async def lock_due(connection: asyncpg.Connection, today: date, limit: int, currency: str) -> dict[str, AccountState]:
    """Lock up to `limit` accounts that are due on `today` and that nobody else holds."""
    # the due-day index; what another transaction holds is being slid by it
    rows = await connection.fetch(
        f"select {_COLUMNS} from account_state as s left join account as a using (account_id)"  # noqa: S608 - constants
        " where s.due <= $1 order by s.due, s.account_id limit $2 for update of s skip locked",
        today,
        limit,
    )
    return {row[0]: _state(row, currency) for row in rows}


async def lock_after(
    connection: asyncpg.Connection, account: str, limit: int, currency: str
) -> dict[str, AccountState]:
    """Lock the first `limit` accounts whose ids are greater than `account`."""
    # by primary key, one page of all accounts
    rows = await connection.fetch(
        f"select {_COLUMNS} from account_state as s left join account as a using (account_id)"  # noqa: S608 - constants
        " where s.account_id > $1 order by s.account_id limit $2 for update of s",
        account,
        limit,
    )
    return {row[0]: _state(row, currency) for row in rows}


async def read(connection: asyncpg.Connection, account: str, currency: str) -> AccountState | None:
    """Return an account's state without locking it; None when there is none, or the caller may not see it."""
    # by primary key
    row = await connection.fetchrow(
        f"select {_COLUMNS} from account_state as s left join account as a using (account_id) where s.account_id = $1",  # noqa: S608 - constants
        account,
    )
    return None if row is None else _state(row, currency)


async def count_due(connection: asyncpg.Connection, today: date) -> int:
    """Return how many accounts are due on `today`."""
    # the due-day index
    return int(await connection.fetchval("select count(*) from account_state where due <= $1", today))


async def _locked(connection: asyncpg.Connection, ordered: Sequence[str]) -> Sequence[asyncpg.Record]:
    # the account's lock; always taken in the order of ids
    return await connection.fetch(
        f"select {_COLUMNS} from account_state as s left join account as a using (account_id)"  # noqa: S608 - constants
        " where s.account_id = any($1::uuid[]) order by s.account_id for update of s",
        arrays.ids(ordered),
    )


async def _create(connection: asyncpg.Connection, missing: Sequence[str], today: date) -> None:
    # another transaction may create the same row: then its row is the one
    await connection.execute(
        "insert into account_state (account_id, version, account_version, as_of, future, counts, derived)"
        " select account_id, 0, 0, $2, false, '{}', '{}' from unnest($1::uuid[]) as missing (account_id)"
        " order by account_id on conflict (account_id) do nothing",
        missing,
        today,
    )


async def epoch(connection: asyncpg.Connection) -> int:
    """Return the epoch that lifts versions above all that were drawn before a restore from backup."""
    # one row
    return int(await connection.fetchval("select epoch from version_epoch"))


async def save(connection: asyncpg.Connection, states: Iterable[AccountState]) -> None:
    """Write back states whose rows are locked."""
    given = list(states)
    counts, width = _in_one([state.sums.counts for state in given])
    # one statement for all accounts of the transaction; counts are cut out of one array, because `unnest` would flatten
    # arrays of arrays
    await connection.execute(
        _SAVE,
        arrays.ids([state.account_id for state in given]),
        arrays.numbers([state.version for state in given]),
        arrays.numbers([state.account_version for state in given]),
        arrays.days([state.sums.as_of for state in given]),
        arrays.days([state.due for state in given]),
        arrays.flags([state.future for state in given]),
        arrays.days([state.since for state in given]),
        counts,
        arrays.or_nothing(arrays.texts, [_dump_sums(state.sums.money) for state in given]),
        arrays.or_nothing(arrays.texts, [_dump_derived(state) for state in given]),
        arrays.blobs([state.digest for state in given]),
        width,
    )


def _in_one(rows: Sequence[list[int]]) -> tuple[arrays.Packed, int]:
    """Return counts of several rows one after the other, and how many there are of each."""
    width = max(map(len, rows), default=0)
    return arrays.numbers(list(chain.from_iterable([padded(row, width) for row in rows]))), width


async def load_buckets(
    connection: asyncpg.Connection, days: Iterable[tuple[str, date]]
) -> dict[str, dict[date, Bucket]]:
    """Return the buckets of (account, day) that exist, by account."""
    wanted = list(days)
    # by primary key
    rows = await connection.fetch(
        "select b.account_id, b.day, b.counts, b.money::text as money"
        " from unnest($1::uuid[], $2::date[]) as w (account_id, day)"
        " inner join bucket as b using (account_id, day)",
        arrays.ids([account for account, _ in wanted]),
        arrays.days([day for _, day in wanted]),
    )
    return _by_account(rows)


async def load_bucket_ranges(
    connection: asyncpg.Connection, after: Mapping[str, date]
) -> dict[str, dict[date, Bucket]]:
    """Return all buckets of accounts after a day, by account."""
    # for accounts that slept long: one range each
    rows = await connection.fetch(
        "select b.account_id, b.day, b.counts, b.money::text as money"
        " from unnest($1::uuid[], $2::date[]) as w (account_id, after_day)"
        " inner join bucket as b on w.account_id = b.account_id and b.day > w.after_day",
        list(after),
        list(after.values()),
    )
    return _by_account(rows)


def _by_account(rows: Iterable[asyncpg.Record]) -> dict[str, dict[date, Bucket]]:
    found: dict[str, dict[date, Bucket]] = {}
    for account, day, counts, money in rows:
        found.setdefault(account, {})[day] = Bucket(padded(counts, len(ADDITIVE)), load_money(money))
    return found


async def save_buckets(
    connection: asyncpg.Connection,
    new: Sequence[tuple[str, date, Bucket]],
    known: Sequence[tuple[str, date, Bucket]],
) -> None:
    """Insert `new` buckets and replace `known` ones; their accounts are locked."""
    if new:
        await insert_fresh(connection, _INSERT_BUCKETS, _REPLACE_BUCKETS, _packed(new), len(new))
    if known:
        await connection.execute(_INSERT_BUCKETS + _REPLACE_BUCKETS, *_packed(known))


def _packed(buckets: Sequence[tuple[str, date, Bucket]]) -> list[arrays.Packed | int]:
    counts, width = _in_one([bucket.counts for _, _, bucket in buckets])
    return [
        arrays.ids([account for account, _, _ in buckets]),
        arrays.days([day for _, day, _ in buckets]),
        counts,
        arrays.or_nothing(arrays.texts, [dump_money(bucket.money) for _, _, bucket in buckets]),
        width,
    ]


# Counts are cut out of one array, as those of states are.
_INSERT_BUCKETS = (
    "insert into bucket (account_id, day, counts, money)"
    " select account_id, day, ($3::bigint[])[$5 * (place - 1) + 1:$5 * place], money::json"
    " from (select unnest($1::uuid[]) as account_id, unnest($2::date[]) as day, unnest($4::text[]) as money,"
    " generate_subscripts($1::uuid[], 1) as place) as n"
)
_REPLACE_BUCKETS = " on conflict (account_id, day) do update set counts = excluded.counts, money = excluded.money"


async def order_days_around(
    connection: asyncpg.Connection, wanted: Sequence[tuple[str, date, date]]
) -> dict[str, dict[date, tuple[date | None, date | None]]]:
    """Return by account and day the order days before and after it. `wanted`: (account, day, no later than)."""
    accounts, days, ends = zip(*wanted, strict=True)
    # the nearest on either side, by primary key
    rows = await connection.fetch(
        "select w.account_id, w.day, (select b.day from bucket as b where b.account_id = w.account_id"
        " and b.day < w.day and b.counts[6] > 0 order by b.day desc limit 1), (select b.day from bucket as b"
        " where b.account_id = w.account_id and b.day > w.day and b.day <= w.as_of and b.counts[6] > 0"
        " order by b.day limit 1) from unnest($1::uuid[], $2::date[], $3::date[]) as w (account_id, day, as_of)",
        arrays.ids(accounts),
        arrays.days(days),
        arrays.days(ends),
    )
    found: dict[str, dict[date, tuple[date | None, date | None]]] = {}
    for account, day, before, after in rows:
        found.setdefault(account, {})[day] = before, after
    return found


async def next_changes(connection: asyncpg.Connection, as_of: Mapping[str, date]) -> dict[str, date]:
    """Return per account the first day after `as_of` on which a bucket enters or leaves a sum."""
    # the first bucket inside each length, by primary key; length 0: the first one to come
    rows = await connection.fetch(
        "select w.account_id, min(b.day + l.length) from unnest($1::uuid[], $2::date[]) as w (account_id, as_of)"
        " cross join unnest($3::integer[]) as l (length) cross join lateral (select c.day from bucket as c"
        " where c.account_id = w.account_id and c.day > w.as_of - l.length order by c.day limit 1) as b"
        " group by w.account_id",
        list(as_of),
        list(as_of.values()),
        [0, *LENGTHS],
    )
    return {row[0]: row[1] for row in rows}


def load_money(text: str | None) -> dict[str, Decimal]:
    """Read money by currency."""
    return {} if text is None else {currency: Decimal(amount) for currency, amount in orjson.loads(text).items()}


def dump_money(money: Mapping[str, Decimal]) -> str | None:
    """Write money by currency; None for none."""
    kept = {currency: str(amount) for currency, amount in money.items() if amount}
    return orjson.dumps(kept).decode() if kept else None


def _state(row: asyncpg.Record, currency: str) -> AccountState:
    account, version, account_version, as_of, due, future, since, counts, money, derived, digest, own, roles = row
    sums = Sums(as_of, counts or None, _load_sums(money))
    state = AccountState(account, sums, version, account_version, due, future, since, digest=digest)
    state.currency = own or currency
    if roles is not None and roles != "{}":
        state.roles = load_roles(roles)
    if derived != "{}":
        _load_derived(state, orjson.loads(derived))
    return state


def load_roles(text: str) -> RoleSpans:
    """Read the role intervals of contacts."""
    return {
        contact: [
            (bit, date.fromisoformat(since), None if until is None else date.fromisoformat(until))
            for bit, since, until in spans
        ]
        for contact, spans in orjson.loads(text).items()
    }


def _load_sums(text: str | None) -> dict[str, list[Decimal]]:
    return {} if text is None else {currency: _amounts(sums) for currency, sums in orjson.loads(text).items()}


def _amounts(texts: Sequence[str]) -> list[Decimal]:
    """Read sums; what is the same in several windows becomes the same object (see `Sums.include`)."""
    amounts: list[Decimal] = []
    before = None
    for text in texts:
        amounts.append(amounts[-1] if text == before else Decimal(text))
        before = text
    return amounts


def _dump_sums(money: Mapping[str, list[Decimal]]) -> str | None:
    kept = {currency: [str(amount) for amount in sums] for currency, sums in money.items() if any(sums)}
    return orjson.dumps(kept).decode() if kept else None


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _dump_derived(state: AccountState) -> str | None:
    """Write what was last read from the slim rows; None for nothing."""
    rhythm = state.rhythm
    derived: dict[str, Any] = {}
    if state.touches:
        derived["t"] = [(*key, _micros(touch.at), touch.interaction_id) for key, touch in state.touches.items()]
    if state.items:
        derived["i"] = [(*item[:3], _micros(item.since), *item[4:]) for item in state.items]
    if rhythm.orders:
        p90 = None if rhythm.p90_gap_days is None else str(rhythm.p90_gap_days)
        derived["r"] = (rhythm.orders, _micros(rhythm.last_at), rhythm.last_id, rhythm.gaps, p90, rhythm.first_day)
    if rhythm.spans:
        derived["g"] = rhythm.spans
    if any(state.hours):
        derived["h"] = [None if hours is None else [str(figure) for figure in hours] for hours in state.hours]
    if any(state.opened):
        derived["o"] = state.opened
    return orjson.dumps(derived).decode() if derived else None


def _load_derived(state: AccountState, derived: Mapping[str, Any]) -> None:
    for sort, touch_class, bit, at, interaction in derived.get("t", ()):
        state.touches[sort, touch_class, bit] = Touch(_moment(at), interaction)
    state.items = [
        Item(kind, interaction, source, _moment(since), contact, priority)
        for kind, interaction, source, since, contact, priority in derived.get("i", ())
    ]
    if "r" in derived:
        orders, at, interaction, number, p90, first = derived["r"]
        p90 = None if p90 is None else Decimal(p90)
        spans = tuple((length, count) for length, count in derived.get("g", ()))
        state.rhythm = Rhythm(orders, _moment(at), interaction, number, p90, date.fromisoformat(first), spans)
    if "h" in derived:
        state.hours = [
            None if hours is None else (Decimal(hours[0]), Decimal(hours[1]), Decimal(hours[2]))
            for hours in derived["h"]
        ]
    if "o" in derived:
        state.opened = derived["o"]
