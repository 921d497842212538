"""Polls mailboxes: each has a task of its own, and what goes wrong with one is its own too.

A pass that breaks is simply repeated: what was read is kept, and what is read again has the same ids.
"""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
import structlog

from contracts.ids import new_id
from services.ingest import store, store_mailbox
from services.ingest.domain.mapping import MapMail
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.source import Source
from services.ingest.imap import IMAP_FAULTS, FolderMissing, ImapSession, LoginRefused
from services.ingest.mailbox_pass import Interrupted, MailboxPass
from services.ingest.publisher import Unavailable
from services.ingest.reception import Reception
from services.runtime.postgres import acquire

_LOOK_SECONDS = 0.2
_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
_REFUSED_SECONDS = 60.0
"""After the first refused login. Doubled each time: servers lock a mailbox after some wrong passwords."""
_LONGEST_REFUSED_SECONDS = 3600.0
_STOP_SECONDS = 15.0
_HOLD_SECONDS = 20.0
_HOLD_EVERY_SECONDS = 5.0
_DATABASE_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError)
_EXPECTED = (*IMAP_FAULTS, *_DATABASE_FAULTS, Unavailable, LoginRefused, FolderMissing, TimeoutError)
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
        self._mailboxes = [
            _Mailbox(reception, source, options, mappings[source.name], pool)
            for source in sources.values()
            if isinstance(options := source.configuration.options, ImapOptions)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks = [
            asyncio.create_task(mailbox.run(), name=f"mailbox {mailbox.name}") for mailbox in self._mailboxes
        ]

    async def stop(self) -> None:
        """Stop after the mail that is being read: a cursor that has not moved is read again."""
        for mailbox in self._mailboxes:
            mailbox.ask_to_stop()
        if not self._tasks:
            return
        # Not cancelled at once: the connection that a thread is just opening would be left open.
        _, pending = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


class _Mailbox:
    """One mailbox, by one replica at a time."""

    def __init__(
        self, reception: Reception, source: Source, options: ImapOptions, mapping: MapMail, pool: asyncpg.Pool
    ) -> None:
        self.name = source.name
        self._clock = reception.clock
        self._options = options
        self._pool = pool
        self._pass = MailboxPass(reception, source, options, mapping, pool)
        self._session = ImapSession(options, source.password or "")
        self._holder = new_id()
        self._held_until = 0.0
        self._stopping = False
        self._failures = 0

    def ask_to_stop(self) -> None:
        """Stop soon."""
        self._stopping = True

    async def run(self) -> None:
        """Read passes until asked to stop."""
        holding = asyncio.create_task(self._keep_hold(), name=f"hold {self.name}")
        try:
            while not self._stopping:
                began, clock_then = time.monotonic(), self._clock.now()
                if not self._holds():
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                pause = await self._read()
                await self._rest(pause, began, clock_then)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            await asyncio.to_thread(self._session.close)
            await self._let_go()

    async def _keep_hold(self) -> None:
        """Keep the mailbox for this replica. Without a database nobody can say whose it is, and it is read."""
        while True:
            try:
                async with acquire(self._pool) as connection:
                    held = await store_mailbox.hold(connection, self.name, self._holder, _HOLD_SECONDS)
                self._held_until = time.monotonic() + _HOLD_SECONDS if held else 0.0
            except (*_DATABASE_FAULTS, OSError, TimeoutError):
                # A pass will fail for the same reason, and say so.
                self._held_until = time.monotonic() + _HOLD_EVERY_SECONDS
            await asyncio.sleep(_HOLD_EVERY_SECONDS if self._holds() else _RETRY_SECONDS)

    def _holds(self) -> bool:
        return time.monotonic() < self._held_until

    async def _let_go(self) -> None:
        try:
            async with acquire(self._pool) as connection:
                await store_mailbox.let_go(connection, self.name, self._holder)
        except (*_DATABASE_FAULTS, OSError, TimeoutError):
            _log.info("another replica waits until the hold on a mailbox runs out", source=self.name)

    def _go_on(self) -> None:
        if self._stopping or not self._holds():
            raise Interrupted

    async def _read(self) -> float:
        """Make one pass; return how long to wait for the next, in seconds."""
        try:
            await self._pass.run(self._session, self._go_on)
        except Interrupted:
            return 0.0
        except _EXPECTED as error:
            _log.warning("a mailbox could not be read", source=self.name, error=type(error).__name__)
            fault: Exception = error
        except Exception as error:  # noqa: BLE001 - our own mistake about one mailbox must not end its polling unseen
            _log.error("reading a mailbox failed", source=self.name, exc_info=error)
            fault = error
        else:
            self._failures = 0
            return self._options.poll_seconds
        await asyncio.to_thread(self._session.close)
        refused = isinstance(fault, LoginRefused)
        first, longest = (
            (_REFUSED_SECONDS, _LONGEST_REFUSED_SECONDS) if refused else (_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        )
        pause = min(first * float(2 ** min(self._failures, 20)), longest)
        self._failures += 1
        await self._note(f"broken: {_remedy(fault, self._options)}")
        return max(pause, self._options.poll_seconds)

    async def _rest(self, pause: float, began: float, clock_then: datetime) -> None:
        """Wait until the next pass is due. A stepped clock asks for one at once: nothing else says that time passed.

        After a refused login it does not: the server's patience is counted in real time.
        """
        patient = self._failures > 0 and pause >= _REFUSED_SECONDS

        def enough() -> bool:
            stepped = not patient and (self._clock.now() - clock_then).total_seconds() >= pause
            return self._stopping or not self._holds() or stepped or time.monotonic() - began >= pause

        if not self._failures and self._options.idle and self._session.can_idle:
            left = pause - (time.monotonic() - began)
            try:
                await asyncio.to_thread(self._session.idle, self._options.folder[0], left, enough)
            except IMAP_FAULTS:
                # The next pass connects anew, and says what is wrong if it cannot.
                await asyncio.to_thread(self._session.close)
            return
        while not enough():
            await asyncio.sleep(min(_LOOK_SECONDS, pause))

    async def _note(self, status: str) -> None:
        try:
            async with acquire(self._pool) as connection:
                await store.save_pass(connection, self.name, None, status)
        except Exception as error:  # noqa: BLE001 - it is said again after the next pass; polling must not end with it
            _log.warning("a mailbox's status waits for the database", source=self.name, error=type(error).__name__)


def _remedy(fault: Exception, options: ImapOptions) -> str:
    """Return what is wrong with a mailbox and what to do about it. Nothing of what the server says is passed on."""
    certificate = "the server's certificate is not valid for this host; correct host, or the server's certificate"
    away = f"{options.host} cannot be reached ({type(fault).__name__}); check host, port, tls and the network"
    login = (
        f"the server refuses the login; write a valid password or app password into {options.password_file} and"
        " restart; until then it is tried rarely, so that the mailbox is not locked"
    )
    if isinstance(fault, FolderMissing):
        return f"there is no folder {fault.folder!r}; name in folder some of: {', '.join(fault.there[:20])}"
    remedies: Sequence[tuple[tuple[type[Exception], ...], str]] = (
        ((LoginRefused,), login),
        ((ssl.SSLCertVerificationError,), certificate),
        ((Unavailable,), "the broker is away; nothing to do about the mailbox"),
        (_DATABASE_FAULTS, "the database is away; nothing to do about the mailbox"),
        (IMAP_FAULTS, away),
    )
    unknown = f"{type(fault).__name__}; the log says more"
    return next((remedy for kinds, remedy in remedies if isinstance(fault, kinds)), unknown)
