"""Compute while PostgreSQL works: one batch keeps two cores busy, in one process and one transaction.

A statement is sent and runs in its backend; what does not depend on it is computed meanwhile. Long computations let
the event loop look after the connection every few milliseconds: a large statement leaves the process in pieces.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_AT_ONCE = 250
_pausing = 0


def computing() -> bool:
    """Say whether somebody only pauses between two slices: what can wait would be in the way."""
    return _pausing > 0


class Ahead:
    """Sends statements of one connection, at most one at a time, and returns without waiting for their end.

    Use it as a context: at its end all have ended. A statement's error comes with the next call, or at the end. The
    block must not use the same connection otherwise. When it fails, what still runs is cancelled.
    """

    def __init__(self) -> None:
        self._running: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last one. After an error in the block its own outcome no longer matters."""
        if error is None:
            await self._finish()
        elif self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def send(self, statement: Coroutine[Any, Any, object]) -> None:
        """Wait until the one before has ended, then let `statement` begin."""
        try:
            await self._finish()
        except BaseException:
            statement.close()
            raise
        self._running = asyncio.create_task(statement)
        # It begins when the loop runs; until its first wait it is on its way.
        await asyncio.sleep(0)

    async def ask(self, statement: Coroutine[Any, Any, T]) -> T:
        """Wait until the one before has ended, then for `statement`, and return what it returns."""
        try:
            await self._finish()
        except BaseException:
            statement.close()
            raise
        return await statement

    async def _finish(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running


@asynccontextmanager
async def meanwhile(statement: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run one `statement` while the block computes: `Ahead` for a single one."""
    async with Ahead() as ahead:
        await ahead.send(statement)
        yield


async def in_turns(items: Sequence[T], at_once: int = _AT_ONCE) -> AsyncIterator[Sequence[T]]:
    """Yield `items` in slices and let the loop run between two of them."""
    global _pausing  # noqa: PLW0603 - of the process, as its loop
    for start in range(0, len(items), at_once):
        if start:
            _pausing += 1
            try:
                await asyncio.sleep(0)
            finally:
                _pausing -= 1
        yield items[start : start + at_once]
