"""One statement runs on the server while we compute what comes after it."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Ahead:
    """Sends statements of one connection, at most one at a time, and returns without waiting for their end.

    Use it as a context: at its end all have ended. A statement's error comes with the next call, or at the end. Give
    the loop a chance now and then (`asyncio.sleep(0)`) while computing, or what was written stays in our buffers.
    """

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

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
            if isinstance(error, asyncio.CancelledError):
                self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def send(self, statement: Coroutine[Any, Any, None]) -> None:
        """Wait until the one before has ended, then let `statement` begin."""
        try:
            await self._finish()
        except BaseException:
            statement.close()
            raise
        self._running = asyncio.create_task(statement)
        await asyncio.sleep(0)

    async def _finish(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running
