"""Fills new tables from what accounts publishes anew, compares them with the live ones, and swaps them.

The new tables (schema `rebuild`) are filled by the live handler, from records that are read outside the consumer group:
everything from a moment before the republish began. When all of it is through, the live consumer is held for a moment,
both sides are brought to the same offsets and the same day, what differs is noted, and the new tables take the place
of the old ones in one transaction. Whatever is interrupted goes on from the offsets in the database.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

import asyncpg
import structlog
import uuid6

from contracts.topics import ACCOUNTS, ACTIVITY, Topic
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.rebuild import Differences, Partition, Run
from services.metrics.handlers.batch import Handlers
from services.metrics.handlers.restate import Outlet, Restatement
from services.metrics.handlers.tables import RollUpTable, Tables
from services.runtime import offsets
from services.runtime.backoff import Backoff, pause
from services.runtime.clock import Clock
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.postgres import acquire, transaction
from services.runtime.processing import BatchProcessor
from services.runtime.rereading import Rereader
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks

TOPICS: tuple[Topic, ...] = (ACCOUNTS, ACTIVITY)
_CHUNK = 500
_DAYS = 100
"""Roll-ups are computed for so many days by one statement."""
_LOOK_SECONDS = 0.5
_NEAR = 1000
"""Offsets behind the live consumer from which on it may be held."""
_TRIES = 40
_TRY_SECONDS = 0.05
_FIRST_ID = "00000000-0000-0000-0000-000000000000"
_log = structlog.get_logger(__name__)


class RebuildTable(Protocol):
    """What a rebuild asks of the tables; `store.rebuilds` is one answer."""

    async def latest(self, connection: asyncpg.Connection) -> Run | None:
        """Return the rebuild that began last."""
        ...

    async def begin(
        self,
        connection: asyncpg.Connection,
        rebuild_id: str,
        now: datetime,
        positions: Mapping[Partition, int],
        group: str,
    ) -> None:
        """Make empty tables and note where reading begins."""
        ...

    async def set_targets(
        self, connection: asyncpg.Connection, rebuild_id: str, targets: Mapping[Partition, int]
    ) -> None:
        """Note up to where what was republished lies."""
        ...

    async def abandon(self, connection: asyncpg.Connection, rebuild_id: str, now: datetime, group: str) -> bool:
        """Give up; say whether there was something to give up."""
        ...

    async def drop_retired(self, connection: asyncpg.Connection) -> None:
        """Drop the tables that the last rebuild replaced."""
        ...

    async def take_lease(self, connection: asyncpg.Connection) -> bool:
        """Become the one who works on rebuilds."""
        ...

    async def carry_tombstones(self, connection: asyncpg.Connection) -> None:
        """Keep what is known to be withdrawn."""
        ...

    async def hold(self, connection: asyncpg.Connection) -> None:
        """Keep others from the accounts."""
        ...

    async def differences(self, connection: asyncpg.Connection) -> Differences:
        """Compare."""
        ...

    async def swap(self, connection: asyncpg.Connection, *, patient: bool) -> None:
        """Put the new tables in the place of the old ones."""
        ...

    async def forget_digests(self, connection: asyncpg.Connection, accounts: list[str]) -> None:
        """Make accounts be published again."""
        ...

    async def forget_offsets(self, connection: asyncpg.Connection, group: str) -> None:
        """Remove a group's offsets."""
        ...

    async def end(self, connection: asyncpg.Connection, rebuild_id: str, now: datetime, found: Differences) -> bool:
        """Note the end."""
        ...


