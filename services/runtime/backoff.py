"""Waiting between attempts: longer each time, never in step with others, and over at once when the service stops."""

import asyncio
import contextlib
import random
from collections.abc import Coroutine


class Backoff:
    """Durations with full jitter: up to `first` seconds, then up to twice as long, at most `most`."""

    def __init__(self, first: float = 0.2, most: float = 15.0) -> None:
        self._first = first
        self._most = most
        self.attempts = 0

    def next(self) -> float:
        """Return how many seconds to wait before the next attempt; never less than half the bound, so nothing spins."""
        bound = min(self._most, self._first * float(1 << min(self.attempts, 16)))
        self.attempts += 1
        return bound * (0.5 + random.random() / 2)  # noqa: S311 - jitter, no secret

    def reset(self) -> None:
        """Begin again after a success."""
        self.attempts = 0


async def pause(stop: asyncio.Event, seconds: float) -> bool:
    """Wait `seconds` or until `stop` is set; return whether it is."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of `events` is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work` unless `stop` is set first; return whether it was done."""
    doing, waiting = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not doing.done():
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
        return False
    doing.result()
    return True
