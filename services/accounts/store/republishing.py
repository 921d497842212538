"""Which states come next when they are said again: `services.runtime.republish.States` of accounts."""

from collections.abc import Sequence
from typing import Literal, Protocol

import asyncpg

from services.accounts.store import accounts
from services.runtime.republish import Order, Said


class SayAgain(Protocol):
    """Says again what was said of interactions; `app` brings the fold."""

    async def __call__(self, connection: asyncpg.Connection, ids: Sequence[str], order: Order) -> int:
        """Return how many attributions were said."""
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
    """Attributions, on `tenure.activity`: what stands, and the tombstones."""

    name = "activity"

    def __init__(self, say_again: SayAgain) -> None:
        self._say_again = say_again

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the next interactions, in order of id, and append what was said of them to the outbox."""
        # By primary key; an interaction of which nothing was ever said has none.
        rows = await connection.fetch(
            "select distinct interaction_id as id from attribution where $1::text::uuid is null or interaction_id >"
            " $1::text::uuid order by interaction_id limit $2",
            after,
            order.limit,
        )
        ids = [row["id"] for row in rows]
        said = await self._say_again(connection, ids, order) if ids else 0
        return Said(said, ids[-1] if len(ids) == order.limit else None)
