"""Rebuilds: their rows, the tables beside the live ones (schema `rebuild`), what differs, and the swap.

The DDL is in functions of the migration, which run with the owner's rights.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from services.metrics.domain.rebuild import Differences, Run

Partition = tuple[str, int]

_COLUMNS = "rebuild_id, phase, begun_at, positions::text, targets::text, ended_at, report::text"
_EXAMPLES = 20
LEASE = 0x5245425549
"""Advisory lock of the process that works on a rebuild."""


async def latest(connection: asyncpg.Connection) -> Run | None:
    """Return the rebuild that began last, if there was any."""
    # a handful of rows
    row = await connection.fetchrow(
        f"select {_COLUMNS} from rebuild_run order by begun_at desc, rebuild_id desc limit 1"  # noqa: S608 - constants
    )
    return None if row is None else _run(row)


async def begin(
    connection: asyncpg.Connection, rebuild_id: str, now: datetime, positions: Mapping[Partition, int], group: str
) -> None:
    """Make empty tables and note where reading begins. Raises `UniqueViolationError` when one is under way."""
    # of two who begin at once, one is refused here
    await connection.execute(
        "insert into rebuild_run (rebuild_id, phase, begun_at, positions) values ($1, 'filling', $2, $3::text::json)",
        rebuild_id,
        now,
        _dump(positions),
    )
    await connection.execute("select rebuild_begin()")
    await forget_offsets(connection, group)
    # where it reads next is kept where every consumer keeps it
    await connection.executemany(
        "insert into kafka_offset (consumer_group, topic, partition_id, next_offset) values ($1, $2, $3, $4)",
        [(group, topic, number, offset) for (topic, number), offset in sorted(positions.items())],
    )


async def set_targets(connection: asyncpg.Connection, rebuild_id: str, targets: Mapping[Partition, int]) -> None:
    """Note up to where everything that was republished lies; the first word stands."""
    # only while it is filled
    await connection.execute(
        "update rebuild_run set targets = $2::text::json"
        " where rebuild_id = $1 and phase = 'filling' and targets is null",
        rebuild_id,
        _dump(targets),
    )


async def abandon(connection: asyncpg.Connection, rebuild_id: str, now: datetime, group: str) -> bool:
    """Give up a rebuild that is under way; say whether it was."""
    # of a swap and this at once, one comes first
    given_up = await connection.fetchval(
        "update rebuild_run set phase = 'abandoned', ended_at = $2 where rebuild_id = $1 and phase = 'filling'"
        " returning true",
        rebuild_id,
        now,
    )
    if given_up:
        await forget_offsets(connection, group)
        await connection.execute("select rebuild_drop()")
    return bool(given_up)


async def drop_retired(connection: asyncpg.Connection) -> None:
    """Give back the room of the tables that the last rebuild replaced."""
    # also of a half-filled one: the caller has seen that none is under way
    await connection.execute("select rebuild_drop()")


async def forget_offsets(connection: asyncpg.Connection, group: str) -> None:
    """Remove the offsets of a consumer group that is no more."""
    # a row per partition
    await connection.execute("delete from kafka_offset where consumer_group = $1", group)


async def take_lease(connection: asyncpg.Connection) -> bool:
    """Become the one who works on rebuilds, for as long as the connection lasts; say whether nobody else is."""
    # a session's lock: it goes with the process
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", LEASE))


async def carry_tombstones(connection: asyncpg.Connection) -> None:
    """Keep what is known to be withdrawn: a lower version that comes late must not bring it back."""
    # by a scan; what the new tables know themselves is newer
    await connection.execute(
        "insert into rebuild.fact (account_id, interaction_id, version, present, kind, at, effects, cancelled,"
        " contacts, question, two_way, roles, voided)"
        " select account_id, interaction_id, version, false, kind, at, 0, false, '{}', false, false, 0, false"
        " from public.fact where not present on conflict (account_id, interaction_id) do nothing"
    )


async def hold(connection: asyncpg.Connection) -> None:
    """Keep slides and batches from the accounts until the transaction ends; reading goes on."""
    # a swap waits for another process of ours while it holds this: the pool's limit for idle transactions is shorter
    await connection.execute("set local idle_in_transaction_session_timeout = '5min'")
    # conflicts with the row locks of whoever changes an account
    await connection.execute("lock table account_state in exclusive mode")


async def differences(connection: asyncpg.Connection) -> Differences:
    """Return what the new tables say otherwise than the old ones. Both stand still and are at the same day."""
    # figures by their digest, days by their buckets; money is compared as numbers, whatever its trailing zeros
    rows = await connection.fetch(_DIFFERENT_ACCOUNTS)
    # the same over managers, teams and the portfolio
    rolled = await connection.fetchval(_DIFFERENT_ROLL_UPS)
    # what scope and credit rest on
    copies = {name: await connection.fetchval(_different_rows(name, columns)) for name, columns in _COPIES.items()}
    accounts, facts = await _sizes(connection)
    ids = [row[0] for row in rows]
    return Differences(accounts, facts, ids, rolled, {name: count for name, count in copies.items() if count})


async def _sizes(connection: asyncpg.Connection) -> tuple[int, int]:
    # for the report
    row = await connection.fetchrow(
        "select (select count(*) from rebuild.account_state), (select count(*) from rebuild.fact where present)"
    )
    return (0, 0) if row is None else (row[0], row[1])


async def swap(connection: asyncpg.Connection, *, patient: bool) -> None:
    """Put the new tables in the place of the old ones, which are kept; the epoch of versions rises.

    Raises `LockNotAvailableError` while somebody reads; `patient` waits for them (and they for us) up to two seconds,
    which also sends an autovacuum away.
    """
    # names are constants of the database
    tables = await connection.fetchval("select array_to_string(rebuild_tables(), ', ')")
    await connection.execute("set local lock_timeout = '2s'")
    await connection.execute(f"lock table {tables} in access exclusive mode{'' if patient else ' nowait'}")
    await connection.execute("select rebuild_swap()")


async def forget_digests(connection: asyncpg.Connection, accounts: Sequence[str]) -> None:
    """Make accounts be published the next time they are restated, whatever their figures."""
    # by primary key
    await connection.execute("update account_state set digest = null where account_id = any($1::uuid[])", accounts)


async def end(connection: asyncpg.Connection, rebuild_id: str, now: datetime, found: Differences) -> bool:
    """Note that the tables were swapped and what differed; say whether the rebuild was still wanted."""
    # of an abandonment and this at once, one comes first
    ended = await connection.fetchval(
        "update rebuild_run set phase = 'swapped', ended_at = $2, report = $3::text::json"
        " where rebuild_id = $1 and phase = 'filling' returning true",
        rebuild_id,
        now,
        orjson.dumps(found.report(_EXAMPLES)).decode(),
    )
    return bool(ended)


_MONEY = (
    "(select jsonb_object_agg(key, trim_scale(value::numeric)) from json_each_text({}.money) where value::numeric <> 0)"
)
_OTHER = (
    "coalesce(o.counts, '{0,0,0,0,0,0}') <> coalesce(n.counts, '{0,0,0,0,0,0}')"
    " or (o.money::text is distinct from n.money::text"
    f" and {_MONEY.format('o')} is distinct from {_MONEY.format('n')})"
)
_DIFFERENT_ACCOUNTS = (
    "select account_id from public.account_state as o full join rebuild.account_state as n using (account_id)"  # noqa: S608 - constants
    " where o.digest is distinct from n.digest"
    " union select account_id from public.bucket as o full join rebuild.bucket as n using (account_id, day)"
    f" where {_OTHER} order by 1"
)
_DIFFERENT_ROLL_UPS = (
    "select count(*) from public.rollup as o full join rebuild.rollup as n using (scope, scope_id, day)"  # noqa: S608 - constants
    f" where {_OTHER}"
)
_COPIES = {
    "account": "account_id, version, currency, roles::text, merged_into",
    "account_owner": "account_id, user_id, since, until",
    "account_member": "account_id, user_id, since, until",
    "app_user": "user_id, version, role, team_id, issuer, subject, active",
    "user_deputy": "published_by, user_id, for_user_id, since, until",
    "team": "team_id, version, lead_id",
}


def _different_rows(table: str, columns: str) -> str:
    old, new = (f"select {columns} from {schema}.{table}" for schema in ("public", "rebuild"))  # noqa: S608 - constants
    return f"select count(*) from (({old} except {new}) union all ({new} except {old})) as other"  # noqa: S608 - constants


def _dump(positions: Mapping[Partition, int]) -> str:
    return orjson.dumps([[topic, number, offset] for (topic, number), offset in sorted(positions.items())]).decode()


def _load(text: str | None) -> dict[Partition, int] | None:
    return None if text is None else {(topic, number): offset for topic, number, offset in orjson.loads(text)}


def _run(row: asyncpg.Record) -> Run:
    report: dict[str, Any] | None = None if row[6] is None else orjson.loads(row[6])
    return Run(row[0], row[1], row[2], _load(row[3]) or {}, _load(row[4]), row[5], report)
