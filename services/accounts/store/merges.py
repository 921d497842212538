"""Merging accounts: what moves, what is copied, what remembers where it came from.

The caller holds the identity lock, so nobody matches, merges or edits contacts and identities meanwhile.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import asyncpg

from services.accounts.domain.intervals import Interval
from services.accounts.domain.merging import free_name, where_none

_ONE_AT_A_TIME = ("owner", "stage", "key", "parent")
_VALUES = "user_id, team_role, stage, is_key, parent_id"


class MergeTables:
    """Part of `EditTables`."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._merging = connection

    async def named_account(self, reference: str) -> Mapping[str, Any] | None:
        """Return id, name and merged_into of the account of that id or `key:<external key>`, merged or not."""
        by_key = reference.startswith("key:")
        row = await self._merging.fetchrow(
            f"select id, name, merged_into from account where {'external_key' if by_key else 'id'} = $1",  # noqa: S608 - names of our own
            reference[4:] if by_key else reference,
        )
        return None if row is None else dict(row)

    async def surviving(self, ids: Collection[str]) -> dict[str, str]:
        """Return, for those of `ids` that are accounts, the account that speaks for each: itself unless merged."""
        rows = await self._merging.fetch(
            "select id, surviving_account(id) as survivor from account where id = any($1::text[]::uuid[])", list(ids)
        )
        return {row["id"]: row["survivor"] for row in rows}

    async def lock_accounts(self, ids: Collection[str]) -> None:
        """Lock accounts, sorted, before what is dated of them is read; a transient error when one is merged by now."""
        # Two edits of one account come one after the other; a merge that came first is seen by the next attempt.
        rows = await self._merging.fetch(
            "select merged_into from account where id = any($1::text[]::uuid[]) order by id for update", list(ids)
        )
        if any(row["merged_into"] is not None for row in rows):
            raise asyncpg.SerializationError("an account was merged meanwhile")

    async def merged_under(self, account_id: str) -> list[str]:
        """Return the account itself and every account that was merged into it, directly or through others."""
        rows = await self._merging.fetch(
            "with recursive under as (select $1::text::uuid as id union all select account.id from account join"
            " under on account.merged_into = under.id) select id from under order by id",
            account_id,
        )
        return [row["id"] for row in rows]

    async def is_above_itself(self, account_id: str) -> bool:
        """Say whether the tree of accounts runs in a circle through this one, at whatever times."""
        found: bool = await self._merging.fetchval(
            "with recursive above as (select surviving_account(parent_id) as id from account_interval where account_id"
            " = $1 and sort = 'parent' union select surviving_account(parent_id) from account_interval join above on"
            " account_id = above.id where sort = 'parent') select exists (select from above where id = $1)",
            account_id,
        )
        return found

    async def children(self, ids: Collection[str]) -> list[str]:
        """Return accounts that stand, or stood, below one of `ids`."""
        rows = await self._merging.fetch(
            "select distinct account_id from account_interval where parent_id = any($1::text[]::uuid[])", list(ids)
        )
        return [row["account_id"] for row in rows]

    async def keys_around(self, account_id: str, origins: Sequence[str] | None = None) -> list[str]:
        """Return the identities of an account and of its contacts; `origins`: only of what came from those."""
        # What names the organisation, and what names somebody who is or was there.
        rows = await self._merging.fetch(
            "select identity_key from identity where account_id = $1 and ($2::text[] is null or origin_id ="
            " any($2::text[]::uuid[])) union select identity_key from identity where contact_id in (select contact_id"
            " from contact_account where account_id = $1 and ($2::text[] is null or origin_id ="
            " any($2::text[]::uuid[])))",
            account_id,
            origins,
        )
        return [row["identity_key"] for row in rows]

    async def merge_account(self, account_id: str, into: str, name: str) -> None:
        """Bring everything of `account_id`, which is called `name`, to `into`; both stood for themselves until now."""
        for table in ("identity", "contact_account"):
            await self._merging.execute(
                f"update {table} set account_id = $2, origin_id = coalesce(origin_id, $1) where account_id = $1",  # noqa: S608 - names of our own
                account_id,
                into,
            )
        await self._move_centres(account_id, into, name)
        await self._copy_intervals(account_id, into)
        await self._merging.execute("update account set merged_into = $2 where id = $1", account_id, into)

    async def unmerge_account(self, account_id: str, survivor: str) -> None:
        """Take everything that came from `account_id`, or through it, back from `survivor`."""
        origins = await self.merged_under(account_id)
        for table in ("identity", "contact_account"):
            await self._merging.execute(
                f"update {table} set account_id = $1, origin_id = nullif(origin_id, $1) where account_id = $2 and"  # noqa: S608 - names of our own
                " origin_id = any($3::text[]::uuid[])",
                account_id,
                survivor,
                origins,
            )
        await self._return_centres(account_id, survivor, origins)
        # Copies at every account above; those that it has itself stay with it.
        await self._merging.execute(
            "delete from account_interval where origin_id = any($1::text[]::uuid[]) and account_id <>"
            " all($1::text[]::uuid[])",
            origins,
        )
        await self._merging.execute("update account set merged_into = null where id = $1", account_id)

    async def _centres(self, account_id: str) -> list[asyncpg.Record]:
        return await self._merging.fetch(
            "select id, name, name_before, origin_id from buying_centre where account_id = $1 order by id", account_id
        )

    async def _move_centres(self, account_id: str, into: str, name: str) -> None:
        taken = {row["name"] for row in await self._centres(into)}
        for row in await self._centres(account_id):
            there = free_name(row["name"], name, taken)
            taken.add(there)
            before = row["name_before"] if there == row["name"] else row["name_before"] or row["name"]
            # An account has a handful of them.
            await self._merging.execute(
                "update buying_centre set account_id = $2, origin_id = coalesce(origin_id, $3), name = $4, name_before"
                " = $5 where id = $1",
                row["id"],
                into,
                account_id,
                there,
                before,
            )

    async def _return_centres(self, account_id: str, survivor: str, origins: Collection[str]) -> None:
        taken: set[str] = {row["name"] for row in await self._centres(account_id)}
        for row in await self._centres(survivor):
            if row["origin_id"] not in origins:
                continue
            name = row["name_before"] or row["name"]
            back = free_name(name, row["origin_id"], taken)
            taken.add(back)
            own = row["origin_id"] == account_id
            await self._merging.execute(
                "update buying_centre set account_id = $2, origin_id = $3, name = $4, name_before = $5 where id = $1",
                row["id"],
                account_id,
                None if own else row["origin_id"],
                back,
                None if own or back == name else name,
            )

    async def _copy_intervals(self, account_id: str, into: str) -> None:
        """Copy what is dated to days of which the account that stays says nothing; its own stands."""
        rows = await self._merging.fetch(
            f"select account_id, sort, {_VALUES}, since, until, coalesce(origin_id, account_id) as origin_id from"  # noqa: S608 - names of our own
            " account_interval where account_id = any($1::text[]::uuid[]) order by since, id",
            [account_id, into],
        )
        own: dict[tuple[object, ...], list[Interval[None]]] = {}
        for row in rows:
            if row["account_id"] == into:
                own.setdefault(_place(row), []).append(Interval(None, row["since"], row["until"]))
        copies = [
            (into, row["sort"], *(row[name] for name in _VALUES.split(", ")), part.since, part.until, row["origin_id"])
            for row in rows
            if row["account_id"] == account_id
            for part in where_none(own.get(_place(row), []), Interval(None, row["since"], row["until"]))
        ]
        await self._merging.executemany(
            f"insert into account_interval (account_id, sort, {_VALUES}, since, until, origin_id) values"  # noqa: S608 - names of our own
            " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            copies,
        )


def _place(row: asyncpg.Record) -> tuple[object, ...]:
    """What can hold only once on a day: one owner, stage, key decision, parent; each user once in the team."""
    return (row["sort"],) if row["sort"] in _ONE_AT_A_TIME else (row["sort"], row["user_id"], row["team_role"])
