"""Whether what we know of owners is recent enough to say who may see what."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from services.runtime.problems import Problem

OLDEST = 300.0
"""Seconds after which reads are refused."""
_ASK_AGAIN = 15.0
_ASK_AT_MOST_EVERY = 2.0
_ANSWER_WITHIN = 3.0


class Freshness:
    """Asks `up_to_date` (whether the accounts topic has no lag) at most every few seconds, when somebody reads.

    Real time: a clock that is stepped says nothing about lag.
    """

    def __init__(
        self, up_to_date: Callable[[], Awaitable[bool]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._up_to_date = up_to_date
        self._monotonic = monotonic
        self._confirmed = -OLDEST
        self._asked = -OLDEST
        self._turn = asyncio.Lock()

    async def require(self) -> None:
        """Return when the copy of accounts was confirmed less than five minutes ago; else raise the 503."""
        async with self._turn:
            now = self._monotonic()
            if now - self._confirmed > _ASK_AGAIN and now - self._asked > _ASK_AT_MOST_EVERY:
                self._asked = now
                if await self._ask():
                    self._confirmed = now
        if now - self._confirmed > OLDEST:
            detail = (
                "Owners of accounts are not known as of the last five minutes, so nobody's scope is; try again soon."
            )
            raise Problem(503, "Accounts are not up to date", detail, "stale-accounts", headers={"Retry-After": "5"})

    async def _ask(self) -> bool:
        try:
            return await asyncio.wait_for(self._up_to_date(), _ANSWER_WITHIN)
        except Exception:  # noqa: BLE001 - whatever is away: it was not confirmed
            return False
