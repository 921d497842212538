"""Keeps what sources sent in the database, off the hot path, and says it to `/flow`."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from contracts.envelope import format_instant
from services.ingest import store
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.source import Source
from services.ingest.statistics import Statistics
from services.runtime.clock import Clock, RealClock
from services.runtime.flow import Part
from services.runtime.postgres import acquire, transaction

_EVERY_SECONDS = 5.0
_DATABASE_FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SourceReport:
    """Writes tallies down every few seconds and answers for all sources. Without a database it counts on in memory."""

    pool: asyncpg.Pool
    statistics: Statistics
    sources: Mapping[str, Source]
    clock: Clock
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to write tallies down."""
        self._task = asyncio.create_task(self._run(), name="source report")

    async def stop(self) -> None:
        """Write down what is left."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(*_DATABASE_FAULTS):
            await asyncio.wait_for(self.flush(), _EVERY_SECONDS)

    async def flush(self) -> None:
        """Add what was counted to the database; raises its faults, and nothing is lost by that."""
        taken = self.statistics.take()
        if not taken:
            return
        try:
            async with transaction(self.pool) as connection:
                await store.add_statistics(connection, taken)
        except BaseException:
            self.statistics.give_back(taken)
            raise

    async def part(self, now: datetime) -> Part:
        """Return what `/flow` says about every configured source.

        A polled source's horizon is the clock before its last good pass; that of one which delivers by itself is its
        last delivery, because nobody can know what it has not sent.
        """
        await self.flush()
        async with acquire(self.pool) as connection:
            sums = await store.load_statistics(connection)
            passes = await store.load_passes(connection)
        details: dict[str, Any] = {}
        drained = True
        for name, source in self.sources.items():
            polled = isinstance(source.configuration.options, ImapOptions)
            seen = passes.get(name, store.Pass(None, "waiting: no pass yet"))
            described = _described(source, sums.get(name), seen if polled else None)
            details[name] = described
            drained = drained and not self._is_behind(source, seen, now)
        return Part(drained, details=details)

    def _is_behind(self, source: Source, seen: store.Pass, now: datetime) -> bool:
        """A mailbox that cannot be read is not behind: it is broken, and its horizon says since when."""
        options = source.configuration.options
        if not isinstance(options, ImapOptions) or seen.status.startswith("broken"):
            return False
        # A simulated clock stands still between steps, a real one never does.
        slack = timedelta(seconds=2 * options.poll_seconds) if isinstance(self.clock, RealClock) else timedelta()
        return seen.horizon is None or seen.horizon < now - slack

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                await self.flush()
            except _DATABASE_FAULTS as error:
                _log.warning("statistics wait for the database", error=type(error).__name__)


def _described(source: Source, sums: store.StoredStatistic | None, seen: store.Pass | None) -> dict[str, Any]:
    last = None if sums is None else sums.last_delivery
    horizon = last if seen is None else seen.horizon
    return {
        "provider": source.configuration.provider,
        "polled": seen is not None,
        "horizon": None if horizon is None else format_instant(horizon),
        "last_delivery": None if last is None else format_instant(last),
        "status": "ok" if seen is None else seen.status,
        "accepted": 0 if sums is None else sums.accepted,
        "unmapped": 0 if sums is None else sums.unmapped,
        "ignored": 0 if sums is None else sums.ignored,
        "rejected": {} if sums is None else dict(sums.rejected),
    }
