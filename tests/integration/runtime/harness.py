"""What the runtime's integration tests share: a topic, a handler that counts effects, ways to produce and to wait."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataResponse_v0

from contracts.envelope import Envelope, Unreadable
from contracts.topics import Topic
from deploy.databases import DatabaseAccess
from services.runtime.clock import Clock, RealClock
from services.runtime.consumer import BatchConsumer
from services.runtime.postgres import create_pool
from services.runtime.records import Received, Record
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry

_DAY_MS = 86_400_000
REPORTS = Topic("tenure.reports", "id", "ingest", ("probe",), "tests", (), 3, "delete", _DAY_MS)
RESULTS = Topic("tenure.results", "id", "probe", ("probe",), "tests", (), 3, "delete", _DAY_MS)
MOMENT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
GENEROUS = 60.0
PARTITIONS = 3


def envelope(
    number: int, *, source: str = "shop", moment: datetime = MOMENT, traceparent: str | None = None
) -> Envelope:
    """The envelope of the event with this number."""
    event_id = str(uuid.UUID(int=number))
    return Envelope(event_id, source, "tenure.test.happened.v1", event_id, moment, moment, traceparent)


@dataclass(frozen=True, slots=True)
class Message:
    """What a test puts on a topic."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    partition: int | None = None


def message(number: int, *, partition: int | None = None, source: str = "shop", moment: datetime = MOMENT) -> Message:
    """A well-formed event that carries its number."""
    head = envelope(number, source=source, moment=moment)
    return Message(head.id.encode(), orjson.dumps({"number": number}), head.headers(), partition)


async def produce(bootstrap: str, topic: str, messages: Iterable[Message]) -> None:
    """Writes `messages` in order and waits until the broker has acknowledged all."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=5)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, key=m.key, value=m.value, headers=list(m.headers), partition=m.partition)
            for m in messages
        ]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read_all(
    bootstrap: str, topic: str, *, committed: bool = True
) -> list[tuple[int, bytes | None, bytes | None]]:
    """Everything on a topic as (partition, key, value), per partition in order."""
    level = "read_committed" if committed else "read_uncommitted"
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=level, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        found: list[tuple[int, bytes | None, bytes | None]] = []
        while any([await consumer.position(tp) < ends[tp] for tp in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend((record.partition, record.key, record.value) for record in records)
        return found
    finally:
        await consumer.stop()


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits until `condition` holds, generously; fails saying what never came true."""
    try:
        async with asyncio.timeout(GENEROUS):
            while not await condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"never came true: {what}") from None


class Probe:
    """A handler that counts how often each event took effect, and misbehaves as told."""

    def __init__(self) -> None:
        self.poison: set[int] = set()
        self.faults: list[Exception] = []
        self.calls = 0
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.seen_traces: list[str | None] = []

    def decode(self, record: Record) -> Received[int]:
        """Reads the number; everything else is unreadable."""
        head = Envelope.from_headers(record.headers)
        try:
            return Received(record, orjson.loads(record.value or b"")["number"], head)
        except (ValueError, KeyError, TypeError):
            raise Unreadable("bad_body", "the value is no JSON with a number") from None

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
        """Counts the effect of each event."""
        self.calls += 1
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.faults:
            raise self.faults.pop(0)
        self.seen_traces += [one.envelope.traceparent for one in batch]
        await connection.execute(
            "insert into effect (number, seen_at) select unnest($1::bigint[]), $2"
            " on conflict (number) do update set times = effect.times + 1",
            [one.event for one in batch],
            now,
        )
        for one in batch:
            if one.event in self.poison:
                raise ValueError(f"cannot digest {one.event}")


