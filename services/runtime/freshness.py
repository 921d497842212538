"""Whether a copy of what another service knows is recent enough to decide who may see what."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

from contracts.topics import Topic
from services.runtime.flow import Consumer
from services.runtime.problems import Problem

_OLDEST = 300.0
"""Seconds of real time after which reads are refused."""
_ASKED_AT_MOST_EVERY = 5.0
_ANSWER_WITHIN = 3.0


class Freshness:
    """Remembers when `lag` (records of the copied topic that wait for us) was last found to be 0.

    It asks when somebody reads, at most every few seconds, and never while a reader could be answered without.
    """

    def __init__(self, lag: Callable[[], Awaitable[int]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lag = lag
        self._monotonic = monotonic
        self._confirmed: float | None = None
        self._asked: float | None = None
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, consumer: Consumer, topic: Topic) -> Self:
        """Return that of what `consumer` copies from `topic`."""

        async def lag() -> int:
            return (await consumer.flow()).lag[topic.name]

        return cls(lag)

    async def require(self) -> None:
        """Return when the copy was up to date less than five minutes ago; else raise the 503."""
        async with self._turn:
            now = self._monotonic()
            if self._asked is None or now - self._asked > _ASKED_AT_MOST_EVERY or self._confirmed is None:
                self._asked = now
                if await self._up_to_date():
                    self._confirmed = now
        if self._confirmed is None or now - self._confirmed > _OLDEST:
            detail = "Who owns which account has not been known for five minutes, so nobody's scope is; try again soon."
            raise Problem(503, "Accounts are not up to date", detail, "stale-accounts", headers={"Retry-After": "5"})

    async def _up_to_date(self) -> bool:
        try:
            return await asyncio.wait_for(self._lag(), _ANSWER_WITHIN) == 0
        except Exception:  # noqa: BLE001 - whatever is away, it was not confirmed
            return False
