"""A rebuild beside live traffic: the same values to the last digit, or a finding; whatever interrupts it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from contracts.activity import Attribution
from contracts.topics import ACCOUNTS, ACTIVITY
from tests.integration.metrics.running import GENEROUS, Running
from tests.integration.metrics.story import ACCOUNTS_OF, ANNA, NORTH, NOW, OPERATOR, history, newest, people, verify
from tests.unit.metrics.builders import uid


async def rebuilt(stage: Running) -> dict[str, Any]:
    """Wait until the rebuild has ended."""
    async with asyncio.timeout(GENEROUS):
        while (shown := (await stage.ask("GET", "/v1/rebuild", roles=OPERATOR)).json())["phase"] == "filling":
            await asyncio.sleep(0.05)
    return dict(shown)


async def republish(stage: Running, states: Sequence[Attribution]) -> None:
    """What accounts does on `POST /v1/republish`, in no particular order between accounts."""
    await stage.produce(ACCOUNTS.name, people(), NOW, republished="run")
    await stage.produce(ACTIVITY.name, newest(states), NOW, republished="run")


async def contents(stage: Running) -> dict[str, list[tuple[Any, ...]]]:
    """Every live table by its rows, without what a rebuild draws anew."""
    wanted = {
        "fact": "account_id, interaction_id, version, day, effects, amount, answered_at, counted_class, two_way, roles",
        "bucket": "account_id, day, counts::text",
        "account_state": "account_id, version, account_version, as_of, due, since, counts::text, digest",
        "rollup": "scope, scope_id, day, counts::text, money::jsonb::text",
        "account_owner": "account_id, user_id, since, until",
        "app_user": "user_id, version, team_id",
        "team": "team_id, version, lead_id",
    }
    connection = await asyncpg.connect(stage.access.owner)
    try:
        found = {}
        for table, columns in wanted.items():
            condition = (
                " where present" if table == "fact" else " where counts::text ~ '[1-9]'" if table == "bucket" else ""
            )
            rows = await connection.fetch(f"select {columns} from {table}{condition}")  # noqa: S608 - constants
            found[table] = sorted(tuple(map(str, row)) for row in rows)
        return found
    finally:
        await connection.close()


async def test_a_rebuild_beside_live_traffic_gives_the_same_tables_and_publishes_nothing(running: Running) -> None:
    before, meanwhile, later = history(1, range(1, 150)), history(2, range(200, 260)), history(3, range(300, 330))
    await running.produce(ACCOUNTS.name, people(), NOW)
    await running.produce(ACTIVITY.name, before, NOW)
    await running.drained()
    assert (await running.ask("POST", "/v1/rebuild", roles=OPERATOR)).status_code == 202
    await asyncio.gather(republish(running, before), running.produce(ACTIVITY.name, meanwhile, NOW))
    shown = (await running.ask("POST", "/v1/rebuild/republished", roles=OPERATOR)).json()
    assert shown["republished"]
    await running.produce(ACTIVITY.name, later, NOW)
    found = (await rebuilt(running))["found"]
    assert (found["accounts"], found["different_accounts"]) == (len(ACCOUNTS_OF), 0)
    assert (found["different_roll_ups"], found["different_copies"]) == (0, {})
    await running.drained()
    await verify(running, [*before, *meanwhile, *later])

    count = len(await running.published())
    once = await contents(running)
    assert (await running.ask("POST", "/v1/rebuild", roles=OPERATOR)).json()["phase"] == "filling"
    await republish(running, [*before, *meanwhile, *later])
    await running.ask("POST", "/v1/rebuild/republished", roles=OPERATOR)
    await rebuilt(running)
    await running.drained()
    assert await contents(running) == once
    assert len(await running.published()) == count
    more = history(4, range(400, 420))
    await running.produce(ACTIVITY.name, more, NOW)
    await running.drained()
    await verify(running, [*before, *meanwhile, *later, *more])
    for path in (f"/v1/accounts/{ACCOUNTS_OF[0]}/kpis", f"/v1/managers/{ANNA}/kpis", f"/v1/teams/{NORTH}/kpis"):
        assert (await running.get(path)).status_code == 200
        assert (await running.get(path, "nobody")).status_code == 404


async def test_what_had_gone_wrong_is_found_mended_and_published_under_higher_versions(running: Running) -> None:
    states = history(5, range(1, 120))
    await running.produce(ACCOUNTS.name, people(), NOW)
    await running.produce(ACTIVITY.name, states, NOW)
    await running.drained()
    connection = await asyncpg.connect(running.access.owner)
    broken, lost, stray = ACCOUNTS_OF[0], ACCOUNTS_OF[1], uid(999)
    # a bucket that counts once too often, an account whose slim rows are lost, one that never was
    await connection.execute("update bucket set counts[6] = counts[6] + 1 where account_id = $1", broken)
    await connection.execute("delete from fact where account_id = $1", lost)
    await connection.execute(
        "insert into account_state (account_id, version, account_version, as_of, future, counts, derived, digest)"
        " values ($1, 7, 0, '2026-03-02', false, '{}', '{}', 'x')",
        stray,
    )
    await connection.close()
    await running.ask("POST", "/v1/rebuild", roles=OPERATOR)
    await republish(running, states)
    await running.ask("POST", "/v1/rebuild/republished", roles=OPERATOR)
    found = (await rebuilt(running))["found"]
    assert set(found["different_account_ids"]) == {broken, lost, stray}
    await running.drained()
    await verify(running, states)
    last = [state for state in await running.published() if state.account_id == stray][-1]
    assert last.version > 7
    assert {value.value for value in last.values} == {0, None}


@pytest.mark.parametrize("moment", ["while it is filled", "while it is republished"])
async def test_a_rebuild_goes_on_after_its_process_was_replaced(stage: Running, moment: str) -> None:
    states = history(6, range(1, 120))
    async with stage.replica():
        await stage.produce(ACCOUNTS.name, people(), NOW)
        await stage.produce(ACTIVITY.name, states, NOW)
        await stage.drained()
        await stage.ask("POST", "/v1/rebuild", roles=OPERATOR)
        await stage.produce(ACCOUNTS.name, people(), NOW)
        await stage.produce(ACTIVITY.name, newest(states)[:40], NOW)
        if moment == "while it is filled":
            await republish(stage, states)
            await stage.ask("POST", "/v1/rebuild/republished", roles=OPERATOR)
    async with stage.replica():
        if moment == "while it is republished":
            await republish(stage, states)
            await stage.ask("POST", "/v1/rebuild/republished", roles=OPERATOR)
        found = (await rebuilt(stage))["found"]
        assert (found["accounts"], found["different_accounts"]) == (len(ACCOUNTS_OF), 0)
        await stage.drained()
        await verify(stage, states)


async def test_a_rebuild_that_is_given_up_leaves_everything_as_it_was(running: Running) -> None:
    assert (await running.ask("GET", "/v1/rebuild", roles=OPERATOR)).status_code == 404
    assert (await running.ask("POST", "/v1/rebuild")).status_code == 403
    states = history(7, range(1, 60))
    await running.produce(ACCOUNTS.name, people(), NOW)
    await running.produce(ACTIVITY.name, states, NOW)
    await running.drained()
    once = await contents(running)
    await running.ask("POST", "/v1/rebuild", roles=OPERATOR)
    await running.produce(ACTIVITY.name, newest(states)[:20], NOW)
    assert (await running.ask("DELETE", "/v1/rebuild", roles=OPERATOR)).json()["phase"] == "abandoned"
    await running.drained()
    assert await contents(running) == once
    connection = await asyncpg.connect(running.access.owner)
    # neither schema is left, nor a group's offsets
    left = "select nspname from pg_namespace where nspname in ('rebuild', 'retired')"
    assert await connection.fetch(left) == []
    groups = "select distinct consumer_group from kafka_offset"
    assert [row[0] for row in await connection.fetch(groups)] == [f"{running.prefix}metrics"]
    await connection.close()
