"""Several replicas that come, go and fail at every named place: nothing is lost and nothing doubled."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from contracts.topics import ACCOUNTS, ACTIVITY
from services.metrics.store import rollups
from services.runtime import failpoints
from services.runtime.clock import write_moment
from services.runtime.postgres import create_pool, transaction
from tests.integration.metrics.running import GENEROUS, Running
from tests.integration.metrics.story import NOW, history, people, verify

PLACES = tuple(failpoints.RuntimeFailpoint)
LATER = NOW + timedelta(days=8)


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[Path]:
    """What `metrics.json` in this folder orders is done by every replica of this process together."""
    folder = tmp_path / "failpoints"
    folder.mkdir()
    failpoints.arm("metrics", folder)
    yield folder
    failpoints.disarm()


async def test_replicas_that_come_go_and_fail_at_every_place_leave_what_one_would_have(
    stage: Running, orders: Path
) -> None:
    """Under reports that come in pieces, a midnight that passes, and rates that are edited meanwhile."""
    states = history(11, range(1, 240))
    pieces = [states[place::8] for place in range(8)]
    async with AsyncExitStack() as first:
        await first.enter_async_context(stage.replica())
        second = await first.enter_async_context(AsyncExitStack())
        await stage.produce(ACCOUNTS.name, people(), NOW)
        for number, piece in enumerate(pieces):
            # After the last piece nothing else comes: then the first time has to do.
            time = 1 if piece is pieces[-1] else 1 + number % 3
            fail = {place: {"action": "fail", "on": time} for place in PLACES}
            (orders / "metrics.json").write_text(json.dumps(fail))
            await stage.produce(ACTIVITY.name, piece, NOW)
            if number in {1, 3}:
                await second.enter_async_context(stage.replica())
            if number == 4:
                write_moment(stage.clock, LATER)
                await _rate(stage)
            if number == 5:
                await second.aclose()
            await asyncio.sleep(0.3)
        await stage.drained()
    assert {line.split()[2] for line in (orders / "hits.log").read_text().splitlines() if line.endswith("fail")} >= {
        "batch.locked",
        "transaction.committing",
        "transaction.committed",
        "relay.read",
        "relay.published",
    }
    await verify(stage, states, LATER)
    await _roll_ups_are_those_of_the_slim_rows(stage)


async def _rate(stage: Running) -> None:
    """An edit whose answer may be lost: it is repeated until there is one."""
    async with asyncio.timeout(GENEROUS):
        while True:
            answer = await stage.ask("PUT", "/v1/rates/USD/2026-01-01", "boss", ("admin",), json={"rate": "0.91"})
            if answer.is_success:
                break
    rates = (await stage.get("/v1/rates", "boss", ("admin",))).json()["items"]
    assert [(rate["currency"], rate["rate"]) for rate in rates] == [("USD", "0.91")]


async def _roll_ups_are_those_of_the_slim_rows(stage: Running) -> None:
    pool = await create_pool(stage.access.worker, max_size=1)
    # everything that is rolled up, before and after it is computed from scratch
    query = "select scope, scope_id, day, counts, money::jsonb::text from rollup order by scope, scope_id, day"
    before = [tuple(row) for row in await pool.fetch(query)]
    async with transaction(pool) as connection:
        days = [row[0] for row in await connection.fetch("select day from fact where day is not null")]
        resolved = await connection.fetch("select resolved_on from fact where resolved_on is not null")
        await rollups.recompute(connection, {*days, *(row[0] for row in resolved)})
    after = [tuple(row) for row in await pool.fetch(query)]
    await pool.close()
    assert after
    assert before == after
