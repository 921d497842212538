"""Polls mailboxes: what is new goes to the broker, then the cursor moves. A pass that breaks is simply repeated."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from datetime import datetime

import asyncpg
import structlog
from pydantic import ValidationError

from services.ingest import store
from services.ingest.domain.mapping import MapMail, Unmapped
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.source import Source
from services.ingest.failpoints import IngestFailpoint
from services.ingest.imap import IMAP_FAULTS, Fetched, FetchedMail, ImapSession
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.runtime.failpoints import reach
from services.runtime.postgres import acquire

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_STOP_SECONDS = 15.0
_DATABASE_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError)
_log = structlog.get_logger(__name__)


class MailboxPoller:
    """One task per mailbox, its blocking part in a thread; they do not wait for one another."""

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        mappings: Mapping[str, MapMail],
        pool: asyncpg.Pool,
    ) -> None:
        self._reception = reception
        self._mappings = mappings
        self._mailboxes = [
            (source, options)
            for source in sources.values()
            if isinstance(options := source.configuration.options, ImapOptions)
        ]
        self._pool = pool
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_asked = asyncio.Event()

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks = [
            asyncio.create_task(self._poll(source, options), name=f"mailbox {source.name}")
            for source, options in self._mailboxes
        ]

    async def stop(self) -> None:
        """Stop after the mail that is being read: a cursor that has not moved is read again."""
        self._stop_asked.set()
        if not self._tasks:
            return
        # Not cancelled at once: the connection that a thread is just opening would be left open.
        _, pending = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _poll(self, source: Source, options: ImapOptions) -> None:
        session = ImapSession(options, source.password or "")
        try:
            while not self._stop_asked.is_set():
                began, clock_then = time.monotonic(), self._reception.clock.now()
                good = await self._pass(source, options, session)
                pause = options.poll_seconds
                await self._rest(pause if good else max(pause, _RETRY_SECONDS), began, clock_then)
        finally:
            await asyncio.to_thread(session.close)

    async def _rest(self, pause: float, began: float, clock_then: datetime) -> None:
        """Wait until the next pass is due. A stepped clock asks for one at once: nothing else says that time passed."""
        clock = self._reception.clock
        while (
            not self._stop_asked.is_set()
            and time.monotonic() - began < pause
            and (clock.now() - clock_then).total_seconds() < pause
        ):
            await asyncio.sleep(min(_LOOK_SECONDS, pause))

    async def _pass(self, source: Source, options: ImapOptions, session: ImapSession) -> bool:
        """Make one pass; whatever goes wrong is this mailbox's alone, and is said by its status."""
        try:
            await self._look(source, options, session)
        except (*IMAP_FAULTS, *_DATABASE_FAULTS, Unavailable) as error:
            fault: Exception = error
            _log.warning("a mailbox could not be read", source=source.name, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 - our own mistake about one mailbox must not end its polling unseen
            fault = error
            _log.error("reading a mailbox failed", source=source.name, exc_info=error)
        else:
            return True
        await asyncio.to_thread(session.close)
        await self._note(source, f"broken: {type(fault).__name__}")
        return False

    async def _look(self, source: Source, options: ImapOptions, session: ImapSession) -> None:
        """Read what is new in every folder; the horizon moves to the clock before we began."""
        horizon = self._reception.clock.now()
        await asyncio.to_thread(session.open)
        for folder in options.folder:
            if not await self._read(source, options, session, folder):
                return
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, source.name, horizon, "ok")

    async def _read(self, source: Source, options: ImapOptions, session: ImapSession, folder: str) -> bool:
        """Read what is new in a folder; return False when it had to stop before the end."""
        async with acquire(self._pool) as connection:
            cursor = await store.load_cursor(connection, source.name, folder)
        chunks = session.new_mails(folder, cursor, options.since)
        while (fetched := await asyncio.to_thread(_next, chunks)) is not None:
            for mail in fetched.mails:
                if self._stop_asked.is_set():
                    return False
                try:
                    await self._take(source, options, mail)
                except TooLarge:
                    # It stays where it is, in the mailbox; the log says which it was.
                    self._reception.refused(source.name, "too_large")
                    _log.warning("a mail is too large to be kept", source=source.name, uid=mail.uid)
            async with acquire(self._pool) as connection:
                reach(IngestFailpoint.MAILS_PUBLISHED)
                await store.save_cursor(connection, source.name, folder, fetched.cursor)
            reach(IngestFailpoint.CURSOR_SAVED)
        return True

    async def _take(self, source: Source, options: ImapOptions, mail: FetchedMail) -> None:
        origin = self._reception.origin(source)
        at = origin.received_at
        with self._reception.telemetry.span("ingest mailbox", source=source.name) as trace:
            try:
                mapped = await asyncio.to_thread(self._mappings[source.name], mail.raw, origin)
                if mapped.ignored is None:
                    await self._reception.accept(source.name, mapped.events, at, trace.traceparent)
                else:
                    self._reception.ignored(source.name, at)
            except (Unmapped, ValidationError) as unmapped:
                why = unmapped.reason if isinstance(unmapped, Unmapped) else "not_valid"
                if not options.content:
                    # It stays in the mailbox: what must not be kept must not lie on a topic as raw bytes either.
                    self._reception.refused(source.name, why)
                    return
                await self._reception.keep_raw(source.name, mail.raw, why, at=at, traceparent=trace.traceparent)

    async def _note(self, source: Source, status: str) -> None:
        try:
            async with acquire(self._pool) as connection:
                await store.save_pass(connection, source.name, None, status)
        except Exception as error:  # noqa: BLE001 - it is said again after the next pass; polling must not end with it
            _log.warning("a mailbox's status waits for the database", source=source.name, error=type(error).__name__)


def _next(chunks: Iterator[Fetched]) -> Fetched | None:
    return next(chunks, None)
