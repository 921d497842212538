"""What metrics has said, said again; and a database of metrics that was restored from a backup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from contracts.topics import ACCOUNTS, ACTIVITY
from deploy.databases import DatabaseAccess
from services.runtime.restoring import epoch_of, restored
from tests.integration.metrics.running import GENEROUS, Running
from tests.integration.metrics.story import ACCOUNTS_OF, NOW, OPERATOR, history, people


async def _published_run(stage: Running) -> None:
    async with asyncio.timeout(GENEROUS):
        while True:
            runs = (await stage.get("/v1/republish", roles=OPERATOR)).json()["items"]
            if runs and runs[0]["published"]:
                return
            await asyncio.sleep(0.05)


async def test_kpis_are_said_again_with_the_versions_that_they_have(running: Running) -> None:
    await running.produce(ACCOUNTS.name, people(), NOW)
    await running.produce(ACTIVITY.name, history(1, range(60)), NOW)
    await running.drained()
    before = await running.published()
    answer = await running.ask("POST", "/v1/republish", roles=OPERATOR)
    assert (answer.status_code, list(answer.json()["parts"])) == (202, ["kpis"])
    await _published_run(running)
    after = await running.published()
    assert len(after) == len(before) + len(ACCOUNTS_OF)
    for account in ACCOUNTS_OF:
        of_account = [state for state in after if state.account_id == account]
        last, again = of_account[-2:]
        assert again.version == last.version == max(state.version for state in before if state.account_id == account)
        assert last.model_copy(update={"computed_at": again.computed_at}) == again
    assert (await running.ask("POST", "/v1/republish", "anna")).status_code == 403


async def test_after_a_restore_every_figure_is_what_it_would_have_been_and_no_version_goes_back(
    stage: Running, backup: Callable[[DatabaseAccess], DatabaseAccess], tmp_path: Path
) -> None:
    states = history(2, range(120))
    async with stage.replica():
        await stage.produce(ACCOUNTS.name, people(), NOW)
        await stage.produce(ACTIVITY.name, states[:60], NOW)
        await stage.drained()
    old = backup(stage.access)
    async with stage.replica():
        await stage.produce(ACTIVITY.name, states[60:], NOW)
        await stage.drained()
    before = await stage.published()
    owner = await asyncpg.connect(old.owner)
    async with owner.transaction():
        done = await restored(owner, ["kpis"], datetime.now(UTC), "test")
    await owner.close()
    assert done.epoch is not None
    assert done.epoch >= epoch_of(datetime.now(UTC)) - 1
    (tmp_path / "again").mkdir()
    again = Running(stage.bootstrap, stage.prefix, old, tmp_path / "again", NOW)
    async with again.replica():
        await again.drained()
        await _published_run(again)
    after = await again.published()
    said = {account: [one for one in after if one.account_id == account] for account in ACCOUNTS_OF}
    for account, of_account in said.items():
        earlier = [one for one in before if one.account_id == account]
        since = of_account[len(earlier) :]
        assert since
        assert min(one.version for one in since) > max(one.version for one in earlier)
        assert [one.version for one in since] == sorted(one.version for one in since)
        kept = {"version": 0, "computed_at": NOW}
        assert since[-1].model_copy(update=kept) == earlier[-1].model_copy(update=kept)
