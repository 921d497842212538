"""Plans meetings and publishes each when its start has passed.

Everything happens in transactions of ingest's database, and what is published goes through the outbox: a crash leaves
nothing half done, replicas share the work, and while the database is away a calendar's news waits with its sender.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import groupby

import asyncpg
import structlog
from pydantic import ValidationError

from contracts.codec import encode, event_envelope
from contracts.envelope import format_instant
from contracts.events import Event
from contracts.topics import INTERACTIONS
from services.ingest import store_planned as store
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.meetings import (
    PLAN_AHEAD,
    SINGLE,
    Drafted,
    Notice,
    Occurrence,
    Series,
    State,
    decide,
    ending,
    held,
    learn,
)
from services.ingest.domain.planning import begun, draft, withdrawn
from services.ingest.publisher import Unavailable
from services.ingest.settings import IngestSettings
from services.ingest.sources.icalendar_series import occurrences
from services.ingest.statistics import Statistics
from services.runtime import outbox
from services.runtime.clock import Clock, RealClock
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.outbox import RECORD_LIMIT, OutboxMessage
from services.runtime.postgres import acquire, transaction

KEEP = timedelta(days=60)
"""How long after a meeting a change to it is still understood."""
_MOST_DUE = 200
_MOST_SERIES = 20
_EVERY_SECONDS = 1.0
_EVERY_SECONDS_OF_A_STEPPED_CLOCK = 0.2
_FORGET_EVERY = 3600
_TRIES = 3
_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, TimeoutError, asyncpg.CannotConnectNowError)
_DATABASE_FAULTS = (*_AWAY, asyncpg.PostgresError)
_NOT_STORABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
"""What the database will never take: waiting for it would keep everything behind it waiting, too."""
_CONFLICTS = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
_log = structlog.get_logger(__name__)


class MeetingPlanner:
    """Keeps what calendars said, and the job that publishes meetings that have begun."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        settings: IngestSettings,
        clock: Clock,
        directory: Directory,
        statistics: Statistics,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._directory = directory
        self._statistics = statistics
        self._zone = settings.zone
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def use(self, directory: Directory) -> None:
        """Know us by another directory from now on."""
        self._directory = directory

    async def start(self) -> None:
        """Begin to publish what is due."""
        self._task = lasting(self._run(), name="planned meetings")

    async def stop(self) -> None:
        """Finish the meetings that are being published."""
        self._stop_asked.set()
        if self._task is not None:
            await self._task

    async def plan(
        self, source: str, notices: Iterable[Notice], *, only_since: datetime | None = None
    ) -> Sequence[str]:
        """Take what a source says about meetings; return a reason for each UID that cannot be understood.

        Where we have not heard of a single meeting, and it began before `only_since`, it is none of ours. The same
        again changes nothing. Raises `Unavailable` while the database is away.
        """
        refused = []
        ordered = sorted(notices, key=lambda notice: notice.uid)
        try:
            for uid, about in groupby(ordered, key=lambda notice: notice.uid):
                try:
                    await self._again(uid, source, list(about), only_since)
                except Unmapped as unmapped:
                    refused.append(unmapped.reason)
                except _NOT_STORABLE as error:
                    _log.error("a planned meeting cannot be stored", source=source, error=type(error).__name__)
                    refused.append("not_storable")
        except _DATABASE_FAULTS as error:
            _log.warning("planned meetings wait for the database", error=type(error).__name__)
            raise Unavailable from None
        return refused

    async def _again(
        self, uid: str, source: str, notices: Sequence[Notice], only_since: datetime | None = None
    ) -> None:
        for left in reversed(range(_TRIES)):
            try:
                async with transaction(self._pool) as connection:
                    await self._take(connection, uid, source, notices, only_since)
            except _CONFLICTS:
                if not left:
                    raise
            else:
                return

    async def _take(
        self,
        connection: asyncpg.Connection,
        uid: str,
        source: str,
        notices: Sequence[Notice],
        only_since: datetime | None,
    ) -> None:
        """Learn and plan one UID inside a transaction. Without notices: plan further."""
        stored = await store.lock_series(connection, uid)
        series, known = stored.series, bool(stored.series.words)
        for notice in notices:
            series = learn(series, notice, source) or series
        if notices and series == stored.series:
            return
        now = self._clock.now()
        until = now + PLAN_AHEAD
        floor = min(now - KEEP, stored.planned_until or now)
        since = max(series.since, floor) if known and series.since else (floor if known else series.since or floor)
        # Expanding takes milliseconds; the series is locked meanwhile, and nobody else needs it.
        meetings = await asyncio.to_thread(occurrences, series, since, until, self._zone)
        if only_since is not None and not known and not series.recurs:
            meetings = [meeting for meeting in meetings if meeting.starts_at >= only_since]
        drafts = [draft(uid, meeting, self._directory) for meeting in meetings]
        rows = await store.load_meetings(connection, uid)
        # What lies before the part that was expanded stays as it is.
        looked_at = {name: row for name, row in rows.items() if not series.recurs or row.starts_at >= since}
        changes = decide(
            looked_at,
            [each for each in drafts if each is not None],
            recurs=series.recurs,
            called_off=_called_off(series, meetings, drafts),
            planned_until=stored.planned_until,
            now=now,
        )
        ends = [meeting.starts_at for meeting in meetings] + [row.starts_at for row in rows.values()]
        goes_on = _goes_on(series)
        forget_at = None if goes_on else max([now, *ends]) + KEEP
        await store.save_series(connection, series, until if goes_on else None, forget_at)
        await store.save_meetings(connection, uid, changes.rows)
        await store.delete_meetings(connection, uid, changes.gone)
        await self._append(connection, [withdrawn(uid, each, rows[each.instance]) for each in changes.withdrawals], now)

    async def drop(self, source: str, uids: Iterable[str]) -> None:
        """Call off what is planned of meetings that are in a source's calendar no more; raises `Unavailable`.

        What has begun stays: people tidy up their calendars.
        """
        try:
            for uid in uids:
                now = self._clock.now()
                async with acquire(self._pool) as connection:
                    known = await store.load_ahead(connection, uid, now)
                if known is not None:
                    await self._again(uid, source, ending(known, source, now))
        except _DATABASE_FAULTS as error:
            _log.warning("planned meetings wait for the database", error=type(error).__name__)
            raise Unavailable from None

    async def _append(self, connection: asyncpg.Connection, events: Sequence[Event], now: datetime) -> None:
        messages = [
            OutboxMessage(INTERACTIONS, event.interaction.id, event_envelope(event, now), encode(event))
            for event in events
        ]
        await outbox.append(connection, messages)

    async def _run(self) -> None:
        forgot = None
        while not self._stop_asked.is_set():
            now = self._clock.now()
            try:
                await self._expand(now)
                while await self._publish(now) and not self._stop_asked.is_set():
                    pass
                if forgot is None or (now - forgot).total_seconds() > _FORGET_EVERY:
                    async with transaction(self._pool) as connection:
                        await store.forget(connection, now, now - KEEP)
                    forgot = now
            except _DATABASE_FAULTS as error:
                _log.warning("planned meetings wait for the database", error=type(error).__name__)
            except Exception as error:  # noqa: BLE001 - our own mistake about one meeting must not end the job unseen
                _log.error("publishing planned meetings failed", exc_info=error)
            real = isinstance(self._clock, RealClock)
            with contextlib.suppress(TimeoutError):
                pause = _EVERY_SECONDS if real else _EVERY_SECONDS_OF_A_STEPPED_CLOCK
                await asyncio.wait_for(self._stop_asked.wait(), pause)

    async def _publish(self, now: datetime) -> bool:
        """Publish meetings that have begun; return whether there may be more."""
        async with transaction(self._pool) as connection:
            due = await store.take_due(connection, now, _MOST_DUE)
            events: list[Event] = []
            for each in due:
                about = _publishable(each)
                events += about
                # One that cannot be published must not keep those behind it waiting.
                done = held(each.planned) if about else replace(each.planned, state=State.CALLED_OFF)
                await store.save_meetings(connection, each.uid, [done])
            await self._append(connection, events, now)
        for event in events:
            self._statistics.published(event.source)
        return len(due) == _MOST_DUE

    async def _expand(self, now: datetime) -> None:
        """Write down further meetings of series that go on, in good time before they begin."""
        while not self._stop_asked.is_set():
            async with acquire(self._pool) as connection:
                uids = await store.series_to_expand(connection, now + PLAN_AHEAD / 2, _MOST_SERIES)
            for uid in uids:
                try:
                    await self._again(uid, "", ())
                except (Unmapped, *_NOT_STORABLE) as error:
                    # It could be read when it came: only its rule has become too long meanwhile.
                    reason = error.reason if isinstance(error, Unmapped) else type(error).__name__
                    _log.error("a series cannot be planned further", reason=reason)
                    await self._give_up(uid, now)
            if len(uids) < _MOST_SERIES:
                return

    async def _give_up(self, uid: str, now: datetime) -> None:
        async with transaction(self._pool) as connection:
            stored = await store.lock_series(connection, uid)
            await store.save_series(connection, stored.series, None, now + KEEP)

    async def part(self, now: datetime) -> Part:
        """Return what `/flow` says about planned meetings: nothing is left to publish as of `now`."""
        async with acquire(self._pool) as connection:
            ahead = await store.look_ahead(connection, now)
        details = {
            "planned": ahead.planned,
            "overdue": ahead.overdue,
            "next_start": None if ahead.next_start is None else format_instant(ahead.next_start),
        }
        return Part(not ahead.overdue and not ahead.unexpanded, details=details)


def _publishable(due: store.Due) -> Sequence[Event]:
    try:
        events: Sequence[Event] = begun(due.uid, due.planned)
    except ValidationError:
        events = ()
    if not events or any(len(encode(event)) > RECORD_LIMIT for event in events):
        _log.error("a planned meeting cannot be published", source=due.planned.source)
        return ()
    return events


def _called_off(series: Series, meetings: Sequence[Occurrence], drafts: Sequence[Drafted | None]) -> dict[str, int]:
    """Return the order of what called instances off by name, and under `SINGLE` that of the last word on the whole."""
    nobody = {
        meeting.instance: max(meeting.own_order, meeting.order if not series.recurs else 0)
        for meeting, drafted in zip(meetings, drafts, strict=True)
        if drafted is None
    }
    return {**series.called_off, **nobody}


def _goes_on(series: Series) -> bool:
    whole = series.words.get(SINGLE)
    return whole is not None and whole.recurs and not whole.cancelled
