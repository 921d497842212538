"""What a pass over roll-ups may not miss: whoever changes teams while it runs, and more days than it takes at once."""

import asyncio
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any

import asyncpg

from services.metrics.domain.scope import PORTFOLIO, Scope
from services.metrics.handlers.loops import RollUps
from services.metrics.store import rollups
from services.runtime.postgres import transaction
from tests.integration.metrics.conftest import Desk
from tests.unit.metrics.builders import ACCOUNT, EPOCH_DAY, account, at, order, uid, user

ANNA, NORTH, SOUTH = (uid(number) for number in range(601, 604))
NOW = at("2026-03-02 12:00")
OWNED = account(ACCOUNT, 1, ((ANNA, EPOCH_DAY, None),))


async def rolled(desk: Desk, scope: Scope) -> int:
    """How many orders the roll-ups of a scope hold."""
    return int(
        await desk.pool.fetchval(
            "select coalesce(sum(counts[6]), 0) from rollup where scope = $1 and scope_id = $2", *scope
        )
    )


async def ended_or_waiting(desk: Desk, task: asyncio.Task[Any]) -> None:
    """Wait until a batch was handled, or waits for somebody."""
    waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
    while not task.done() and not await desk.pool.fetchval(waits):
        await asyncio.sleep(0.01)


async def test_who_changes_teams_while_roll_ups_are_computed_counts_for_the_new_team(desk: Desk) -> None:
    await desk.apply([user(ANNA, "anna", team_id=NORTH), OWNED, order(1, at("2026-02-02 09:00"))], NOW)
    async with transaction(desk.pool) as connection:
        await rollups.recompute(connection, await rollups.take_dirty(connection))
        moving = asyncio.create_task(desk.apply([user(ANNA, "anna", team_id=SOUTH, version=2)], NOW))
        await ended_or_waiting(desk, moving)
    await moving
    await desk.roll_up()
    assert [await rolled(desk, Scope("team", team)) for team in (NORTH, SOUTH)] == [0, 1]


async def test_a_user_who_comes_while_roll_ups_are_computed_counts_for_their_team(desk: Desk) -> None:
    await desk.apply([OWNED, order(1, at("2026-02-02 09:00"))], NOW)
    async with transaction(desk.pool) as connection:
        await rollups.recompute(connection, await rollups.take_dirty(connection))
        coming = asyncio.create_task(desk.apply([user(ANNA, "anna", team_id=SOUTH)], NOW))
        await ended_or_waiting(desk, coming)
    await coming
    await desk.roll_up()
    assert await rolled(desk, Scope("team", SOUTH)) == 1


class Counted:
    """The roll-ups of a database, and how many days each statement computed."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(rollups, name)

    async def recompute(self, connection: asyncpg.Connection, days: Collection[date]) -> None:
        """Compute them, and count."""
        self.taken.append(len(days))
        await rollups.recompute(connection, days)


async def test_no_statement_computes_more_days_than_can_be_waited_for(desk: Desk) -> None:
    await desk.apply([user(ANNA, "anna", team_id=NORTH), OWNED], NOW)
    history = [order(number, NOW - timedelta(days=number)) for number in range(1, 731)]
    await desk.apply(history, NOW)
    counted = Counted()
    passes = RollUps(desk.pool, counted)
    await passes.step()
    assert max(counted.taken) <= 100
    assert await rolled(desk, PORTFOLIO) == await rolled(desk, Scope("team", NORTH)) == 730
    assert await rollups.dirty(desk.pool) == 0  # type: ignore[arg-type]


async def test_days_that_change_again_and_again_keep_no_others_waiting(desk: Desk) -> None:
    await desk.apply([OWNED, *(order(number, NOW - timedelta(days=number)) for number in range(1, 301))], NOW)

    class Busy(Counted):
        """Whenever some days are computed, all are marked again, as an import of history does."""

        async def recompute(self, connection: asyncpg.Connection, days: Collection[date]) -> None:
            await super().recompute(connection, days)
            async with transaction(desk.pool) as other:
                await rollups.mark(other, [(NOW - timedelta(days=number)).date() for number in range(1, 301)])

    await RollUps(desk.pool, Busy()).step()
    assert await rolled(desk, PORTFOLIO) == 300
