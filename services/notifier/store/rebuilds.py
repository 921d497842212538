"""What a rebuild does to tables: empty ones beside the live ones, then their content in place of the live one's.

Alerts refer to accounts, so the tables stay and their rows change: those that differ, and no others.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from services.notifier.domain.rules import RULES
from services.notifier.domain.state import AT_ONCE

_TABLES: Mapping[str, tuple[str, str]] = {
    "account_person": ("account_id, user_id, since", "until"),
    "app_user": ("user_id", "version, issuer, subject, team_id, role, active, document"),
    "deputy": ("for_user_id, user_id, since", "until"),
    "team": ("team_id", "version, lead_id, document"),
    "brief": ("account_id, interaction_id", "version, present, kind, occurred_at, direction, contact_id"),
    "source_delivery": ("account_id, source", "last_at"),
    "signal": (
        "account_id, interaction_id",
        "version, present, state, contact_ids, occurred_at, account_version",
    ),
}
"""Keys and what they say, in an order in which rows may be written; rows go in the opposite one."""
_ACCOUNT = "account, account_version, kpis, kpis_version"
_EXAMPLES = 20


async def begin(connection: asyncpg.Connection) -> None:
    """Make empty shadow tables."""
    # With the owner's rights.
    await connection.execute("select rebuild_begin()")


async def drop(connection: asyncpg.Connection) -> None:
    """Drop the shadow tables."""
    # With the owner's rights.
    await connection.execute("select rebuild_drop()")


async def hold(connection: asyncpg.Connection) -> None:
    """Keep poller and people from accounts until the transaction ends; reading goes on."""
    # Conflicts with the row locks that everything about an account is done under.
    await connection.execute("lock table watched_account in exclusive mode")


async def swap(connection: asyncpg.Connection, now: datetime) -> Mapping[str, Any]:  # noqa: ARG001 - nothing is dated
    """Give the live tables the content of the shadow ones, have every rule looked at, drop them; say what differed."""
    await _carry_tombstones(connection)
    accounts = await _different_accounts(connection)
    copies = {table: await _differences(connection, table, keys, values) for table, (keys, values) in _TABLES.items()}
    await _give(connection, "watched_account", "account_id", _ACCOUNT)
    # Alerts may refer to an account of which nothing is known any more: its row stays, without content.
    await connection.execute(
        """
            update public.watched_account w
            set account = null, account_version = -1, kpis = null, kpis_version = -1
            where not exists (select from rebuild.watched_account r where r.account_id = w.account_id)
                and (w.account_version >= 0 or w.kpis_version >= 0)
        """
    )
    for table, (keys, _) in reversed(list(_TABLES.items())):
        await _remove(connection, table, keys)
    for table, (keys, values) in _TABLES.items():
        await _give(connection, table, keys, values)
    await _give_mailboxes(connection)
    await _look_everywhere(connection)
    # For the report.
    sizes = await connection.fetchrow(
        """
            select (select count(*) from public.watched_account where account is not null) as accounts,
                (select count(*) from public.brief where present) as interactions
        """
    )
    assert sizes is not None  # noqa: S101 - aggregates always have one row
    await drop(connection)
    return {
        **dict(sizes),
        "different_accounts": len(accounts),
        "different_account_ids": accounts[:_EXAMPLES],
        "different_roll_ups": 0,
        "different_copies": {table: rows for table, rows in copies.items() if rows},
    }


async def _carry_tombstones(connection: asyncpg.Connection) -> None:
    # What is known to be withdrawn: a lower version that comes late must not bring it back.
    for table in ("brief", "signal"):
        keys, values = _TABLES[table]
        await connection.execute(
            f"insert into rebuild.{table} ({keys}, {values}) select {keys}, {values} from public.{table}"  # noqa: S608 - constants
            " where not present on conflict do nothing"
        )


async def _different_accounts(connection: asyncpg.Connection) -> list[str]:
    # Accounts that are new, gone or different; one of which nothing has come counts as none.
    rows = await connection.fetch(
        """
            select account_id
            from (
                select account_id, account_version, kpis_version, account, kpis
                from public.watched_account
                where account is not null or kpis is not null
            ) o
            full join (
                select account_id, account_version, kpis_version, account, kpis
                from rebuild.watched_account
                where account is not null or kpis is not null
            ) n using (account_id)
            where (o.account_version, o.kpis_version, o.account, o.kpis)
                is distinct from (n.account_version, n.kpis_version, n.account, n.kpis)
            order by account_id
        """
    )
    return [row["account_id"] for row in rows]


async def _differences(connection: asyncpg.Connection, table: str, keys: str, values: str) -> int:
    # Rows that are new, gone or different.
    old, new = (f"select {keys}, {values} from {schema}.{table}" for schema in ("public", "rebuild"))  # noqa: S608 - constants
    found: int = await connection.fetchval(
        f"select count(distinct ({keys})) from (({old} except all {new}) union all ({new} except all {old})) as other"  # noqa: S608 - constants
    )
    return found


async def _remove(connection: asyncpg.Connection, table: str, keys: str) -> None:
    # Rows that nothing stands behind any more.
    same = " and ".join(f"r.{key} = o.{key}" for key in keys.split(", "))
    await connection.execute(
        f"delete from public.{table} o where not exists (select from rebuild.{table} r where {same})"  # noqa: S608 - constants
    )


async def _give(connection: asyncpg.Connection, table: str, keys: str, values: str) -> None:
    # Rows that are new or different.
    names = values.split(", ")
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    old, new = (", ".join(f"{place}.{name}" for name in names) for place in ("o", "excluded"))
    await connection.execute(
        f"insert into public.{table} as o ({keys}, {values}) select {keys}, {values} from rebuild.{table}"  # noqa: S608 - constants
        f" on conflict ({keys}) do update set {changes} where ({old}) is distinct from ({new})"
    )


async def _give_mailboxes(connection: asyncpg.Connection) -> None:
    # People's own mailboxes; whether they are paused is an operator's word and stays.
    await connection.execute(
        """
            insert into public.destination as o (destination_id, kind, name, address, user_id, active)
            select destination_id, kind, name, address, user_id, active
            from rebuild.destination
            where user_id is not null
            on conflict (destination_id) do update
            set name = excluded.name, address = excluded.address, active = excluded.active
            where (o.name, o.address, o.active) is distinct from (excluded.name, excluded.address, excluded.active)
        """
    )


async def _look_everywhere(connection: asyncpg.Connection) -> None:
    # Due times follow from states: every rule is looked at, and says itself when the next time is.
    await connection.execute(
        """
            insert into public.due (account_id, rule, due_at)
            select w.account_id, known.rule, $2
            from public.watched_account w
            cross join unnest($1::text[]) as known (rule)
            where w.account is not null
            on conflict (account_id, rule) do update
            set due_at = excluded.due_at, held_by = null, held_why = null, ask_again_at = null
        """,
        list(RULES),
        AT_ONCE,
    )
    # Nothing can be said about an account of which nothing is known.
    await connection.execute(
        """
            delete from public.due d
            using public.watched_account w
            where w.account_id = d.account_id and w.account is null
        """
    )
