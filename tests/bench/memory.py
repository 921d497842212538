"""`python -m tests.bench.memory`: how much memory a consumer takes that is far behind, and ingest under a flood.

*behind*: a consumer meets a backlog of many small records and one of few large ones, then four times as much of each.
*flood*: ingest while hundreds of connections send bodies of almost 1 MiB at once, most of them slowly. Real Kafka
and PostgreSQL; resident memory as the operating system counts it, sampled ten times a second.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import psutil

from contracts.envelope import Envelope
from contracts.topics import INTERACTIONS
from deploy.local.processes import free_port
from services.runtime import logs
from services.runtime.clock import RealClock
from services.runtime.consumer import BatchConsumer
from services.runtime.postgres import create_pool
from services.runtime.records import Received, Record
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from tests.bench.company import LAST_MOMENT
from tests.bench.ground import Ground, prepared
from tests.bench.stream import Outgoing, produce

BEHIND = ((100_000, 600), (400_000, 600), (600, 400_000), (2400, 400_000))
"""(records, bytes of each): four times the backlog must not take more memory."""
_CONNECTIONS = 600
_BODY = b"x" * 1_000_000
_FLOOD_SECONDS = 20.0
_MIB = 2**20


class Swallowing:
    """Reads every record whole, and does one statement for each batch."""

    def decode(self, record: Record) -> Received[int]:
        """Keep the size."""
        return Received(record, len(record.value or b""), Envelope.from_headers(record.headers))

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:  # noqa: ARG002 - as every handler
        """Ask the database for a sum."""
        await connection.fetchval("select sum(n) from unnest($1::bigint[]) as n", [one.event for one in batch])


async def drain(bootstrap: str, prefix: str, database: str, records: int) -> None:
    """Consumes so many records in this process."""
    settings = RuntimeSettings(kafka_bootstrap=bootstrap, topic_prefix=prefix, database_url=database)
    pool = await create_pool(database)
    telemetry = Telemetry("accounts", settings)
    consumer = BatchConsumer(
        service="accounts",
        topics=[INTERACTIONS],
        handler=Swallowing(),
        pool=pool,
        settings=settings,
        clock=RealClock(),
        telemetry=telemetry,
    )
    await consumer.start()
    done = 0.0
    while done < records:
        await asyncio.sleep(0.1)
        done = sum(s.value for f in telemetry.metrics.records.collect() for s in f.samples if s.name.endswith("_total"))
    await consumer.stop()
    await pool.close()


@asynccontextmanager
async def sampled(pid: int) -> AsyncIterator[list[int]]:
    """Resident bytes of a process, ten times a second, while the block runs."""
    found: list[int] = []

    async def sample() -> None:
        while True:
            try:
                found.append(psutil.Process(pid).memory_info().rss)
            except psutil.NoSuchProcess:
                return
            await asyncio.sleep(0.1)

    task = asyncio.create_task(sample())
    try:
        yield found
    finally:
        task.cancel()


async def behind(ground: Ground, count: int, size: int) -> str:
    """Measures a consumer that meets `count` records of `size` bytes."""
    prefix = ground.topics((INTERACTIONS,), partitions=24)
    head = [*Envelope("e", "shop", "tenure.test.v1", "s", LAST_MOMENT, LAST_MOMENT, None).headers()]
    filler = os.urandom(size)
    await produce(
        ground.kafka,
        prefix + INTERACTIONS.name,
        (Outgoing(b"%d" % number, filler, head, lane=number) for number in range(count)),
    )
    worker = ground.database("accounts").worker
    arguments = ["behind", ground.kafka, prefix, worker, str(count)]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.memory", *arguments)
    async with sampled(process.pid) as found:
        assert await process.wait() == 0
    started = max(found[:15])
    return (
        f"behind by {count} records of {size} bytes ({count * size // _MIB} MiB): {started // _MIB} MiB at start,"
        f" at most {max(found) // _MIB} MiB"
    )


async def flood(ground: Ground, directory: Path) -> str:
    """Measures ingest while hundreds of clients send large bodies at once, and whether a small request is answered."""
    prefix = ground.topics((INTERACTIONS,), partitions=24)
    secret = directory / "desk.secret"
    secret.write_text("a-secret")
    sources = directory / "sources.toml"
    sources.write_text('[sources.desk]\nprovider = "zendesk"\nsystem = "zendesk:x"\nsecret_files = ["desk.secret"]\n')
    http, operations = free_port(), free_port()
    settings = {
        "KAFKA_BOOTSTRAP": ground.kafka,
        "TOPIC_PREFIX": prefix,
        "DATABASE_URL": ground.database("ingest").worker,
        "SOURCES_FILE": str(sources),
        "HTTP_PORT": str(http),
        "OPERATIONS_PORT": str(operations),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ingest.app"), env=_environment(settings), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _ready(operations)
        before = psutil.Process(process.pid).memory_info().rss
        answers: dict[int, int] = {}
        async with sampled(process.pid) as found:
            clients = [asyncio.create_task(_push(http, n, answers)) for n in range(_CONNECTIONS)]
            small = await _knock(http, _FLOOD_SECONDS)
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)
        return (
            f"flood of {_CONNECTIONS} connections: {before // _MIB} MiB before, at most {max(found) // _MIB} MiB; large"
            f" bodies answered {dict(sorted(answers.items()))}; small requests meanwhile {small}"
        )
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _push(port: int, number: int, answers: dict[int, int]) -> None:
    """One client that sends large bodies without end: every fourth at full speed, the others in drops."""
    head = (
        b"POST /v1/webhooks/desk HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % len(_BODY)
    )
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            step = len(_BODY) if number % 4 == 0 else 50_000
            for start in range(0, len(_BODY), step):
                writer.write(_BODY[start : start + step])
                await writer.drain()
                await asyncio.sleep(0 if number % 4 == 0 else 0.5)
            status = int((await reader.readline()).split()[1])
            answers[status] = answers.get(status, 0) + 1
            writer.close()
        except (OSError, IndexError):
            answers[0] = answers.get(0, 0) + 1
            await asyncio.sleep(0.1)


async def _knock(port: int, seconds: float) -> dict[int, int]:
    """Small requests of an honest client for so long; 401 is what an unsigned one is told."""
    told: dict[int, int] = {}
    ends = asyncio.get_running_loop().time() + seconds
    async with httpx2.AsyncClient(timeout=30) as client:
        while asyncio.get_running_loop().time() < ends:
            try:
                status = (await client.post(f"http://127.0.0.1:{port}/v1/webhooks/desk", json={})).status_code
            except httpx2.TransportError:
                status = 0
            told[status] = told.get(status, 0) + 1
            await asyncio.sleep(0.05)
    return told


async def _ready(port: int) -> None:
    async with asyncio.timeout(60), httpx2.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                    return
            except httpx2.TransportError:
                pass
            await asyncio.sleep(0.1)


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {**kept, **{f"TENURE_{name}": value for name, value in settings.items()}}


async def _measure(ground: Ground, directory: Path) -> None:
    for count, size in BEHIND:
        _say(await behind(ground, count, size))
    _say(await flood(ground, directory))


def _say(line: Any) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command


def main(words: Sequence[str]) -> None:
    """Measures everything, or is the consumer that is measured."""
    logs.configure("bench", "error")
    if words:
        _, bootstrap, prefix, database, records = words
        asyncio.run(drain(bootstrap, prefix, database, int(records)))
        return
    with tempfile.TemporaryDirectory(prefix="tenure-memory-") as place:
        directory = Path(place)
        directory.chmod(0o711)
        with prepared(directory / "servers", lambda _: None) as ground, ground.cleared():
            asyncio.run(_measure(ground, directory))


if __name__ == "__main__":
    main(sys.argv[1:])
