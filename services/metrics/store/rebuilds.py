"""Rebuilds: the tables beside the live ones (schema `rebuild`), what differs, and the swap.

The DDL is in functions of the migration, which run with the owner's rights.
"""

from collections.abc import Sequence

import asyncpg

from services.metrics.domain.rebuild import Differences
from services.metrics.domain.windows import ADDITIVE


async def begin(connection: asyncpg.Connection) -> None:
    """Make empty tables; what the last rebuild replaced is dropped."""
    # with the owner's rights
    await connection.execute("select rebuild_begin()")


async def drop(connection: asyncpg.Connection) -> None:
    """Give back the room of a half-filled rebuild, and of the tables that the last one replaced."""
    # with the owner's rights
    await connection.execute("select rebuild_drop()")


async def carry_tombstones(connection: asyncpg.Connection) -> None:
    """Keep what is known to be withdrawn: a lower version that comes late must not bring it back."""
    # by a scan; what the new tables know themselves is newer
    await connection.execute(
        "insert into rebuild.fact (account_id, interaction_id, version, present, kind, at, effects, cancelled,"
        " contacts, question, two_way, roles, voided)"
        " select account_id, interaction_id, version, false, kind, at, 0, false, '{}', false, false, 0, false"
        " from public.fact where not present on conflict (account_id, interaction_id) do nothing"
    )


async def carry_versions(connection: asyncpg.Connection) -> None:
    """Let the new states have the versions under which the old ones were published last: they go on from there."""
    # only what differs: the second time, that is what was published meanwhile
    await connection.execute(
        "update rebuild.account_state as n set version = o.version from public.account_state as o"
        " where n.account_id = o.account_id and n.version <> o.version"
    )


async def hold(connection: asyncpg.Connection) -> None:
    """Keep slides and batches from the accounts until the transaction ends; reading goes on."""
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
    """Put the new tables in the place of the old ones, which are kept; the epoch rises over all that was published.

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


_MONEY = (
    "(select jsonb_object_agg(key, trim_scale(value::numeric)) from json_each_text({}.money) where value::numeric <> 0)"
)
_NOTHING = "{" + ",".join("0" for _ in ADDITIVE) + "}"
_OTHER = (
    f"coalesce(o.counts, '{_NOTHING}') <> coalesce(n.counts, '{_NOTHING}')"
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
