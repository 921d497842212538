"""The lookout: knows whether we can see everything, remembers when we could not, lets go what was held meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from contracts.envelope import format_instant
from services.notifier.domain.absence import Watch, complete, signals_flow, silent_stages, slack
from services.notifier.domain.horizon import Horizons
from services.notifier.domain.ports import GatheringTables, RecallTables, Sayings, Upstream, WatchTables
from services.runtime.postgres import acquire, transaction
from services.runtime.session_locks import held
from services.runtime.telemetry import Telemetry

_UNANSWERED_SECONDS = 3.0
"""Who is silent for so long (real time) is away; less may be a hiccup of the network or of the machine."""
_IDLE_SECONDS = 10.0
"""Between two passes of ours (real time): longer means that we stood still."""
_ASK_SECONDS = 10.0
_RELEASING = 127413262  # hashtext('tenure watch'), as versions before asked for it
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What can be seen at one reading of the clock. `horizons` is empty where nobody was asked."""

    watch: Watch
    horizons: Horizons = field(default_factory=lambda: Horizons((), None))
    complete: bool = False
    """Everybody answers and has come to the present: what was missed is here."""
    signals_flow: bool = False
    """Nobody whom a report that fires by itself passes is behind."""


class Lookout:
    """One in each replica; what it remembers is in the database. `begin` is set once mail of an absence is held."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        watch: WatchTables,
        gathering: GatheringTables,
        upstream: Upstream,
        said: Sayings,
        recalling: RecallTables,
        limit: timedelta,
        zone: ZoneInfo,
        silence: float,
        begin: asyncio.Event,
        telemetry: Telemetry,
    ) -> None:
        """`silence`: seconds after which a replica of which nothing is heard no longer keeps others from releasing."""
        self._pool = pool
        self._watch = watch
        self._gathering = gathering
        self._upstream = upstream
        self._said = said
        self._recalling = recalling
        self._limit = limit
        self._zone = zone
        self._silence = silence
        self._begin = begin
        self._metrics = telemetry.metrics
        self._seen_at: float | None = None
        self._asked_at = 0.0
        self._asked_for: datetime | None = None
        self._whole = False
        self._silent_since: float | None = None

    async def look(self, now: datetime, *, asking: bool) -> Sight:
        """Say what can be seen at `now`; ask everybody when `asking`, when it is time to, or when there is doubt."""
        async with acquire(self._pool) as connection:
            watch = await self._watch.load(connection)
        if self._seen_at is None or time.monotonic() - self._seen_at > _IDLE_SECONDS:
            watch = await self._after_absence(watch, now)
        self._begin.set()
        self._seen_at = time.monotonic()
        if not (asking or watch.absent_since is not None or self._time_to_ask(now)):
            return Sight(watch)
        horizons = await self._upstream.horizons()
        self._asked_at, self._asked_for = time.monotonic(), now
        self._whole = whole = complete(horizons, now, self._limit)
        watch = await self._remember(watch, horizons, now, whole=whole)
        self._metrics.catching_up.set(0 if watch.absent_since is None else 1)
        return Sight(watch, horizons, whole, signals_flow(horizons, now, self._limit))

    async def is_away(self, connection: asyncpg.Connection) -> bool:
        """Say whether something is being caught up, as far as the transaction of `connection` sees."""
        return (await self._watch.load(connection)).absent_since is not None

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[Watch | None]:
        """Let one replica at a time release, during the block; give it what there is, None: another does."""
        async with held(self._pool, _RELEASING, silence=self._silence) as ours:
            if not ours:
                yield None
                return
            async with acquire(self._pool) as connection:
                watch = await self._watch.load(connection)
            yield watch

    async def release(self, watch: Watch, now: datetime) -> None:
        """End the absence: all due rules were looked at. What was held goes out, one message for each person."""
        assert watch.absent_since is not None  # noqa: S101 - the caller saw it
        async with transaction(self._pool) as connection:
            if await self._watch.ended(connection, now, watch.absent_since):
                await self._gathering.release(connection)
                _log.info("caught up", since=format_instant(watch.absent_since), why=watch.why)
        self._metrics.catching_up.set(0)

    async def let_go(self, rules: Sequence[str]) -> None:
        """Let mails about alerts of `rules` go although others are away."""
        async with acquire(self._pool) as connection:
            await self._gathering.let_go(connection, rules)

    def _time_to_ask(self, now: datetime) -> bool:
        moved = self._asked_for is None or abs(now - self._asked_for) > slack(self._limit)
        return moved or not self._whole or time.monotonic() - self._asked_at > _ASK_SECONDS

    async def _after_absence(self, watch: Watch, now: datetime) -> Watch:
        """We were away, or have only just come: hold what waits from before, and take back what a restore forgot."""
        after = watch.interrupted(now, self._limit, "the notifier was away")
        if after.absent_since is None:
            return watch
        # A restored database does not know what we have said since the backup; the topic does.
        said = await self._said.alerts() if watch.restored else []
        async with transaction(self._pool) as connection:
            await self._watch.lock(connection)
            await self._watch.absent(connection, after.absent_since, after.why or "")
            if watch.restored:
                forgotten = await self._recalling.take_back(connection, said, now, self._zone)
                await self._watch.recalled(connection)
                _log.warning("restored from a backup", alerts_taken_back=forgotten, alerts_published=len(said))
            # By the end of the catch-up much of it may be settled.
            await self._gathering.hold(connection)
        _log.warning("catching up", since=format_instant(after.absent_since), why=after.why)
        return after

    async def _remember(self, watch: Watch, horizons: Horizons, now: datetime, *, whole: bool) -> Watch:
        if whole:
            self._silent_since = None
            known = watch.complete_at
            if watch.absent_since is None and (known is None or abs(now - known) > slack(self._limit) / 2):
                async with acquire(self._pool) as connection:
                    await self._watch.complete(connection, now)
            return watch
        silent = silent_stages(horizons)
        if not silent:
            self._silent_since = None
            return watch
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since < _UNANSWERED_SECONDS:
            return watch
        after = watch.interrupted(now, self._limit, f"{silent[0]} does not say how far it has come")
        if after is not watch and after.absent_since is not None:
            async with acquire(self._pool) as connection:
                await self._watch.absent(connection, after.absent_since, after.why or "")
            _log.warning("somebody is away", since=format_instant(after.absent_since), why=after.why)
        return after
