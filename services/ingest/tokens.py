"""What came with a token that a provider uses once: known to all doors, and to this one while the database is away."""

import asyncio
import time

import asyncpg
import structlog

from contracts.ids import digest
from services.ingest import store_tokens
from services.ingest.verify.proof import Unverified
from services.ingest.verify.replays import KEPT_SECONDS, OnceOnly
from services.runtime.postgres import acquire

ANSWER_SECONDS = 0.5
"""So long a delivery waits for the database: its provider waits for two."""
_PAUSE_SECONDS = 5.0
_FAULTS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
_log = structlog.get_logger(__name__)


class SharedTokens:
    """`services.ingest.verify.replays.Once` of every door that has this database.

    Without it the doors stay open, and each knows what came to itself.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._own = OnceOnly()
        self._asked_again = 0.0

    async def check(self, source: str, token: str, content: str, now: float) -> None:
        """Raise `Unverified` when `token` came with another `content` (a digest) before, to whichever door."""
        first = await self._shared(source, digest(token.encode("utf-8", "surrogatepass")), content)
        if first is not None and first != content:
            raise Unverified("replayed")
        await self._own.check(source, token, content, now)

    async def _shared(self, source: str, token: str, content: str) -> str | None:
        """Return what came with the token first; None while the database is away."""
        if time.monotonic() < self._asked_again:
            return None
        try:
            async with asyncio.timeout(ANSWER_SECONDS), acquire(self._pool) as connection:
                return await store_tokens.remember(connection, source, token, content, KEPT_SECONDS)
        except _FAULTS as error:
            self._asked_again = time.monotonic() + _PAUSE_SECONDS
            _log.warning("tokens are not shared: the database is away", error=type(error).__name__)
            return None
