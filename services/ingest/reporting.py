"""Keeps what sources sent in the database, off the hot path, and says how they stand."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import holidays
import structlog

from services.ingest import store, store_mailbox, store_tokens
from services.ingest.domain.options import PolledOptions
from services.ingest.domain.rhythm import WINDOW_WEEKS, NotYet, Rhythm, Weeks, learn
from services.ingest.domain.source import Source
from services.ingest.standing import Standing, judged
from services.ingest.statistics import Statistics
from services.runtime.clock import Clock, RealClock
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, transaction
from services.runtime.telemetry import Metrics

_EVERY_SECONDS = 5.0
_METRICS_EVERY = 6
"""Rounds of writing down between two readings for metrics."""
_ABSENT_AFTER = timedelta(minutes=10)
"""While nobody was there to open for so long, no source can be called silent."""
_BY_HAND = frozenset({"import", "folder"})
_DATABASE_FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SourceReport:
    """Writes tallies down every few seconds and answers for all sources. Without a database it counts on in memory."""

    pool: asyncpg.Pool
    statistics: Statistics
    sources: Mapping[str, Source]
    clock: Clock
    zone: ZoneInfo
    metrics: Metrics
    region: str | None = None
    """The country whose public holidays say nothing about a source: ISO 3166."""
    _task: asyncio.Task[None] | None = None
    _learned: dict[str, tuple[Weeks, Rhythm | NotYet]] = field(default_factory=dict)
    _broken_since: dict[str, datetime] = field(default_factory=dict)
    _attended: bool = False
    """Whether this process has said that it is there."""

    async def start(self) -> None:
        """Begin to write tallies down."""
        self._task = lasting(self._run(), name="source report")

    async def stop(self) -> None:
        """Write down what is left."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(*_DATABASE_FAULTS):
            await asyncio.wait_for(self.flush(), _EVERY_SECONDS)

    def use(self, sources: Mapping[str, Source], region: str | None) -> None:
        """Answer for other sources from now on."""
        self.sources, self.region = sources, region
        self._learned.clear()

    async def flush(self) -> None:
        """Add what was counted to the database; raises its faults, and nothing is lost by that."""
        taken = self.statistics.take()
        if not taken:
            return
        try:
            async with transaction(self.pool) as connection:
                await store.add_statistics(connection, taken, self.zone)
        except BaseException:
            self.statistics.give_back(taken)
            raise

    async def standings(self, now: datetime) -> list[Standing]:
        """Return how every configured source stands at `now`, in the order of the configuration."""
        await self.flush()
        async with acquire(self.pool) as connection:
            sums = await store.load_statistics(connection)
            passes = await store.load_passes(connection)
            folders = await store_mailbox.load_folders(connection)
            hours = await store.load_hours(connection)
            open_since = await store.attend(connection, now, _ABSENT_AFTER, comes=not self._attended)
        self._attended = True
        days_off = _days_off(self.region)
        found = []
        for name, source in self.sources.items():
            sent = sums.get(name, store.StoredStatistic())
            polled = source.polled
            passed = passes.get(name, store.Pass(None, "waiting: no pass yet")) if polled else None
            rhythm = self._rhythm(name, source, hours.get(name, {}), days_off)
            last = sent.last_delivery
            since = last if last is None or open_since is None else max(last, open_since)
            judgement = judged(rhythm, since, now, self.zone, days_off)
            broken = self._broken(name, passed, now)
            found.append(Standing(source, sent, passed, rhythm, judgement, broken, folders.get(name, ())))
        return found

    async def part(self, now: datetime) -> Part:
        """Return what `/flow` says about every configured source.

        A polled source's horizon is the clock before its last good pass; that of one which delivers by itself is its
        last delivery, because nobody can know what it has not sent.
        """
        standings = await self.standings(now)
        self._measure(standings)
        drained = not any(self._is_behind(one, now) for one in standings)
        return Part(drained, details={one.source.name: one.flow() for one in standings})

    def _rhythm(self, name: str, source: Source, hours: Weeks, days_off: Collection[date]) -> Rhythm | NotYet | None:
        if source.configuration.provider in _BY_HAND:
            return None
        known = self._learned.get(name)
        if known is None or known[0] != hours:
            known = self._learned[name] = (hours, learn(hours, days_off))
        return known[1]

    def _broken(self, name: str, passed: store.Pass | None, now: datetime) -> datetime | None:
        if passed is None or not passed.status.startswith("broken"):
            self._broken_since.pop(name, None)
            return None
        return self._broken_since.setdefault(name, now)

    def _is_behind(self, standing: Standing, now: datetime) -> bool:
        """A mailbox that cannot be read is not behind: it is broken, and its horizon says since when."""
        options = standing.source.configuration.options
        if not isinstance(options, PolledOptions) or standing.broken:
            return False
        # A simulated clock stands still between steps, a real one never does.
        slack = timedelta(seconds=2 * options.poll_seconds) if isinstance(self.clock, RealClock) else timedelta()
        return standing.horizon is None or standing.horizon < now - slack

    def _measure(self, standings: Collection[Standing]) -> None:
        for one in standings:
            self.metrics.source(
                one.source.name,
                last_delivery=one.sent.last_delivery,
                complete_up_to=one.horizon if one.passed is not None else None,
                working=not one.broken,
                quiet=one.quiet,
            )
        self.metrics.only_sources([one.source.name for one in standings])

    async def _run(self) -> None:
        round_ = 0
        while True:
            try:
                if round_ % _METRICS_EVERY == 0:
                    self._measure(await self.standings(self.clock.now()))
                    async with acquire(self.pool) as connection:
                        await store.forget_old_hours(connection, WINDOW_WEEKS)
                        await store_tokens.forget(connection)
                else:
                    await self.flush()
            except _DATABASE_FAULTS as error:
                _log.warning("statistics wait for the database", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - our own mistake about one source; what is counted is kept
                _log.error("writing statistics down failed", exc_info=error)
            round_ += 1
            await asyncio.sleep(_EVERY_SECONDS)


def _days_off(region: str | None) -> Collection[date]:
    """Return the public holidays of a country; empty for one that is not known."""
    if region is None:
        return frozenset()
    try:
        return holidays.country_holidays(region)
    except NotImplementedError:
        return frozenset()
