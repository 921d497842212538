"""Copies of accounts, users and teams, with the dated intervals that scope and credit need."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import asyncpg
import orjson

from contracts.accounts import Account, Team, User
from services.metrics.domain.facts import RoleSpans, role_spans
from services.metrics.store.states import load_roles


async def known(connection: asyncpg.Connection, accounts: Sequence[str]) -> dict[str, tuple[int, RoleSpans]]:
    """Return version and roles of the copies that we have."""
    # by primary key
    rows = await connection.fetch(
        "select account_id, version, roles::text as roles from account where account_id = any($1::uuid[])", accounts
    )
    return {row[0]: (row[1], load_roles(row[2])) for row in rows}


async def save(connection: asyncpg.Connection, accounts: Sequence[Account]) -> list[date]:
    """Replace copies whose version is newer (the caller has compared); return the days whose credit changed."""
    ids = [account.account_id for account in accounts]
    # one row per account
    await connection.execute(
        "insert into account (account_id, version, currency, roles, merged_into)"
        " select account_id, version, currency, roles::json, merged_into"
        " from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[])"
        " as n (account_id, version, currency, roles, merged_into)"
        " on conflict (account_id) do update set version = excluded.version, currency = excluded.currency,"
        " roles = excluded.roles, merged_into = excluded.merged_into",
        ids,
        [account.version for account in accounts],
        [account.currency for account in accounts],
        [orjson.dumps(role_spans(account)).decode() for account in accounts],
        [account.merged_into for account in accounts],
    )
    owners = [
        (account.account_id, held.value, held.since, held.until) for account in accounts for held in account.owners
    ]
    members = [
        (account.account_id, held.value.user_id, held.since, held.until)
        for account in accounts
        for held in account.team
    ]
    dirty = await _changed_credit(connection, ids, owners)
    # intervals are replaced as a whole
    await connection.execute("delete from account_owner where account_id = any($1::uuid[])", ids)
    await connection.execute("delete from account_member where account_id = any($1::uuid[])", ids)
    await connection.execute(
        "insert into account_owner (account_id, user_id, since, until)"
        " select distinct on (1, 2, 3) account_id, user_id, since, until"
        " from unnest($1::uuid[], $2::uuid[], $3::date[], $4::date[])"
        " as n (account_id, user_id, since, until) order by 1, 2, 3, 4 nulls last",
        *_columns(owners, 4),
    )
    await connection.execute(
        "insert into account_member (account_id, user_id, since, until) select account_id, user_id, since, until"
        " from unnest($1::uuid[], $2::uuid[], $3::date[], $4::date[]) as n (account_id, user_id, since, until)",
        *_columns(members, 4),
    )
    return dirty


async def _changed_credit(
    connection: asyncpg.Connection, accounts: Sequence[str], owners: Sequence[tuple[Any, ...]]
) -> list[date]:
    # days with figures whose owner differs between the intervals that we have and the new ones
    rows = await connection.fetch(
        "with fresh as (select account_id, user_id, since, until"
        " from unnest($2::uuid[], $3::uuid[], $4::date[], $5::date[])"
        " as n (account_id, user_id, since, until)),"
        " moved as (select account_id, user_id, since, until from account_owner where account_id = any($1::uuid[])"
        " except select account_id, user_id, since, until from fresh"
        " union (select account_id, user_id, since, until from fresh"
        " except select account_id, user_id, since, until from account_owner where account_id = any($1::uuid[])))"
        " select distinct b.day from moved as m inner join bucket as b on m.account_id = b.account_id"
        " and b.day >= m.since and (m.until is null or b.day < m.until)",
        accounts,
        *_columns(owners, 4),
    )
    return [row[0] for row in rows]


async def save_users(connection: asyncpg.Connection, users: Sequence[User]) -> list[date]:
    """Replace copies of users whose version is newer; return the days whose roll-ups changed (teams)."""
    # the days of those who changed teams, before they do
    moved = await connection.fetch(
        "select distinct r.day from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as n (user_id, team_id, version)"
        " left join app_user as u using (user_id)"
        " inner join rollup as r on r.scope = 'manager' and r.scope_id = n.user_id"
        " where n.version > coalesce(u.version, -1) and u.team_id is distinct from n.team_id",
        [user.user_id for user in users],
        [user.team_id for user in users],
        [user.version for user in users],
    )
    # lower versions are ignored
    saved = await connection.fetch(
        "insert into app_user as u (user_id, version, role, team_id, issuer, subject, active)"
        " select user_id, version, role, team_id, issuer, subject, active"
        " from unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::boolean[])"
        " as n (user_id, version, role, team_id, issuer, subject, active)"
        " on conflict (user_id) do update set version = excluded.version, role = excluded.role,"
        " team_id = excluded.team_id, issuer = excluded.issuer, subject = excluded.subject, active = excluded.active"
        " where u.version < excluded.version returning u.user_id",
        *_columns([(u.user_id, u.version, u.role, u.team_id, u.issuer, u.subject, u.active) for u in users], 7),
    )
    newer = {row[0] for row in saved}
    # deputies are replaced as a whole, per user who publishes them
    await connection.execute("delete from user_deputy where published_by = any($1::uuid[])", list(newer))
    deputies = [
        (user.user_id, deputy.user_id, deputy.for_user_id, deputy.since, deputy.until)
        for user in users
        if user.user_id in newer
        for deputy in user.deputies
    ]
    await connection.execute(
        "insert into user_deputy (published_by, user_id, for_user_id, since, until)"
        " select published_by, user_id, for_user_id, since, until"
        " from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::date[], $5::date[])"
        " as n (published_by, user_id, for_user_id, since, until)",
        *_columns(deputies, 5),
    )
    return [row[0] for row in moved]


async def save_teams(connection: asyncpg.Connection, teams: Sequence[Team]) -> None:
    """Replace copies of teams whose version is newer."""
    # lower versions are ignored
    await connection.execute(
        "insert into team as t (team_id, version, lead_id) select team_id, version, lead_id"
        " from unnest($1::uuid[], $2::bigint[], $3::uuid[]) as n (team_id, version, lead_id)"
        " on conflict (team_id) do update set version = excluded.version, lead_id = excluded.lead_id"
        " where t.version < excluded.version",
        *_columns([(team.team_id, team.version, team.lead_id) for team in teams], 3),
    )


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
