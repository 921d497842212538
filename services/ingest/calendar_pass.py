"""Calendars over CalDAV, as sources that we poll: what changed since the last pass is planned anew."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

import asyncpg

from services.ingest import store, store_mailbox
from services.ingest import store_calendar as entries
from services.ingest.caldav import CalendarFolder, Entry
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.options import CaldavOptions
from services.ingest.domain.source import Source
from services.ingest.planned import KEEP, MeetingPlanner
from services.ingest.reception import Reception
from services.ingest.sources.icalendar import looked_at, read_notices
from services.ingest.store_calendar import WHOLE, KnownEntry
from services.runtime.postgres import acquire, transaction


def calendar_readers(
    reception: Reception,
    planner: MeetingPlanner,
    sources: Mapping[str, Source],
    pool: asyncpg.Pool,
    zone: ZoneInfo,
) -> Sequence["CalendarReader"]:
    """Return a reader for every calendar that is configured."""
    return [
        CalendarReader(reception, planner, source, options, pool, zone)
        for source in sources.values()
        if isinstance(options := source.configuration.options, CaldavOptions)
    ]


class CalendarReader:
    """`services.ingest.polling.Reader` of one calendar."""

    def __init__(  # noqa: PLR0917 - what a pass needs
        self,
        reception: Reception,
        planner: MeetingPlanner,
        source: Source,
        options: CaldavOptions,
        pool: asyncpg.Pool,
        zone: ZoneInfo,
    ) -> None:
        self.name = source.name
        self.poll_seconds = options.poll_seconds
        self._reception = reception
        self._planner = planner
        self._source = source
        self._label = unquote(urlsplit(options.url).path).strip("/").rpartition("/")[2]
        self._options = options
        self._pool = pool
        self._zone = zone
        self._folder = CalendarFolder(options, source.password or "")

    async def run(self, go_on: Callable[[], None]) -> None:
        """Read what changed; the horizon moves to the clock before we began."""
        horizon = self._reception.clock.now()
        state = await self._folder.state()
        async with acquire(self._pool) as connection:
            known = dict(await entries.load_entries(connection, self.name))
        whole = known.pop(WHOLE, None)
        if state is None or whole is None or whole.etag != state:
            await self._read(known, horizon, go_on)
            async with acquire(self._pool) as connection:
                await entries.save_entries(connection, self.name, {WHOLE: KnownEntry(state or "", ())})
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self.name, horizon, "ok")

    async def _read(self, known: Mapping[str, KnownEntry], now: datetime, go_on: Callable[[], None]) -> None:
        etags = await self._folder.etags()
        changed = sorted(href for href, etag in etags.items() if href not in known or known[href].etag != etag)
        gone = sorted(href for href in known if href not in etags)
        done = 0
        async for chunk in self._folder.entries(changed):
            read = {}
            for entry in chunk:
                go_on()
                read[entry.href] = KnownEntry(entry.etag, await self._take(entry, now))
            done += len(chunk)
            async with transaction(self._pool) as connection:
                await entries.save_entries(connection, self.name, read)
                if done < len(changed):
                    status = f"reading: {done:,} of {len(changed):,} entries"
                    await store_mailbox.save_status(connection, self.name, status)
        # An entry that moved to another path is read by now, and stays.
        async with acquire(self._pool) as connection:
            there = await entries.load_entries(connection, self.name)
        standing = {uid for href, entry in there.items() if href not in gone for uid in entry.uids}
        await self._planner.drop(self.name, sorted({uid for href in gone for uid in known[href].uids} - standing))
        async with transaction(self._pool) as connection:
            await entries.delete_entries(connection, self.name, gone)

    async def _take(self, entry: Entry, now: datetime) -> Sequence[str]:
        """Plan what an entry says; return the UIDs that it speaks of."""
        source, content = self.name, self._options.content
        since = now - KEEP
        if self._options.since is not None:
            since = datetime.combine(self._options.since, time(), self._zone).astimezone(UTC)
        try:
            for looked in looked_at(entry.calendar, self._label):
                left_out = self._reception.privacy.left_out(looked, source)
                if left_out is not None:
                    self._reception.ignored(source, now, left_out)
                    return ()
            notices = read_notices(entry.calendar, content=content, since=since)
            refused = await self._planner.plan(source, notices, only_since=since)
        except Unmapped as unmapped:
            notices, refused = [], [unmapped.reason]
        self._reception.statistics.delivered(source, now)
        for reason in refused:
            if content:
                await self._reception.keep_raw(source, entry.calendar, f"calendar:{reason}", at=now, traceparent=None)
            else:
                self._reception.refused(source, f"calendar:{reason}")
        return tuple({notice.uid for notice in notices})

    async def wait(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """A CalDAV server says nothing by itself."""
        del seconds, enough
        return False

    async def close(self) -> None:
        """Let connections go; the next pass opens others."""
        await self._folder.close()
        self._folder = CalendarFolder(self._options, self._source.password or "")
