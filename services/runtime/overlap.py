"""Compute while PostgreSQL works: one batch keeps two cores busy, in one process and one transaction.

A statement is sent and runs in its backend; what does not depend on it is computed meanwhile. Long computations let
the event loop look after the connection every few milliseconds: a large statement leaves the process in pieces.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_AT_ONCE = 250


@asynccontextmanager
async def meanwhile(statement: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run `statement` while the block computes; both have ended when the block is left, and either may raise.

    The block must not use the same connection. When it fails, the statement is cancelled first.
    """
    running = asyncio.ensure_future(statement)
    try:
        # The statement begins when the loop runs; until its first wait it is on its way.
        await asyncio.sleep(0)
        yield
    except BaseException:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise
    await running


async def in_turns(items: Sequence[T], at_once: int = _AT_ONCE) -> AsyncIterator[Sequence[T]]:
    """Yield `items` in slices and let the loop run between two of them."""
    for start in range(0, len(items), at_once):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + at_once]
