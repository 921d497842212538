"""A lock of the database that outlives transactions, for work that takes many and that one replica does at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

from services.runtime.postgres import acquire

SESSIONS_OF_SILENCE = 3
"""Who holds a lock and is not heard of for so many sessions (`RuntimeSettings.session_seconds`) loses it."""
_ASKS = 3
_LEAVE_SECONDS = 3.0


@asynccontextmanager
async def held(pool: asyncpg.Pool, key: int, *, silence: float) -> AsyncIterator[bool]:
    """Hold the advisory lock `key` during the block, on a connection that does nothing else; False: another has it.

    The server gives the lock away after `silence` seconds in which it hears nothing of us, although something on the
    way may still answer for us. When it is lost, the block is cancelled and `ConnectionError` raised.
    """
    async with acquire(pool) as connection:
        if not await _take(connection, key):
            yield False
            return
        lost = asyncio.timeout(None)
        try:
            await _limit(connection, f"{int(silence * 1000)}ms")
            async with lost, _speaking_up(connection, silence, lost):
                yield True
        except TimeoutError:
            if not lost.expired():
                raise
            message = "the session that holds a lock is lost; what was done under it is broken off"
            raise ConnectionError(message) from None
        finally:
            await _give_back(connection, key)


@asynccontextmanager
async def _speaking_up(connection: asyncpg.Connection, silence: float, lost: asyncio.Timeout) -> AsyncIterator[None]:
    async def speak_up() -> None:
        try:
            while True:
                await asyncio.sleep(silence / _ASKS)
                # Any question will do: the server counts from the last one.
                await connection.fetchval("select 1", timeout=silence)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            lost.reschedule(asyncio.get_running_loop().time())

    speaking = asyncio.create_task(speak_up(), name="session lock")
    try:
        yield
    finally:
        speaking.cancel()
        with suppress(asyncio.CancelledError):
            await speaking


async def _take(connection: asyncpg.Connection, key: int) -> bool:
    # Advisory locks are per database; each kind of work has a key.
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", key))


async def _limit(connection: asyncpg.Connection, silence: str) -> None:
    # For the session, because between two transactions it is idle.
    await connection.execute("select set_config('idle_session_timeout', $1, false)", silence)


async def _give_back(connection: asyncpg.Connection, key: int) -> None:
    """Leave the connection as it was; where that is impossible it is cut, and the lock goes with it."""
    try:
        async with asyncio.timeout(_LEAVE_SECONDS):
            # What follows in this session may take its time again.
            await connection.execute("reset idle_session_timeout")
            await connection.execute("select pg_advisory_unlock($1)", key)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise
