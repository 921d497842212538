"""Tables filled anew beside the live ones, from what is republished, and put in their place while traffic flows.

The shadow tables (schema `rebuild`) are filled by a handler of the service, from records that are read outside its
consumer group: everything from a moment before the republish began, and whole topics that nobody republishes. When that
is through, the live consumer is held for a moment, both sides are brought to the same offsets, and the service puts the
new content in place of the old in one transaction. Whatever interrupts it, it goes on from offsets in the database.

A service that uses it has the table `rebuild_run` among its migrations (see those of the notifier).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

import asyncpg
import orjson
import structlog
import uuid6

from contracts.topics import Topic
from services.runtime import offsets
from services.runtime.backoff import Backoff, pause
from services.runtime.clock import Clock
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.offsets import Partition
from services.runtime.postgres import acquire, transaction
from services.runtime.processing import BatchProcessor
from services.runtime.records import BatchHandler
from services.runtime.rereading import Rereader
from services.runtime.session_locks import SESSIONS_OF_SILENCE, held
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks

_LOOK_SECONDS = 0.5
_NEAR = 1000
"""Offsets behind the live consumer from which on it may be held."""
_LEASE = 0x5245425549
"""Advisory lock of the process that works on a rebuild."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """One rebuild. `positions`: where reading began; `targets`: where what was republished ends, None until said."""

    rebuild_id: str
    phase: Literal["filling", "swapped", "abandoned"]
    begun_at: datetime
    positions: Mapping[Partition, int]
    targets: Mapping[Partition, int] | None
    ended_at: datetime | None
    report: Mapping[str, Any] | None


class ShadowTables(Protocol):
    """What the service's store does to its tables, live and shadow."""

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Make empty shadow tables."""
        ...

    async def drop(self, connection: asyncpg.Connection) -> None:
        """Drop the shadow tables of a rebuild that was given up, and what the last one left."""
        ...

    async def hold(self, connection: asyncpg.Connection) -> None:
        """Keep others from changing what is derived, until the transaction ends; reading goes on."""
        ...

    async def swap(self, connection: asyncpg.Connection, now: datetime) -> Mapping[str, Any]:
        """Let what is in the shadow tables be what is live from now on; return what differed, as JSON values."""
        ...


class Rebuild:
    """Begins rebuilds and works on the one that is under way, in one replica at a time.

    `pool` sees the live tables, `shadow` (search path `rebuild`) the new ones. Of the topics in `whole` everything that
    they keep is read, because nobody republishes them. `handler` fills the tables; when everything republished is in,
    `filled` is awaited, and what comes then goes through `following` (None: the same). `swapped` is called at the end.
    """

    def __init__(
        self,
        *,
        service: str,
        settings: RuntimeSettings,
        topics: Sequence[Topic],
        whole: Sequence[Topic],
        handler: BatchHandler[Any],
        tables: ShadowTables,
        pool: asyncpg.Pool,
        shadow: asyncpg.Pool,
        clock: Clock,
        telemetry: Telemetry,
        swapped: Callable[[], None],
        following: BatchHandler[Any] | None = None,
        filled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._settings = settings
        self._live_group = settings.physical(service)
        self._group = settings.physical(f"{service}-rebuild")
        self._topics = tuple(topics)
        self._whole = frozenset(topic.name for topic in whole)
        self._names = {settings.physical(topic.name): topic.name for topic in topics}
        self._watermarks = Watermarks(settings)
        self._pool, self._tables, self._clock, self._swapped = pool, tables, clock, swapped
        self._filled = filled
        self._filling, self._following = (
            BatchProcessor[Any](
                service=service,
                group=self._group,
                topics=topics,
                handler=each,
                pool=shadow,
                clock=clock,
                telemetry=telemetry,
                fault_threshold=settings.fault_threshold,
            )
            for each in (handler, following or handler)
        )
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.status = "resting"

    # What operators ask for.

    async def begin(self) -> Run:
        """Begin a rebuild, or return the one that is under way. Republish only afterwards."""
        bounds = await self._watermarks.ends(self._names)
        positions = {
            partition: first if partition[0] in self._whole else end for partition, (first, end) in bounds.items()
        }
        async with transaction(self._pool) as connection:
            run = await _latest(connection)
            if run is None or run.phase != "filling":
                await _begin(connection, self._clock.now(), positions, self._group)
                await self._tables.begin(connection)
                run = await _latest(connection)
        self._wake.set()
        assert run is not None  # noqa: S101 - it was just written
        return run

    async def republished(self) -> Run | None:
        """Take note that everything has been republished and is on the topics by now."""
        ends = {partition: end for partition, (_, end) in (await self._watermarks.ends(self._names)).items()}
        async with transaction(self._pool) as connection:
            run = await _latest(connection)
            if run is not None and run.phase == "filling":
                await _set_targets(connection, run.rebuild_id, ends)
                run = await _latest(connection)
        self._wake.set()
        return run

    async def abandon(self) -> Run | None:
        """Give up what is under way and drop what it filled; else drop what the last one left."""
        async with transaction(self._pool) as connection:
            run = await _latest(connection)
            if run is not None and run.phase == "filling":
                await _end(connection, run.rebuild_id, "abandoned", self._clock.now(), None)
        # Whoever works on it sees that with the next batch, and gives the lease back: nobody uses the tables any more.
        async with transaction(self._pool) as connection:
            await _await_lease(connection)
            await _forget_offsets(connection, self._group)
            await self._tables.drop(connection)
            return await _latest(connection)

    async def describe(self) -> dict[str, Any] | None:
        """Return the last rebuild as JSON values: where it is, how many offsets are done and left, what differed."""
        async with acquire(self._pool) as connection:
            run = await _latest(connection)
            if run is None:
                return None
            done = await offsets.load(connection, self._group, list(self._names.values()))
        shown: dict[str, Any] = {"rebuild_id": run.rebuild_id, "phase": run.phase, "begun_at": run.begun_at.isoformat()}
        if run.phase == "filling":
            ends = run.targets
            if ends is None:
                ends = {partition: end for partition, (_, end) in (await self._watermarks.ends(self._names)).items()}
            at = {partition: position.next_offset for partition, position in done.items()}
            shown["republished"] = run.targets is not None
            shown["done"] = sum(at.get(partition, begun) - begun for partition, begun in run.positions.items())
            shown["left"] = sum(max(0, end - at.get(partition, end)) for partition, end in ends.items())
            shown["status"] = self.status
        if run.ended_at is not None:
            shown["ended_at"] = run.ended_at.isoformat()
        return shown if run.report is None else shown | {"found": run.report}

    async def probe(self, now: datetime) -> Part:  # noqa: ARG002 - a rebuild holds up nothing
        """Say for `/flow` what it does."""
        return Part(drained=True, horizon=None, details={"status": self.status})

    # The work.

    async def start(self) -> None:
        """Begin to look for work; returns at once."""
        self._task = lasting(self._run(), name="rebuild")

    async def stop(self) -> None:
        """Finish the running batch."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._watermarks.close()

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - judged below; whatever it is, the live tables are untouched
                self.status = f"waiting: {type(error).__name__}: {error}"[:300]
                if judge(error) is not Fault.TRANSIENT:
                    _log.error("a rebuild failed and will be tried again", exc_info=error)
                await pause(self._stopping, backoff.next())
                continue
            backoff.reset()
            self.status = "resting"
            await pause(self._wake, _LOOK_SECONDS)

    async def _look(self) -> None:
        async with acquire(self._pool) as connection:
            run = await _latest(connection)
        if run is None or run.phase != "filling":
            return
        async with held(self._pool, _LEASE, silence=SESSIONS_OF_SILENCE * self._settings.session_seconds) as ours:
            if ours:
                await self._work(run)
            else:
                self.status = "waiting: another replica works on it"

    async def _work(self, run: Run) -> None:
        if await self._current(run) is None:
            return
        async with acquire(self._pool) as connection:
            stored = await offsets.load(connection, self._group, list(self._names.values()))
        positions = {partition: stored[partition].next_offset for partition in run.positions}
        async with Rereader(self._settings, self._topics, positions) as reader:
            if not await self._fill(run, reader):
                return
            if self._filled is not None:
                self.status = "comparing"
                await self._filled()
            while not self._stopping.is_set():
                live = await self._live(run)
                await self._follow(reader, live, once=True)
                if reader.behind(live) < _NEAR and await self._swap(run, reader):
                    self._swapped()
                    return
                if await self._current(run) is None:
                    return

    async def _current(self, run: Run) -> Run | None:
        async with acquire(self._pool) as connection:
            found = await _latest(connection)
        return found if found is not None and found.rebuild_id == run.rebuild_id and found.phase == "filling" else None

    async def _fill(self, run: Run, reader: Rereader) -> bool:
        """Read until everything that was republished is in; False when asked to stop or nobody wants it any more."""
        while not self._stopping.is_set():
            current = await self._current(run)
            if current is None:
                return False
            if current.targets is not None and not reader.behind(current.targets):
                return True
            self.status = "filling" if current.targets is not None else "filling while it is republished"
            records, moved = await reader.fetch(self._settings.batch_size)
            if moved:
                await self._filling.process(records, moved)
        return False

    async def _live(self, run: Run) -> dict[Partition, int]:
        async with acquire(self._pool) as connection:
            done = await offsets.load(connection, self._live_group, list(self._names.values()))
        return {partition: done[partition].next_offset for partition in run.positions if partition in done}

    async def _follow(self, reader: Rereader, live: Mapping[Partition, int], *, once: bool = False) -> None:
        """Come to where the live consumer is; `once`: one fetch towards it."""
        while reader.behind(live) and not self._stopping.is_set():
            records, moved = await reader.fetch(self._settings.batch_size, live)
            if moved:
                await self._following.process(records, moved)
            if once:
                return

    async def _swap(self, run: Run, reader: Rereader) -> bool:
        """Hold the live consumer, come to where it is, swap; False when that must be tried again."""
        self.status = "swapping"
        async with transaction(self._pool) as connection:
            await connection.execute("set local idle_in_transaction_session_timeout = '5min'")
            live = await offsets.lock(connection, self._live_group, run.positions)
            if any(reader.positions[partition] > offset for partition, offset in live.items()):
                self.status = "waiting: the live consumer is behind"
                await pause(self._stopping, _LOOK_SECONDS)
                return False
            await self._follow(reader, live)
            if self._stopping.is_set():
                return False
            await self._tables.hold(connection)
            now = self._clock.now()
            report = await self._tables.swap(connection, now)
            if not await _end(connection, run.rebuild_id, "swapped", now, report):
                raise _Unwanted
            await _forget_offsets(connection, self._group)
        _log.info("rebuilt", rebuild=run.rebuild_id, **report)
        return True


