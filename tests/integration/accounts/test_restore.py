"""A database restored from a backup: what is said downstream is in the end what it would have been."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from typer.testing import CliRunner

from contracts.topics import ACCOUNTS, ACTIVITY
from deploy.databases import DatabaseAccess
from services.cli.app import build
from services.runtime.restoring import epoch_of, restored
from tests.integration.accounts.running import Running, State, greatest, states
from tests.integration.accounts.test_concurrency import history_of

EDITS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/accounts", {"name": f"C{number}", "key": f"c{number}", "created_at": "2020-01-01T00:00:00Z"})
    for number in range(4)
]
DOMAINS: list[tuple[str, str, Any]] = [
    ("POST", f"/v1/accounts/key:c{number}/domains", {"domain": f"c{number}.example"}) for number in range(4)
]
LATER: list[tuple[str, str, Any]] = [
    ("PATCH", "/v1/accounts/key:c1", {"name": "C1 renamed"}),
    ("POST", "/v1/accounts/key:c3/merge", {"into": "key:c2"}),
]


async def _edit(stage: Running, edits: list[tuple[str, str, Any]]) -> None:
    for method, path, body in edits:
        answer = await stage.ask(method, path, body)
        assert answer.status_code < 300, answer.text


async def _said(stage: Running) -> dict[State, list[dict[str, Any]]]:
    return {
        **states(ACTIVITY, await stage.records(ACTIVITY)),
        **states(ACCOUNTS, await stage.records(ACCOUNTS)),
    }


async def test_after_a_restore_readers_end_up_with_what_they_would_have_had(
    stage: Running, backup: Callable[[DatabaseAccess], DatabaseAccess]
) -> None:
    history = history_of(6)
    async with stage.replica():
        await _edit(stage, EDITS)
        await _edit(stage, DOMAINS)
        await stage.produce(history[:50])
        await stage.drained()
    old = backup(stage.access)
    async with stage.replica():
        await stage.produce(history[50:])
        await _edit(stage, LATER)
        await stage.drained()
    before = await _said(stage)

    lost, stage.access = stage.access, old
    arguments = ["restored", "accounts", "--owner-url", old.owner]
    result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
    assert (result.exit_code, "epoch" in result.output) == (0, True), result.output
    async with stage.replica():
        await stage.drained()
        # What people did since the backup is in no topic that accounts reads: they do it again.
        await _edit(stage, LATER)
        await stage.drained()
        again = (await stage.ask("GET", "/v1/republish")).json()["items"][0]
    after = await _said(stage)

    assert lost.name != old.name
    assert (again["fresh_versions"], again["published"]) == (True, True)
    assert greatest(after) == greatest(before)
    assert len(greatest(after)) > 60
    for key, bodies in after.items():
        since = bodies[len(before.get(key, ())) :]
        assert since, f"{key} was not said again"
        if key in before:
            assert min(body["version"] for body in since) > max(body["version"] for body in before[key])
        # On a compacted topic only the last one remains: it must be the greatest.
        versions = [body["version"] for body in since]
        assert versions == sorted(versions)


async def test_an_epoch_follows_real_time_so_an_old_backup_cannot_bring_an_old_one_back(
    access: DatabaseAccess,
) -> None:
    moment = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    owner = await asyncpg.connect(access.owner)
    try:
        epochs = []
        for after in (timedelta(), timedelta(minutes=10), timedelta(minutes=10)):
            async with owner.transaction():
                epochs.append((await restored(owner, ["accounts"], moment + after, "test")).epoch)
        assert epochs == [epoch_of(moment) + number for number in range(3)]
        async with owner.transaction():
            done = await restored(owner, ["accounts"], moment, "test", at_least=10**6)
        assert done.epoch == 10**6
        assert epoch_of(datetime(2105, 1, 1, tzinfo=UTC)) < 1 << 22
        assert (await restored(owner, [], moment, "test")).epoch is None
    finally:
        await owner.close()


async def test_a_service_that_has_nothing_to_raise_and_a_wrong_address_are_said_in_a_sentence() -> None:
    arguments = ["restored", "accounts", "--owner-url", "postgresql://nobody@127.0.0.1:1/x"]
    result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
    assert result.exit_code == 1
    assert "cannot be reached" in str(result.exception)


async def test_the_command_says_states_again_until_they_are_published(stage: Running) -> None:
    token = stage.directory / "token"
    token.write_text(stage.issuer.issue("ops", ["operator"]))

    async def command(*arguments: str) -> tuple[int, str]:
        where = ["--url", f"http://127.0.0.1:{stage.services[0].http_port}", "--token-file", str(token)]
        result = await asyncio.to_thread(CliRunner().invoke, build(), ["republish", *arguments, *where])
        return result.exit_code, result.output + str(result.exception or "")

    async with stage.replica():
        await _edit(stage, EDITS)
        await stage.drained()
        code, said = await command("--topic", "tenure.accounts", "--topic", "tenure.activity")
        assert (code, said.splitlines()[-1]) == (0, "accounts: 4 states said again")
        assert len(await stage.records(ACCOUNTS)) == 8
        assert await command("--topic", "tenure.activity", "--stop") == (0, "0 runs stopped\n")
        code, said = await command()
        assert (code, "say with --topic" in said) == (1, True)
        code, said = await command("--topic", "tenure.interactions")
        assert (code, "carries no states" in said) == (1, True)
        code, said = await command("--topic", "tenure.kpis")
        assert (code, "kpis is not said here" in said) == (1, True)
