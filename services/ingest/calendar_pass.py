"""Calendars over CalDAV, as sources that we poll: what changed since the last pass is planned anew."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, time
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

import asyncpg

from services.ingest import store, store_mailbox
from services.ingest import store_calendar as entries
from services.ingest.caldav import CalendarFolder
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.options import CaldavOptions
from services.ingest.domain.source import Source
from services.ingest.planned import KEEP, MeetingPlanner
from services.ingest.polling import Broken, Withheld
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
        self._withheld = Withheld[str]()
        """Paths of what is listed and not given."""

    async def run(self, go_on: Callable[[], None]) -> None:
        """Read what changed; the horizon moves to the clock before we began."""
        horizon = self._reception.clock.now()
        state = await self._folder.state()
        async with acquire(self._pool) as connection:
            known = dict(await entries.load_entries(connection, self.name))
        whole = known.pop(WHOLE, None)
        withheld: Collection[str] = ()
        if state is None or whole is None or whole.etag != state:
            withheld = await self._read(known, horizon, go_on)
            # What was not given is asked for in the next pass, whatever the state says.
            if not withheld:
                async with acquire(self._pool) as connection:
                    await entries.save_entries(connection, self.name, {WHOLE: KnownEntry(state or "", ())})
        waiting = self._waiting(withheld)
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self.name, None if waiting else horizon, waiting or "ok")

    def _waiting(self, withheld: Collection[str]) -> str | None:
        """Say how many entries are listed and not given; None where there is none that we still wait for."""
        fresh = len(self._withheld.waited_for(withheld))
        if not fresh:
            return None
        entries_, they = ("entry", "it is") if fresh == 1 else ("entries", "they are")
        return f"waiting: the server lists {fresh:,} {entries_} that it does not give; {they} asked for in every pass"

    async def _read(self, known: Mapping[str, KnownEntry], now: datetime, go_on: Callable[[], None]) -> Collection[str]:
        """Read what changed, and call off what is gone; return the paths of what is listed and was not given."""
        listed = await self._folder.listed()
        changed = sorted(path for path, each in listed.items() if not each.etag or _etag(known, path) != each.etag)
        gone = {path for path in known if path not in listed}
        withheld, unsaid, done = set(changed), set[str](), 0
        async for chunk in self._folder.entries([listed[path].href for path in changed]):
            read = {}
            for entry in chunk:
                go_on()
                withheld.discard(entry.path)
                if entry.calendar is None:
                    gone |= {entry.path} & known.keys()
                    continue
                before = known[entry.path].uids if entry.path in known else ()
                uids = before
                if _etag(known, entry.path) != entry.etag or not entry.etag:
                    said = await self._take(entry.calendar, now)
                    # What cannot be understood says nothing about what it said before.
                    uids = before if said is None else said
                read[entry.path] = KnownEntry(entry.etag, uids)
                unsaid.update(set(before) - set(uids))
            done += len(chunk)
            async with transaction(self._pool) as connection:
                await entries.save_entries(connection, self.name, read)
                if done < len(changed):
                    status = f"reading: {done:,} of {len(changed):,} entries"
                    await store_mailbox.save_status(connection, self.name, status)
        await self._confirm(sorted(path for path in gone - listed.keys() if self._folder.holds(path)))
        unsaid.update(uid for path in gone for uid in known[path].uids)
        # An entry that moved to another path is read by now, and stays.
        async with acquire(self._pool) as connection:
            there = await entries.load_entries(connection, self.name)
        standing = {uid for path, entry in there.items() if path not in gone for uid in entry.uids}
        go_on()
        await self._planner.drop(self.name, sorted(unsaid - standing))
        async with transaction(self._pool) as connection:
            await entries.delete_entries(connection, self.name, sorted(gone))
        return withheld

    async def _confirm(self, gone: Sequence[str]) -> None:
        """Raise when the server still gives one of those that its list names no more: then the list is not whole."""
        async for chunk in self._folder.entries([quote(path) for path in gone]):
            if any(entry.calendar is not None and entry.path in gone for entry in chunk):
                raise Broken("the server lists fewer entries than it has; if that lasts, look at the server")

    async def _take(self, calendar: bytes, now: datetime) -> Sequence[str] | None:
        """Plan what an entry says; return the UIDs that it speaks of, None where it cannot be understood."""
        source, content = self.name, self._options.content
        since = now - KEEP
        if self._options.since is not None:
            since = datetime.combine(self._options.since, time(), self._zone).astimezone(UTC)
        try:
            for looked in looked_at(calendar, self._label):
                left_out = self._reception.privacy.left_out(looked, source)
                if left_out is not None:
                    self._reception.ignored(source, now, left_out)
                    return ()
            notices = read_notices(calendar, content=content, since=since)
            uids: Sequence[str] | None = tuple({notice.uid for notice in notices})
            refused = await self._planner.plan(source, notices, only_since=since)
        except Unmapped as unmapped:
            uids, refused = None, [unmapped.reason]
        self._reception.statistics.delivered(source, now)
        for reason in refused:
            if content:
                await self._reception.keep_raw(source, calendar, f"calendar:{reason}", at=now, traceparent=None)
            else:
                self._reception.refused(source, f"calendar:{reason}")
        return uids

    async def wait(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """A CalDAV server says nothing by itself."""
        del seconds, enough
        return False

    async def close(self) -> None:
        """Let connections go; the next pass opens others."""
        await self._folder.close()
        self._folder = CalendarFolder(self._options, self._source.password or "")


def _etag(known: Mapping[str, KnownEntry], path: str) -> str | None:
    return known[path].etag if path in known else None