class _Unwanted(Exception):
    """Somebody abandoned the rebuild while its tables were being swapped: nothing of the swap is kept."""


async def _latest(connection: asyncpg.Connection) -> Run | None:
    # A handful of rows.
    row = await connection.fetchrow(
        "select rebuild_id, phase, begun_at, positions::text, targets::text, ended_at, report::text from rebuild_run"
        " order by begun_at desc, rebuild_id desc limit 1"
    )
    if row is None:
        return None
    report = None if row[6] is None else orjson.loads(row[6])
    return Run(row[0], row[1], row[2], _load(row[3]) or {}, _load(row[4]), row[5], report)


async def _begin(connection: asyncpg.Connection, now: datetime, positions: Mapping[Partition, int], group: str) -> None:
    # Of two who begin at once, one is refused here by the unique index.
    await connection.execute(
        "insert into rebuild_run (rebuild_id, phase, begun_at, positions) values ($1, 'filling', $2, $3::text::json)",
        str(uuid6.uuid7()),
        now,
        _dump(positions),
    )
    await _forget_offsets(connection, group)
    # Where it reads next is kept where every consumer keeps it.
    await connection.executemany(
        "insert into kafka_offset (consumer_group, topic, partition_id, next_offset) values ($1, $2, $3, $4)",
        [(group, topic, number, offset) for (topic, number), offset in sorted(positions.items())],
    )


async def _set_targets(connection: asyncpg.Connection, rebuild_id: str, targets: Mapping[Partition, int]) -> None:
    # The first word stands.
    await connection.execute(
        "update rebuild_run set targets = $2::text::json where rebuild_id = $1 and targets is null",
        rebuild_id,
        _dump(targets),
    )


async def _end(
    connection: asyncpg.Connection, rebuild_id: str, phase: str, now: datetime, report: Mapping[str, Any] | None
) -> bool:
    # Of a swap and an abandonment at once, one comes first.
    ended = await connection.fetchval(
        "update rebuild_run set phase = $2, ended_at = $3, report = $4::text::json"
        " where rebuild_id = $1 and phase = 'filling' returning true",
        rebuild_id,
        phase,
        now,
        None if report is None else orjson.dumps(report).decode(),
    )
    return bool(ended)


async def _forget_offsets(connection: asyncpg.Connection, group: str) -> None:
    # A row for each partition.
    await connection.execute("delete from kafka_offset where consumer_group = $1", group)


async def _await_lease(connection: asyncpg.Connection) -> None:
    # Until the transaction ends.
    await connection.execute("select pg_advisory_xact_lock($1)", _LEASE)


def _dump(positions: Mapping[Partition, int]) -> str:
    return orjson.dumps([[topic, number, offset] for (topic, number), offset in sorted(positions.items())]).decode()


def _load(text: str | None) -> dict[Partition, int] | None:
    return None if text is None else {(topic, number): offset for topic, number, offset in orjson.loads(text)}