@dataclass
class Rig:
    """One database, one topic prefix, and what runs on them."""

    bootstrap: str
    database: DatabaseAccess
    prefix: str
    pool: asyncpg.Pool
    clock: Clock = field(default_factory=RealClock)

    def settings(self, **changes: object) -> RuntimeSettings:
        """Settings for this rig."""
        given: dict[str, object] = {
            "kafka_bootstrap": self.bootstrap,
            "topic_prefix": self.prefix,
            "database_url": self.database.worker,
        }
        return RuntimeSettings.model_validate(given | changes)

    def consumer(self, probe: Probe, topics: Sequence[Topic] = (REPORTS,), **changes: object) -> BatchConsumer[int]:
        """A consumer of `topics` that hands to `probe`."""
        settings = self.settings(**changes)
        return BatchConsumer(
            service="probe",
            topics=topics,
            handler=probe,
            pool=self.pool,
            settings=settings,
            clock=self.clock,
            telemetry=Telemetry("probe", settings),
        )

    async def produce(self, messages: Iterable[Message], topic: Topic = REPORTS) -> None:
        """Writes to the topic of this rig."""
        await produce(self.bootstrap, self.prefix + topic.name, messages)

    async def effects(self) -> dict[int, int]:
        """How often each number took effect."""
        return {row["number"]: row["times"] for row in await self.pool.fetch("select number, times from effect")}

    async def letters(self) -> list[asyncpg.Record]:
        """The dead letters, oldest first."""
        return await self.pool.fetch(
            "select topic, partition_id, record_offset, record_key, value, header_names, header_values, reason, detail,"
            " handler, source, traceparent from dead_letter order by id"
        )

    async def has_effects(self, numbers: Iterable[int]) -> None:
        """Waits until exactly these took effect."""
        wanted = set(numbers)

        async def all_there() -> bool:
            return set(await self.effects()) == wanted

        await eventually(all_there, "all events took effect")


@asynccontextmanager
async def rig(bootstrap: str, database: DatabaseAccess, prefix: str) -> AsyncIterator[Rig]:
    """A rig whose database has the table of effects."""
    owner = await asyncpg.connect(database.owner)
    await owner.execute(
        "create table effect (number bigint primary key, times int not null default 1, seen_at timestamptz)"
    )
    await owner.execute("grant select, insert, update, delete on effect to tenure_worker")
    await owner.close()
    pool = await create_pool(database.worker, name="probe", max_size=6)
    try:
        yield Rig(bootstrap, database, prefix, pool)
    finally:
        await pool.close()


@asynccontextmanager
async def running(*parts: BatchConsumer[int]) -> AsyncIterator[None]:
    """Runs consumers inside the block."""
    for part in parts:
        await part.start()
    try:
        yield
    finally:
        await asyncio.gather(*(part.stop() for part in parts))


class Door:
    """A TCP port in front of a server, to be shut and opened: how the server goes away and comes back."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._silent = False
        self._muted: set[asyncio.StreamWriter] = set()
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            self.port: int = reserved.getsockname()[1]

    async def open(self) -> None:
        """Lets connections through."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """Cuts every connection and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    def fall_silent(self) -> None:
        """From now on passes nothing on, without a word to anybody: connections stay open and new ones are taken."""
        self._silent = True
        self._muted |= self._writers

    def speak(self) -> None:
        """Lets new connections through; those that were made before or in the silence stay mute."""
        self._silent = False

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._server is None:
            # It was shut while this one was on its way.
            writer.transport.abort()
            there_writer.transport.abort()
            return
        self._writers |= {writer, there_writer}
        if self._silent:
            self._muted |= {writer, there_writer}
        await asyncio.gather(self._pump(reader, there_writer), self._pump(there_reader, writer))
        self._writers -= {writer, there_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                if writer not in self._muted:
                    writer.write(chunk)
                    await writer.drain()
        _close(writer)


class JustStarted:
    """A broker that takes requests and is no member of its cluster yet: it knows of no broker, not even of itself.

    Or only of `brokers`, (number, host, port) of each, and of no topic.
    """

    def __init__(self, *brokers: tuple[int, str, int]) -> None:
        self._brokers = list(brokers)
        self.asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, port: int) -> None:
        """Answers at this port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def die(self) -> None:
        """Goes away and takes all connections along."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                kind, _, number = struct.unpack_from(">hhi", await reader.readexactly(size))
                versions = kind == ApiVersionResponse_v0.API_KEY
                body = (
                    ApiVersionResponse_v0(0, [(kind, 0, 0), (MetadataResponse_v0.API_KEY, 0, 0)])
                    if versions
                    else MetadataResponse_v0(self._brokers, [])
                ).encode()
                writer.write(struct.pack(">ii", len(body) + 4, number) + body)
                if not versions:
                    self.asked.set()


def _close(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        writer.close()
