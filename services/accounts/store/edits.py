"""What people change: accounts, their dated intervals, contacts, identities, users, rules, decisions by hand.

Each method is one or two statements inside the caller's transaction. Who may do it was checked before.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import Any

import asyncpg

from services.accounts.domain.intervals import Interval
from services.accounts.domain.matching import Link, Serving
from services.accounts.domain.merging import lies_within
from services.accounts.store import accounts, jobs
from services.accounts.store.doubles import DoubleTables
from services.accounts.store.interactions import IDENTITY_LOCK
from services.accounts.store.merges import MergeTables
from services.accounts.store.people import PeopleTables
from services.runtime.postgres import savepoint

_VALUE = {"owner": "user_id", "team": "user_id", "stage": "stage", "key": "is_key", "parent": "parent_id"}

_LOCK_ATTEMPTS = 10


class EditTables(PeopleTables, MergeTables, DoubleTables):
    """The tables of one open transaction of the worker role."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        PeopleTables.__init__(self, connection)
        MergeTables.__init__(self, connection)
        self._connection = connection

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """Begin something that is kept whole or not at all."""
        return savepoint(self._connection)

    async def begin(self, today: date) -> None:
        """Say which day it is for the company: the caller's rights are asked for it."""
        await self._connection.execute("select set_config('tenure.today', $1, true)", today.isoformat())

    async def lock_identities(self) -> None:
        """Lock identities against batches and other edits; raises `LockNotAvailableError` when that takes too long."""
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                # Under a savepoint, so that a time-out does not end the transaction. From here on batches wait.
                async with savepoint(self._connection):
                    await self._connection.execute("select pg_advisory_xact_lock($1)", IDENTITY_LOCK)
            except asyncpg.LockNotAvailableError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise
            else:
                return

    async def caller(self) -> Mapping[str, Any] | None:
        """Return the calling user (id, user_role, team_id), or None for a token that belongs to no user."""
        # By the settings of this transaction.
        row = await self._connection.fetchrow(
            "select id, user_role, team_id from app_user where id = (select calling_user())"
        )
        return None if row is None else dict(row)

    async def visible(self, ids: Collection[str]) -> set[str]:
        """Return those of the accounts `ids` that the caller may see."""
        # The same function that row-level security asks.
        rows = await self._connection.fetch(
            "select id from visible_accounts() as seen (id) where id = any($1::text[]::uuid[])", list(ids)
        )
        return {row["id"] for row in rows}

    async def accounts_by_key(self, keys: Collection[str]) -> dict[str, str]:
        """Return by external key the id of the account; of a merged one the id of the account that stayed."""
        rows = await self._connection.fetch(
            "select external_key, surviving_account(id) as id from account where external_key = any($1::text[])",
            list(keys),
        )
        return {row["external_key"]: row["id"] for row in rows}

    async def all_accounts(self) -> list[str]:
        """Return the id of every account that was not merged into another."""
        rows = await self._connection.fetch("select id from account where merged_into is null order by id")
        return [row["id"] for row in rows]

    async def insert_account(self, account_id: str, key: str | None, name: str, created_at: datetime) -> None:
        """Add an account; raises `UniqueViolationError` for a key that exists."""
        await self._connection.execute(
            "insert into account (id, external_key, name, created_at) values ($1, $2, $3, $4)",
            account_id,
            key,
            name,
            created_at,
        )

    async def update_account(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """Set name, account_class, currency, created_at; what is not given stays."""
        # Locked first by `publish` order: one account at a time here, in the caller's order.
        await self._connection.execute(
            "update account set name = coalesce($2, name), account_class = coalesce($3, account_class), currency ="
            " coalesce($4, currency), created_at = coalesce($5, created_at) where id = $1",
            account_id,
            fields.get("name"),
            fields.get("account_class"),
            fields.get("currency"),
            fields.get("created_at"),
        )

    async def set_history_complete(self, ids: Collection[str], at: datetime | None) -> None:
        """Declare the import of history finished (or, with None, not finished); the first declaration stands."""
        await self._connection.execute(
            "update account set history_complete_at = case when $2::timestamptz is null then null else"
            " coalesce(history_complete_at, $2) end where id in (select id from account where id ="
            " any($1::text[]::uuid[]) order by id for update)",
            list(ids),
            at,
        )

    async def intervals(self, account_id: str, sort: str) -> list[Interval[Any]]:
        """Return the history of one sort; a team member's value is (user, role)."""
        rows = await self._connection.fetch(
            f"select {_VALUE[sort]} as value, team_role, since, until from account_interval where account_id ="  # noqa: S608 - names of our own; values are parameters
            f" $1 and sort = $2 order by since",
            account_id,
            sort,
        )
        return [
            Interval((row["value"], row["team_role"]) if sort == "team" else row["value"], row["since"], row["until"])
            for row in rows
        ]

    async def set_intervals(self, account_id: str, sort: str, history: Sequence[Interval[Any]]) -> None:
        """Replace the history of one sort; what a merge brought and is still there goes back with it one day."""
        gone = await self._connection.fetch(
            f"delete from account_interval where account_id = $1 and sort = $2 returning {_VALUE[sort]} as value,"  # noqa: S608 - names of our own; values are parameters
            " team_role, since, until, origin_id",
            account_id,
            sort,
        )
        origins = [
            (Interval((row["value"], row["team_role"]), row["since"], row["until"]), row["origin_id"])
            for row in gone
            if row["origin_id"] is not None
        ]
        rows: list[tuple[Any, ...]] = []
        for entry in history:
            value = entry.value if sort == "team" else (entry.value, None)
            origin = next((of for old, of in origins if old.value == value and lies_within(entry, old)), None)
            rows.append((account_id, sort, *value, entry.since, entry.until, origin))
        # A handful of rows, written one by one.
        await self._connection.executemany(
            f"insert into account_interval (account_id, sort, {_VALUE[sort]}, team_role, since, until, origin_id)"  # noqa: S608 - names of our own; values are parameters
            f" values ($1, $2, $3, $4, $5, $6, $7)",
            rows,
        )

    async def ancestors(self, account_id: str) -> set[str]:
        """Return every account above `account_id` at any time, itself included."""
        # A tree: a parent must not be below its child. Whoever stood below a merged account stands below its survivor.
        rows = await self._connection.fetch(
            "with recursive above as (select $1::text::uuid as id union select surviving_account(parent_id) from"
            " account_interval join above on account_id = above.id where sort = 'parent') select id from above",
            account_id,
        )
        return {row["id"] for row in rows}

    async def links(self, keys: Collection[str]) -> dict[str, list[Link]]:
        """Return what identities name, over all time."""
        rows = await self._connection.fetch(
            "select identity_key, account_id, contact_id, since, until from identity where identity_key ="
            " any($1::text[]) order by identity_key, since nulls first",
            list(keys),
        )
        found: dict[str, list[Link]] = {}
        for row in rows:
            found.setdefault(row["identity_key"], []).append(
                Link(row["account_id"], row["contact_id"], row["since"], row["until"])
            )
        return found

    async def set_links(self, kind: str, key: str, links: Sequence[Link]) -> None:
        """Replace what an identity names; what a merge brought and is still there goes back with it one day."""
        gone = await self._connection.fetch(
            "delete from identity where identity_key = $1 returning account_id, contact_id, since, until, origin_id",
            key,
        )
        origins = [
            (Link(row["account_id"], row["contact_id"], row["since"], row["until"]), row["origin_id"])
            for row in gone
            if row["origin_id"] is not None
        ]
        rows = []
        for link in links:
            origin = next(
                (of for old, of in origins if old.account_id == link.account_id and lies_within(link, old)), None
            )
            rows.append((kind, key, link.account_id, link.contact_id, link.since, link.until, origin))
        # Seldom more than two rows.
        await self._connection.executemany(
            "insert into identity (kind, identity_key, account_id, contact_id, since, until, origin_id) values ($1,"
            " $2, $3, $4, $5, $6, $7)",
            rows,
        )

    async def keys_of_contact(self, contact_id: str) -> list[str]:
        """Return the identities that name a contact at any time."""
        rows = await self._connection.fetch(
            "select distinct identity_key from identity where contact_id = $1", contact_id
        )
        return [row["identity_key"] for row in rows]

    async def decide_by_hand(self, interaction_id: str, column: str, value: Any) -> bool:
        """Set hand_accounts, hand_class or hand_reply_expected of an interaction; say whether it exists."""
        assert column in {"hand_accounts", "hand_class", "hand_reply_expected"}  # noqa: S101 - from our own code only
        # The row's lock orders this before the job that reads it again.
        done = await self._connection.execute(
            f"update interaction set {column} = $2 where id = $1 and state is not null",  # noqa: S608 - names of our own; values are parameters
            interaction_id,
            value,
        )
        return bool(done == "UPDATE 1")

    async def interaction_scope(self, interaction_id: str) -> Mapping[str, Any] | None:
        """Return kind, claimed accounts, and whether the caller may see the interaction."""
        # The condition of the policy `api_scope` on interaction.
        row = await self._connection.fetchrow(
            "select kind, claimed, claimed && array(select visible_accounts())"
            " or (claimed = '{}' and (sees_unmatched() or users && array(select users_seen()))) as visible"
            " from interaction where id = $1 and state is not null",
            interaction_id,
        )
        return None if row is None else dict(row)

    async def add_job(self, selector: str, selected: Sequence[str], now: datetime) -> None:
        """Have interactions read again."""
        await jobs.add(self._connection, selector, selected, now)

    async def publish(
        self, now: datetime, accounts_: Collection[str], users: Collection[str], teams: Collection[str]
    ) -> int:
        """Publish what changed of these; return how many states were said."""
        return await accounts.publish(self._connection, now, accounts=accounts_, users=users, teams=teams)

    async def audit(  # noqa: PLR0917 - one argument for each column
        self, now: datetime, issuer: str, subject: str, what: str, entity: str, account_id: str | None, detail: Any
    ) -> None:
        """Remember who changed what."""
        # Ids and values as they were sent; texts of interactions never.
        await self._connection.execute(
            "insert into edit (edited_at, issuer, subject, user_id, what, entity_id, account_id, detail)"
            " values ($1, $2, $3, (select calling_user()), $4, $5, $6, $7)",
            now,
            issuer,
            subject,
            what,
            entity,
            account_id,
            detail,
        )

    async def servings(self, contact_id: str) -> list[Serving]:
        """Return where a contact is and was."""
        rows = await self._connection.fetch(
            "select account_id, since, until, is_primary from contact_account where contact_id = $1 order by"
            " since, account_id",
            contact_id,
        )
        return [Serving(row["account_id"], row["since"], row["until"], row["is_primary"]) for row in rows]

    async def set_servings(self, contact_id: str, servings: Sequence[Serving], *, corrected: str | None = None) -> None:
        """Replace where a contact is and was; what a merge brought and is still there goes back with it one day.

        Not so at `corrected`: somebody said of that account that it always was the contact's.
        """
        gone = await self._connection.fetch(
            "delete from contact_account where contact_id = $1 returning account_id, since, until, origin_id",
            contact_id,
        )
        origins = [
            (Serving(row["account_id"], row["since"], row["until"]), row["origin_id"])
            for row in gone
            if row["origin_id"] is not None
        ]
        rows = []
        for one in servings:
            of_origin = [
                (old, of)
                for old, of in origins
                if old.account_id == one.account_id != corrected and lies_within(one, old)
            ]
            if of_origin:
                origins.remove(of_origin[0])
            rows.append(
                (
                    contact_id,
                    one.account_id,
                    one.since,
                    one.until,
                    one.primary,
                    of_origin[0][1] if of_origin else None,
                )
            )
        # Seldom more than two rows.
        await self._connection.executemany(
            "insert into contact_account (contact_id, account_id, since, until, is_primary, origin_id) values ($1, $2,"
            " $3, $4, $5, $6)",
            rows,
        )
