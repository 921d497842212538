"""Work that no record asks for: figures that change at midnight, and roll-ups of days that were marked dirty."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import date, datetime

import asyncpg
import structlog

from services.metrics.domain.days import CompanyDays
from services.metrics.handlers.restate import Restatement
from services.metrics.handlers.tables import RollUpTable, Tables
from services.runtime.backoff import Backoff
from services.runtime.clock import Clock
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, transaction

_log = structlog.get_logger(__name__)
_CHUNK = 500
_LOOK_SECONDS = 0.5
_SHARE = 4
"""A pass over roll-ups is followed by a rest of so many times its length: they must not starve the consumer."""
_SHORTEST_REST, _LONGEST_REST = 0.25, 10.0
DAYS_AT_ONCE = 100
"""Roll-ups are computed for so many days by one statement: nobody waits for it longer than for an answer."""


class Loop:
    """Calls `step` until it says that nothing is left, then again after `wake` or half a second."""

    def __init__(self, name: str, step: Callable[[], Awaitable[bool]]) -> None:
        self._name = name
        self._step = step
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.status = "running"

    @property
    def stopping(self) -> bool:
        """Whether the running step is the last one."""
        return self._stopping.is_set()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    async def start(self) -> None:
        """Begin; returns at once, also while the database is away."""
        self._task = lasting(self._run(), name=self._name)

    async def stop(self) -> None:
        """Finish the running step."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                again = await self._step()
            except Exception as error:  # noqa: BLE001 - judged below
                # Kept going and shown in /flow: the consumer is not to blame, and what is left undone stays visible.
                self.status = f"waiting: {type(error).__name__}"
                if judge(error) is not Fault.TRANSIENT:
                    _log.error("a background step failed and will be tried again", loop=self._name, exc_info=error)
                await self._rest(backoff.next())
                continue
            backoff.reset()
            self.status = "running"
            if not again:
                await self._rest(_LOOK_SECONDS)

    async def _rest(self, seconds: float) -> None:
        if not self._stopping.is_set():
            try:
                await asyncio.wait_for(self._wake.wait(), seconds)
            except TimeoutError:
                return


class Slides:
    """Wakes accounts whose figures change by themselves, at midnight of the company's zone by the system's clock."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        tables: Tables,
        days: CompanyDays,
        currency: str,
        clock: Clock,
        slid: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._tables = tables
        self._days = days
        self._currency = currency
        self._clock = clock
        self._slid = slid
        self._loop = Loop("slides", self.step)
        self.start, self.stop = self._loop.start, self._loop.stop

    async def step(self) -> bool:
        """Slide some accounts that are due; say whether there were any."""
        now = self._clock.now()
        async with transaction(self._pool) as connection:
            restatement = Restatement(connection, self._tables, self._days, self._currency, now)
            slid = await restatement.begin_due(_CHUNK)
            if slid:
                await self._tables.rollups.mark(connection, await restatement.finish(now, {}))
        if slid:
            self._slid()
        return slid > 0

    async def probe(self, now: datetime) -> Part:
        """Say for `/flow` whether every account has come to the present day."""
        async with acquire(self._pool) as connection:
            due = await self._tables.states.count_due(connection, self._days.day(now))
        if due:
            self._loop.wake()
        return Part(due == 0, None, {"due": due, "status": self._loop.status})


class RollUps:
    """Computes roll-ups of dirty days again. Wake it after every commit that may have marked some."""

    def __init__(self, pool: asyncpg.Pool, table: RollUpTable) -> None:
        self._pool = pool
        self._table = table
        self._rested_until = 0.0
        self._loop = Loop("roll-ups", self.step)
        self.start, self.stop = self._loop.start, self._loop.stop
        self.wake = self._loop.wake

    async def step(self) -> bool:
        """Compute dirty roll-ups, unless the last pass was too short ago; say whether there may be more."""
        wait = self._rested_until - time.monotonic()
        if wait > 0:
            await asyncio.sleep(min(wait, _LOOK_SECONDS))
            return True
        begun, reached, more = time.monotonic(), date.min, True
        while more and not self._loop.stopping:
            reached, more = await self._compute_some(reached)
        ended = time.monotonic()
        self._rested_until = ended + self._rest(ended - begun) if reached > date.min else 0.0
        return reached > date.min

    async def _compute_some(self, reached: date) -> tuple[date, bool]:
        """Compute the first dirty days after `reached`; return the last of them, and whether there are later ones.

        A day that is marked again after its turn waits for the next pass: it keeps no others waiting.
        """
        async with transaction(self._pool) as connection:
            dirty = sorted(await self._table.take_dirty(connection))
            days = [day for day in dirty if day > reached][:DAYS_AT_ONCE]
            if days:
                await self._table.recompute(connection, days)
            await self._table.mark(connection, set(dirty).difference(days))
        return (days[-1], days[-1] < dirty[-1]) if days else (reached, False)

    @staticmethod
    def _rest(took: float) -> float:
        # At least so long that live traffic, where each small batch marks the same few days, shares a pass.
        return min(max(_SHARE * took, _SHORTEST_REST), _LONGEST_REST)

    async def probe(self, now: datetime) -> Part:  # noqa: ARG002 - dirty is dirty at any time
        """Say for `/flow` whether every roll-up is up to date."""
        async with acquire(self._pool) as connection:
            dirty = await self._table.dirty(connection)
        return Part(dirty == 0, None, {"dirty": dirty, "status": self._loop.status})
