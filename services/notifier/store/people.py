"""People of ours: users with their deputies and mailboxes, teams, who works on which account."""

from collections.abc import Collection, Sequence

import asyncpg

from contracts.accounts import Account, Team, User
from contracts.ids import derive_id


async def save_people(connection: asyncpg.Connection, accounts: Sequence[Account]) -> None:
    """Replace who works on the given accounts: owners and account teams, with their days."""
    # Whole states: what the account no longer says is gone.
    await connection.execute(
        """
            delete
            from account_person
            where account_id = any($1::uuid[])
        """,
        [account.account_id for account in accounts],
    )
    entries = {
        (account.account_id, user_id, since): until
        for account in accounts
        for user_id, since, until in [
            *((member.value.user_id, member.since, member.until) for member in account.team),
            *((owner.value, owner.since, owner.until) for owner in account.owners),
        ]
    }
    # One row for each interval.
    await connection.executemany(
        "insert into account_person (account_id, user_id, since, until) values ($1, $2, $3, $4)",
        [(*key, until) for key, until in entries.items()],
    )


async def save_users(connection: asyncpg.Connection, users: Sequence[User]) -> set[str]:
    """Take users that are newer than what is known, with their deputies and mail destinations; return their ids."""
    taken = set()
    for user in users:
        # Users are few and change rarely: a statement each.
        newer = await connection.fetchval(
            """
                insert into app_user (user_id, version, issuer, subject, team_id, role, active, document)
                values ($1, $2, $3, $4, $5, $6, $7, $8::text::jsonb)
                on conflict (user_id) do update
                set version = excluded.version, issuer = excluded.issuer, subject = excluded.subject, team_id =
                    excluded.team_id, role = excluded.role, active = excluded.active, document =
                    excluded.document
                where app_user.version < excluded.version
                returning user_id
            """,
            user.user_id,
            user.version,
            user.issuer,
            user.subject,
            user.team_id,
            user.role,
            user.active,
            user.model_dump_json(exclude_none=True),
        )
        if newer is not None:
            taken.add(user.user_id)
            await _save_deputies(connection, user)
            await _save_mailbox(connection, user)
    return taken


async def _save_deputies(connection: asyncpg.Connection, user: User) -> None:
    # Whole states again.
    await connection.execute("delete from deputy where for_user_id = $1", user.user_id)
    # One row for each interval; on conflict: the same deputy twice from the same day.
    await connection.executemany(
        "insert into deputy (for_user_id, user_id, since, until) values ($1, $2, $3, $4) on conflict do nothing",
        [(user.user_id, deputy.user_id, deputy.since, deputy.until) for deputy in user.deputies],
    )


async def _save_mailbox(connection: asyncpg.Connection, user: User) -> None:
    # Every user has one mail destination; `paused` stays as an operator set it.
    await connection.execute(
        """
            insert into destination (destination_id, kind, name, address, user_id, active)
            values ($1, 'mail', $2, $3, $4, $5)
            on conflict (destination_id) do update
            set name = excluded.name, address = excluded.address, active = excluded.active
        """,
        derive_id("destination", "mail", user.user_id),
        user.name,
        user.email,
        user.user_id,
        user.active,
    )


async def save_teams(connection: asyncpg.Connection, teams: Sequence[Team]) -> None:
    """Take teams whose version is greater than what is known."""
    # Teams are very few.
    await connection.executemany(
        """
            insert into team (team_id, version, lead_id, document)
            values ($1, $2, $3, $4::text::jsonb)
            on conflict (team_id) do update
            set version = excluded.version, lead_id = excluded.lead_id, document = excluded.document
            where team.version < excluded.version
        """,
        [(team.team_id, team.version, team.lead_id, team.model_dump_json(exclude_none=True)) for team in teams],
    )


async def accounts_of(connection: asyncpg.Connection, user_ids: Collection[str]) -> set[str]:
    """Return the accounts that the users work on, at any time."""
    # By the index on users.
    rows = await connection.fetch(
        "select distinct account_id from account_person where user_id = any($1::uuid[])", list(user_ids)
    )
    return {row["account_id"] for row in rows}


async def users_around(connection: asyncpg.Connection, account_ids: Collection[str]) -> dict[str, User]:
    """Return the users who work on the accounts, all leads, and who stands in for either."""
    # The documents of the few people whom rules and deliveries may need.
    rows = await connection.fetch(
        """
            with asked as (
                select p.user_id
                from account_person p
                where p.account_id = any($1::uuid[])
                union
                select t.lead_id
                from team t
                where t.lead_id is not null
            )
            select u.user_id, u.document::text as document
            from app_user u
            where u.user_id in (select a.user_id from asked a)
                or u.user_id in (select d.user_id from deputy d join asked a on d.for_user_id = a.user_id)
        """,
        list(account_ids),
    )
    return {row["user_id"]: User.model_validate_json(row["document"]) for row in rows}


async def everybody(connection: asyncpg.Connection) -> dict[str, User]:
    """Return all active users."""
    # Asked only when something is to be said about a source: anybody may answer for it.
    rows = await connection.fetch("select user_id, document::text as document from app_user where active")
    return {row["user_id"]: User.model_validate_json(row["document"]) for row in rows}


async def teams(connection: asyncpg.Connection) -> dict[str, Team]:
    """Return all teams."""
    # They are few.
    rows = await connection.fetch("select team_id, document::text as document from team")
    return {row["team_id"]: Team.model_validate_json(row["document"]) for row in rows}
