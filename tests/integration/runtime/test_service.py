"""A service as a process: starting, waiting, SIGTERM, SIGKILL, wrong settings."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.integration.runtime.harness import GENEROUS, RESULTS, Rig, eventually, message, read_all


@dataclass
class _Process:
    process: asyncio.subprocess.Process
    http: str
    operations: str

    async def answers(self, path: str) -> httpx2.Response | None:
        async with httpx2.AsyncClient() as client:
            try:
                return await client.get(self.operations + path)
            except httpx2.TransportError:
                return None

    async def ready(self) -> None:
        async def check() -> bool:
            answer = await self.answers("/readyz")
            return answer is not None and answer.status_code == 200

        await eventually(check, "the service is ready")

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; return the exit code and what was written to stderr."""
        self.process.send_signal(number)
        _, stderr = await asyncio.wait_for(self.process.communicate(), GENEROUS)
        return self.process.returncode or 0, stderr.decode()


def _free_port() -> int:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        return port


@asynccontextmanager
async def _service(one: Rig, **changes: str) -> AsyncIterator[_Process]:
    http, operations = _free_port(), _free_port()
    settings: Mapping[str, str] = {
        "TENURE_KAFKA_BOOTSTRAP": one.bootstrap,
        "TENURE_TOPIC_PREFIX": one.prefix,
        "TENURE_DATABASE_URL": one.database.worker,
        "TENURE_HTTP_PORT": str(http),
        "TENURE_OPERATIONS_PORT": str(operations),
        **changes,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.runtime.sample_service",
        cwd=Path(__file__).parents[3],
        env={**kept, **settings},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield _Process(process, f"http://127.0.0.1:{http}", f"http://127.0.0.1:{operations}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_sigterm_finishes_the_batch_and_exits_with_zero(one_rig: Rig) -> None:
    async with _service(one_rig, TENURE_BATCH_SIZE="20") as service:
        await service.ready()
        await one_rig.produce(message(number) for number in range(300))

        async def begun() -> bool:
            return bool(await one_rig.effects())

        await eventually(begun, "the first batch is done")
        code, log = await service.end()
    assert code == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["service"] for line in lines} == {"probe"}
    assert "stopping" in [line["event"] for line in lines]
    async with _service(one_rig) as service:
        await one_rig.has_effects(range(300))
        await _all_published(one_rig, 300)
        assert (await service.end())[0] == 0
    assert set((await one_rig.effects()).values()) == {1}


async def test_spans_of_the_last_moments_are_written_before_it_ends(one_rig: Rig, tmp_path: Path) -> None:
    spans = tmp_path / "spans.jsonl"
    async with _service(one_rig, TENURE_TRACE_FILE=str(spans), TENURE_TRACE_SAMPLE_RATIO="1") as service:
        await service.ready()
        await one_rig.produce([message(1)])
        await one_rig.has_effects({1})
        assert (await service.end())[0] == 0
    assert [json.loads(line)["name"] for line in spans.read_text().splitlines()] == ["probe process"]


async def test_kill_in_the_middle_doubles_nothing_and_loses_nothing(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(200))
    for _ in range(2):
        before = len(await one_rig.effects())
        async with _service(one_rig, TENURE_BATCH_SIZE="20") as service:

            async def further(before: int = before) -> bool:
                return len(await one_rig.effects()) > before

            await eventually(further, "it went on")
            await service.end(signal.SIGKILL)
    async with _service(one_rig) as service:
        await one_rig.has_effects(range(200))
        await _all_published(one_rig, 200)
        assert (await service.end())[0] == 0
    assert set((await one_rig.effects()).values()) == {1}


async def test_with_everything_away_it_lives_is_not_ready_and_still_stops(one_rig: Rig) -> None:
    away = {
        "TENURE_KAFKA_BOOTSTRAP": f"127.0.0.1:{_free_port()}",
        "TENURE_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{_free_port()}/nothing",
    }
    async with _service(one_rig, **away) as service:

        async def lives() -> bool:
            answer = await service.answers("/livez")
            return answer is not None and answer.status_code == 200

        await eventually(lives, "it answers /livez")
        ready = await service.answers("/readyz")
        assert ready is not None
        assert ready.status_code == 503
        code, log = await service.end()
    assert code == 0
    assert "Traceback" not in log


async def test_what_is_stuck_is_given_back_and_exit_code_three_says_so(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(10))
    for stuck in ("batch", "loop"):
        async with _service(one_rig, PROBE_STUCK=stuck) as service:
            await eventually(lambda: _busy(one_rig), "a batch is running")
            code, log = await service.end()
        assert code == 3, log
        assert "given back" in log
    async with _service(one_rig) as service:
        await one_rig.has_effects(range(10))
        assert (await service.end())[0] == 0
    assert set((await one_rig.effects()).values()) == {1}


async def _busy(one: Rig) -> bool:
    return bool(
        await one.pool.fetchval(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'probe'"
            " and state = 'idle in transaction' and query like 'insert into effect%'"
        )
    )


async def test_a_failed_request_tells_nothing_of_our_inside(one_rig: Rig) -> None:
    async with _service(one_rig) as service:
        await service.ready()
        async with httpx2.AsyncClient() as client:
            answer = await client.get(service.http + "/v1/broken")
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        await service.end()


async def test_a_wrong_setting_is_one_sentence_and_exit_code_two(one_rig: Rig) -> None:
    async with _service(one_rig, TENURE_BATCH_SIZE="many") as service:
        _, stderr = await asyncio.wait_for(service.process.communicate(), GENEROUS)
        assert service.process.returncode == 2
    sentence = stderr.decode().strip()
    assert sentence.count("\n") == 0
    assert sentence.startswith("probe cannot start. TENURE_BATCH_SIZE: ")
    assert sentence.endswith("(greatest number of records in one transaction).")


async def test_a_port_that_is_taken_is_one_sentence_and_exit_code_two(one_rig: Rig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with _service(one_rig, TENURE_HTTP_PORT=str(port)) as service:
            _, stderr = await asyncio.wait_for(service.process.communicate(), GENEROUS)
            assert service.process.returncode == 2
    assert f"TENURE_HTTP_PORT: 127.0.0.1:{port} cannot be used" in stderr.decode()


async def _all_published(one: Rig, count: int) -> None:
    async def published() -> bool:
        found = await read_all(one.bootstrap, one.prefix + RESULTS.name)
        return {int(value or b"-1") for _, _, value in found} == set(range(count))

    await eventually(published, "every effect was published")