class Rebuild:
    """Begins rebuilds and works on the one that is under way, in one replica at a time.

    `pool` sees the live tables, `shadow` (search path `rebuild`, nothing else) the new ones.
    """

    def __init__(
        self,
        *,
        service: str,
        settings: RuntimeSettings,
        pool: asyncpg.Pool,
        shadow: asyncpg.Pool,
        table: RebuildTable,
        tables: Tables,
        days: CompanyDays,
        currency: str,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._live_group = settings.physical(service)
        self._group = settings.physical(f"{service}-rebuild")
        self._names = {settings.physical(topic.name): topic.name for topic in TOPICS}
        self._watermarks = Watermarks(settings)
        self._pool, self._shadow, self._table, self._tables = pool, shadow, table, tables
        self._days, self._currency, self._clock = days, currency, clock
        self._processors = {
            outlet: BatchProcessor(
                service=service,
                group=self._group,
                topics=TOPICS,
                handler=Handlers(tables, days, currency, outlet),
                pool=shadow,
                clock=clock,
                telemetry=telemetry,
                fault_threshold=settings.fault_threshold,
            )
            for outlet in (Outlet.NONE, Outlet.NOTE)
        }
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.status = "resting"

    # What operators ask for.

    async def begin(self) -> Run:
        """Begin a rebuild, or return the one that is under way. Republish only afterwards."""
        ends = {partition: end for partition, (_, end) in (await self._watermarks.ends(self._names)).items()}
        async with transaction(self._pool) as connection:
            run = await self._table.latest(connection)
            if run is None or run.phase != "filling":
                await self._table.begin(connection, str(uuid6.uuid7()), self._clock.now(), ends, self._group)
                run = await self._table.latest(connection)
        self._wake.set()
        assert run is not None  # noqa: S101 - it was just written
        return run

    async def republished(self) -> Run | None:
        """Take note that everything has been republished and is on the topics by now."""
        ends = {partition: end for partition, (_, end) in (await self._watermarks.ends(self._names)).items()}
        async with transaction(self._pool) as connection:
            run = await self._table.latest(connection)
            if run is not None and run.phase == "filling":
                await self._table.set_targets(connection, run.rebuild_id, ends)
                run = await self._table.latest(connection)
        self._wake.set()
        return run

    async def abandon(self) -> Run | None:
        """Give up what is under way and drop what it filled; else drop what the last one replaced."""
        async with transaction(self._pool) as connection:
            run = await self._table.latest(connection)
            if run is not None and run.phase == "filling":
                await self._table.abandon(connection, run.rebuild_id, self._clock.now(), self._group)
            else:
                await self._table.drop_retired(connection)
            return await self._table.latest(connection)

    async def describe(self) -> dict[str, Any] | None:
        """Return the last rebuild as JSON values: where it is, how many offsets are done and left, what differed."""
        async with acquire(self._pool) as connection:
            run = await self._table.latest(connection)
            if run is None:
                return None
            done = await offsets.load(connection, self._group, [topic.name for topic in TOPICS])
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
        self._task = asyncio.create_task(self._run(), name="rebuild")

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
            run = await self._table.latest(connection)
            if run is None or run.phase != "filling":
                return
            if not await self._table.take_lease(connection):
                self.status = "waiting: another replica works on it"
                return
            # The pool gives locks of a session back together with the connection.
            await self._work(run)

    async def _work(self, run: Run) -> None:
        async with acquire(self._pool) as connection:
            stored = await offsets.load(connection, self._group, [topic.name for topic in TOPICS])
        positions = {partition: stored[partition].next_offset for partition in run.positions}
        async with Rereader(self._settings, TOPICS, positions) as reader:
            if not await self._fill(run, reader):
                return
            self.status = "comparing"
            async with transaction(self._shadow) as connection:
                await self._table.carry_tombstones(connection)
            await self._seal()
            await self._roll_up()
            while not self._stopping.is_set():
                live = await self._live(run)
                await self._follow(reader, live, once=True)
                if reader.behind(live) < _NEAR and await self._swap(run, reader):
                    return
                if (await self._current(run)) is None:
                    return

    async def _current(self, run: Run) -> Run | None:
        async with acquire(self._pool) as connection:
            found = await self._table.latest(connection)
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
                await self._processors[Outlet.NONE].process(records, moved)
        return False

    async def _live(self, run: Run) -> dict[Partition, int]:
        async with acquire(self._pool) as connection:
            done = await offsets.load(connection, self._live_group, [topic.name for topic in TOPICS])
        return {partition: done[partition].next_offset for partition in run.positions if partition in done}

    async def _follow(self, reader: Rereader, live: Mapping[Partition, int], *, once: bool = False) -> None:
        """Come to where the live consumer is; `once`: one fetch towards it."""
        while not self._stopping.is_set():
            records, moved = await reader.fetch(self._settings.batch_size, live)
            if moved:
                await self._processors[Outlet.NOTE].process(records, moved)
            if once or not reader.behind(live):
                return

    async def _seal(self) -> None:
        """Bring every account to the present day and note what its figures say."""
        account: str | None = _FIRST_ID
        while account is not None and not self._stopping.is_set():
            async with transaction(self._shadow) as connection:
                restatement = self._restatement(connection, self._clock.now(), Outlet.NOTE)
                account = await restatement.begin_after(account, _CHUNK)
                if account is not None:
                    await self._tables.rollups.mark(connection, await restatement.finish(self._clock.now(), {}))

    def _restatement(self, connection: asyncpg.Connection, now: datetime, outlet: Outlet) -> Restatement:
        return Restatement(connection, self._tables, self._days, self._currency, now, outlet)

    async def _roll_up(self) -> None:
        async with transaction(self._shadow) as connection:
            await _recompute(connection, self._tables.rollups)

    async def _swap(self, run: Run, reader: Rereader) -> bool:
        """Hold the live consumer, come level with it, compare and swap; False when it must be tried again."""
        self.status = "swapping"
        async with transaction(self._pool) as connection:
            live = await offsets.lock(connection, self._live_group, run.positions)
            if any(reader.positions[partition] > offset for partition, offset in live.items()):
                self.status = "waiting: the consumer of metrics is behind"
                return False
            await self._table.hold(connection)
            await self._follow(reader, live)
            now = self._clock.now()
            await self._slide(now)
            await self._roll_up()
            await self._settle(connection, now)
            if self._stopping.is_set():
                return False
            found = await self._table.differences(connection)
            if not await self._table.end(connection, run.rebuild_id, now, found):
                return False
            await self._swap_tables(connection)
            await self._publish(connection, list(found.different), now)
            await self._table.forget_offsets(connection, self._group)
        _log.info("rebuilt", rebuild=run.rebuild_id, accounts=found.accounts, different=len(found.different))
        return True

    async def _slide(self, now: datetime) -> None:
        slid = 1
        while slid:
            async with transaction(self._shadow) as connection:
                restatement = self._restatement(connection, now, Outlet.NOTE)
                slid = await restatement.begin_due(_CHUNK)
                await self._tables.rollups.mark(connection, await restatement.finish(now, {}))

    async def _settle(self, connection: asyncpg.Connection, now: datetime) -> None:
        """Bring the live tables to the same day, as the loops would do a little later."""
        slid = 1
        while slid:
            restatement = self._restatement(connection, now, Outlet.PUBLISH)
            slid = await restatement.begin_due(_CHUNK)
            await self._tables.rollups.mark(connection, await restatement.finish(now, {}))
        await _recompute(connection, self._tables.rollups)

    async def _swap_tables(self, connection: asyncpg.Connection) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with connection.transaction():
                    return await self._table.swap(connection, patient=attempt == _TRIES)
            except asyncpg.LockNotAvailableError:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(_TRY_SECONDS)
        return None

    async def _publish(self, connection: asyncpg.Connection, accounts: list[str], now: datetime) -> None:
        """Publish what was found to differ; an account that nothing is known of any more with figures of nothing."""
        for place in range(0, len(accounts), _CHUNK):
            chunk = accounts[place : place + _CHUNK]
            await self._table.forget_digests(connection, chunk)
            restatement = self._restatement(connection, now, Outlet.PUBLISH)
            await restatement.begin(chunk)
            await restatement.finish(now, {})


async def _recompute(connection: asyncpg.Connection, rollups: RollUpTable) -> None:
    days = sorted(await rollups.take_dirty(connection))
    for place in range(0, len(days), _DAYS):
        await rollups.recompute(connection, days[place : place + _DAYS])
