"""Two and three replicas of accounts at once: nothing is done twice, nothing is lost, versions stay in order."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

from contracts.topics import ACTIVITY
from tests.integration.accounts.running import Running, greatest, states
from tests.integration.accounts.stories import Office, forget_everything_said
from tests.integration.accounts.test_concurrency import history_of
from tests.unit.accounts.events import event, person


async def test_replicas_that_come_and_go_under_reports_edits_and_merges_do_everything_once(
    stage: Running, office: Office
) -> None:
    accounts = [await office.account(f"c{number}") for number in range(4)]
    strange = event("note.written", "note", "n1", parties=[person("from", "who@unknown.example")], text="Hello")
    history = [*history_of(8), strange]
    chance = random.Random(8)  # noqa: S311 - a test's dice

    async def edit(replica: int) -> None:
        for number, account in enumerate(accounts):
            body = {"domain": f"c{number}.example"}
            answer = await stage.ask("POST", f"/v1/accounts/{account}/domains", body, replica % len(stage.services))
            assert answer.status_code == 201, answer.text
        for name in ("merge", "unmerge", "merge"):
            path = f"/v1/accounts/key:c3/{name}"
            answer = await stage.ask("POST", path, {"into": "key:c1"}, replica % len(stage.services))
            assert answer.status_code == 202, answer.text

    async def report() -> None:
        for start in range(0, len(history), 9):
            batch = history[start : start + 9]
            await stage.produce([*batch, *chance.sample(batch, 2)])

    async with stage.replica(), AsyncExitStack() as others:
        await others.enter_async_context(stage.replica())
        reporting = asyncio.create_task(report())
        await edit(1)
        async with stage.replica():
            await asyncio.gather(edit(2), stage.ask("POST", "/v1/republish", replica=1))
        await others.aclose()
        await reporting
        await stage.drained()
    said = states(ACTIVITY, await stage.records(ACTIVITY))
    for key, bodies in said.items():
        versions = [body["version"] for body in bodies]
        assert versions == sorted(versions), f"{key} was said out of order"
    ledger = {row["event_id"] for row in await office.rows("select event_id from ledger")}
    assert ledger == {one.id for one in history}
    assert await office.rows("select id from job") == []
    stored = await office.rows("select account_id, interaction_id, version from attribution")
    assert {(row["account_id"], row["interaction_id"]): row["version"] for row in stored} == {
        (key[1], key[2]): bodies[-1]["version"] for key, bodies in said.items()
    }
    kept = await office.rows("select identity_key, account_id from identity order by identity_key")
    assert [row["identity_key"] for row in kept] == [f"domain:c{number}.example" for number in range(4)]
    assert kept[3]["account_id"] == accounts[1]

    together = {(key[1], key[2]): (body["reason"], body["contacts"]) for key, body in greatest(said).items()}
    await forget_everything_said(office)
    await office.receive(*history)
    alone = {key: (body["reason"], body["contacts"]) for key, body in (await office.standing()).items()}
    assert together == alone
