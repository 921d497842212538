"""Which states come next when they are said again: `services.runtime.republish.States` of accounts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

import asyncpg

from services.accounts.store import accounts
from services.runtime.republish import Order, Said


class SayAgain(Protocol):
    """Says again what was said; `app` brings the fold."""

    async def __call__(self, connection: asyncpg.Connection, of: Sequence[tuple[str, str]], order: Order) -> int:
        """Say what was said of (account, interaction), and what reads otherwise by now; return how much that is."""
        ...


class OwnStates:
    """Teams, users or accounts, on `tenure.accounts`."""

    def __init__(self, name: Literal["teams", "users", "accounts"]) -> None:
        self.name: Literal["teams", "users", "accounts"] = name
        self._table = {"teams": "team", "users": "app_user", "accounts": "account"}[name]

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the next ones, in order of id, and append them to the outbox."""
        # By primary key. What has never been published (accounts are, in the transaction that makes them) is said too.
        rows = await connection.fetch(
            f"select id from {self._table} where $1::text::uuid is null or id > $1::text::uuid order by id limit $2",  # noqa: S608 - names of our own
            after,
            order.limit,
        )
        ids = [row["id"] for row in rows]
        again = accounts.Again(order.run_id, order.fresh_versions)
        said = await accounts.publish(
            connection,
            order.recorded_at,
            teams=ids if self.name == "teams" else (),
            users=ids if self.name == "users" else (),
            accounts=ids if self.name == "accounts" else (),
            again=again,
        )
        return Said(said, ids[-1] if len(ids) == order.limit else None)


class Attributions:
    """Attributions, on `tenure.activity`: what stands, and the tombstones.

    Account by account, each from the first to the last that happened: then few accounts are locked at a time, and
    whoever reads it has all of an account at once, in the order that costs least.
    """

    name = "activity"

    def __init__(self, say_again: SayAgain) -> None:
        self._say_again = say_again

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the interactions of the next attributions and append what was said to the outbox."""
        account, moment, interaction = _read_place(after)
        # Backwards by the index on accounts: what is left of one, then those that follow. Whatever moves behind this
        # place meanwhile, or comes there, was said by whoever moved it.
        rows = await connection.fetch(
            "select account_id, occurred_at, interaction_id from ("
            "(select account_id, occurred_at, interaction_id from attribution where account_id = $1"
            " and occurred_at >= $2 and (occurred_at > $2 or interaction_id < $3)"
            " order by account_id desc, occurred_at, interaction_id desc limit $4) union all"
            " (select account_id, occurred_at, interaction_id from attribution where account_id < $1"
            " order by account_id desc, occurred_at, interaction_id desc limit $4)) as following"
            " order by account_id desc, occurred_at, interaction_id desc limit $4",
            account,
            moment,
            interaction,
            order.limit,
        )
        of = [(row["account_id"], row["interaction_id"]) for row in rows]
        said = await self._say_again(connection, of, order) if of else 0
        return Said(said, _place(rows[-1]) if len(rows) == order.limit else None)


_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"


def _place(row: asyncpg.Record) -> str:
    return f"{row['account_id']} {row['occurred_at'].isoformat()} {row['interaction_id']}"


def _read_place(after: str | None) -> tuple[str, datetime, str]:
    """A place that has no account was left by a version that went from interaction to interaction: begin again."""
    if after is None or " " not in after:
        return _LAST, datetime.max.replace(tzinfo=UTC), _LAST
    account, moment, interaction = after.split(" ")
    return account, datetime.fromisoformat(moment), interaction
