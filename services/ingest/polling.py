"""Sources that we ask ourselves: each has a task of its own, and what goes wrong with one is its own too.

A pass that breaks is simply repeated: what was read is kept, and what is read again has the same ids. One replica at a
time reads a source, because providers count connections.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import asyncpg
import structlog

from contracts.ids import new_id
from services.ingest import store, store_mailbox
from services.ingest.publisher import Unavailable
from services.runtime.clock import Clock
from services.runtime.postgres import acquire

_LOOK_SECONDS = 0.2
_LEAST_PAUSE_SECONDS = 1.0
"""Between passes, however often a source says that something came."""
PATIENCE_SECONDS = 3600.0
"""So long what a source shows and does not give holds the horizon. Some of it is damaged and is never given."""
_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 60.0
_REFUSED_SECONDS = 60.0
"""After the first refused login. Doubled each time: servers lock a mailbox after some wrong passwords."""
_LONGEST_REFUSED_SECONDS = 3600.0
_STOP_SECONDS = 15.0
_HOLD_SECONDS = 10.0
_HOLD_EVERY_SECONDS = 3.0
DATABASE_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError)
_log = structlog.get_logger(__name__)


T = TypeVar("T")


class Withheld(Generic[T]):
    """What a source shows and does not give, since when, in real time: for so long it holds the horizon."""

    def __init__(self) -> None:
        self._since: dict[T, float] = {}

    def waited_for(self, withheld: Iterable[T]) -> list[T]:
        """Hear what is withheld in this pass; return what of it is still waited for."""
        now = time.monotonic()
        self._since = {one: self._since.get(one, now) for one in withheld}
        return [one for one, since in self._since.items() if now - since < PATIENCE_SECONDS]


class Interrupted(Exception):
    """The service stops, or another replica has the source; what was read is kept."""


class Broken(Exception):
    """The source cannot be read. The message says what is wrong and what to do about it; it names nothing personal."""


class LoginRefused(Broken):
    """The source does not let us in. Trying again soon may lock it for its owner."""


class Reader(Protocol):
    """Reads one source. What `run` raises beside `Interrupted` and `Broken` is our own mistake or the database's."""

    @property
    def name(self) -> str:
        """The source."""
        ...

    @property
    def poll_seconds(self) -> float:
        """How long to wait between passes."""
        ...

    async def run(self, go_on: Callable[[], None]) -> None:
        """Make one pass and store how it went. `go_on` is asked between pieces, and raises `Interrupted` to stop."""
        ...

    async def wait(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """Wait for the source's own word that something came; return False at once where it gives none."""
        ...

    async def close(self) -> None:
        """Let connections go."""
        ...


class Poller:
    """One task per source; they do not wait for one another."""

    def __init__(self, readers: Sequence[Reader], pool: asyncpg.Pool, clock: Clock) -> None:
        self._polled = [_Polled(reader, pool, clock) for reader in readers]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to poll."""
        self._tasks = [asyncio.create_task(polled.run(), name=f"poll {polled.name}") for polled in self._polled]

    async def stop(self) -> None:
        """Stop after what is being read: a cursor that has not moved is read again."""
        for polled in self._polled:
            polled.stopping = True
        if not self._tasks:
            return
        # Not cancelled at once: the connection that a thread is just opening would be left open.
        _, pending = await asyncio.wait(self._tasks, timeout=_STOP_SECONDS)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


class _Polled:
    """One source, by one replica at a time."""

    def __init__(self, reader: Reader, pool: asyncpg.Pool, clock: Clock) -> None:
        self.name = reader.name
        self.stopping = False
        self._reader = reader
        self._pool = pool
        self._clock = clock
        self._holder = new_id()
        self._held_until = 0.0
        self._failures = 0
        self._refused = False

    async def run(self) -> None:
        """Make passes until asked to stop."""
        holding = asyncio.create_task(self._keep_hold(), name=f"hold {self.name}")
        try:
            while not self.stopping:
                try:
                    await self._turn()
                except Exception as error:  # noqa: BLE001 - whatever it is, polling must not end with it unseen
                    _log.error("polling a source failed", source=self.name, exc_info=error)
                    await asyncio.sleep(_RETRY_SECONDS)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            await self._reader.close()
            await self._let_go()

    async def _turn(self) -> None:
        began, clock_then = time.monotonic(), self._clock.now()
        if self._holds():
            pause = await self._pass()
            await self._rest(pause, began, clock_then)
        else:
            await asyncio.sleep(_LOOK_SECONDS)

    async def _keep_hold(self) -> None:
        while True:
            try:
                async with acquire(self._pool) as connection:
                    asked = time.monotonic()
                    held = await store_mailbox.hold(connection, self.name, self._holder, _HOLD_SECONDS)
                # Counted from before the database wrote it down: the answer may have been long on its way.
                self._held_until = asked + _HOLD_SECONDS if held else 0.0
            except Exception as error:  # noqa: BLE001 - whatever it is, it is asked again
                _log.info("a hold on a source waits for the database", source=self.name, error=type(error).__name__)
                # Nobody can say whose it is. A pass will fail for the same reason, and say so.
                self._held_until = time.monotonic() + _HOLD_EVERY_SECONDS
            await asyncio.sleep(_HOLD_EVERY_SECONDS if self._holds() else _RETRY_SECONDS)

    def _holds(self) -> bool:
        return time.monotonic() < self._held_until

    async def _let_go(self) -> None:
        try:
            async with acquire(self._pool) as connection:
                await store_mailbox.let_go(connection, self.name, self._holder)
        except (*DATABASE_FAULTS, OSError, TimeoutError):
            _log.info("another replica waits until the hold on a source runs out", source=self.name)

    def _go_on(self) -> None:
        if self.stopping or not self._holds():
            raise Interrupted

    async def _pass(self) -> float:
        """Make one pass; return how long to wait for the next, in seconds."""
        try:
            await self._reader.run(self._go_on)
        except Interrupted:
            return 0.0
        except Broken as broken:
            return await self._broken(broken, str(broken))
        except Unavailable as away:
            return await self._broken(away, "the broker or the database is away; nothing is wrong with the source")
        except (*DATABASE_FAULTS, OSError, TimeoutError) as away:
            return await self._broken(away, "the database is away; nothing is wrong with the source")
        except Exception as error:  # noqa: BLE001 - our own mistake about one source must not end its polling unseen
            _log.error("reading a source failed", source=self.name, exc_info=error)
            return await self._broken(error, f"{type(error).__name__}; the log says more")
        self._failures, self._refused = 0, False
        return self._reader.poll_seconds

    async def _broken(self, fault: Exception, said: str) -> float:
        _log.warning("a source could not be read", source=self.name, error=type(fault).__name__)
        await self._reader.close()
        refused = isinstance(fault, LoginRefused)
        if refused != self._refused:
            self._failures, self._refused = 0, refused
        first, longest = (
            (_REFUSED_SECONDS, _LONGEST_REFUSED_SECONDS) if refused else (_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        )
        pause = min(first * float(2 ** min(self._failures, 20)), longest)
        self._failures += 1
        try:
            async with acquire(self._pool) as connection:
                await store.save_pass(connection, self.name, None, f"broken: {said}")
        except Exception as error:  # noqa: BLE001 - it is said again after the next pass; polling must not end with it
            _log.warning("a source's status waits for the database", source=self.name, error=type(error).__name__)
        return max(pause, self._reader.poll_seconds)

    async def _rest(self, pause: float, began: float, clock_then: datetime) -> None:
        """Wait until the next pass is due. A stepped clock asks for one at once: nothing else says that time passed.

        After a refused login it does not: the other side's patience is counted in real time.
        """

        def enough() -> bool:
            stepped = not self._refused and (self._clock.now() - clock_then).total_seconds() >= pause
            return self.stopping or not self._holds() or stepped or time.monotonic() - began >= pause

        if not self._failures and await self._reader.wait(pause - (time.monotonic() - began), enough):
            pause = min(pause, _LEAST_PAUSE_SECONDS)
        while not enough():
            await asyncio.sleep(min(_LOOK_SECONDS, max(pause, 0.01)))
