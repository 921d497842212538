"""Requests that come in one turn of the event loop, read together: step by step, each step for all of them.

Between two steps of one request lies what all others do, and until then its code and data have left the processor's
caches: the same reading takes twice as long there, and ten times where nothing of it is left. Nobody waits for the next
turn.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from services.ingest.doors.hot import Knock
from services.ingest.publisher import Outgoing, Publisher, TooLarge, Unavailable, Waiting

_AT_ONCE = 16
"""Requests of which what was read lies in memory at the same time; more would not stay in the caches either."""


class Visit:
    """One request, as it waits to be read and then for the broker. What is read of it, subclasses hold.

    `records`: what it became. `queued`: they are with the publisher. `seen`: its trace was drawn to be recorded.
    """

    __slots__ = ("knock", "queued", "records", "seen", "waiting")

    def __init__(self, knock: Knock) -> None:
        self.knock = knock
        self.waiting = Waiting()
        self.records: Sequence[Outgoing] = ()
        self.queued = False
        self.seen = False

    def release(self) -> None:
        """Forget what nobody needs once the records are queued."""
        self.records = ()


V = TypeVar("V", bound=Visit)
S = TypeVar("S")
Step = Callable[[V, dict[str, S]], bool]
"""Reads a part of a visit; False: the door's ordinary way has to go on. The last step leaves records.

Gets what visits of this turn have in common, by the names of their sources, and may add to it."""


class Turns(Generic[V, S]):
    """Reads visits of the same turn together, by `steps`."""

    def __init__(self, publisher: Publisher, steps: Sequence[Step[V, S]]) -> None:
        self._publisher = publisher
        self._steps = steps
        self._visits: list[V] = []

    async def read(self, visit: V) -> bool:
        """Return whether its records are with the broker; False: it has to be looked at, by the door's ordinary way.

        Raises `Unavailable` and `TooLarge` about records that it became.
        """
        if not self._visits:
            asyncio.get_running_loop().call_soon(self._read_all)
        self._visits.append(visit)
        await self._publisher.acknowledged(visit.waiting)
        return visit.queued

    def _read_all(self) -> None:
        visits, self._visits = self._visits, []
        shared: dict[str, S] = {}
        for first in range(0, len(visits), _AT_ONCE):
            going: Sequence[V] = visits[first : first + _AT_ONCE]
            for step in self._steps:
                going = [visit for visit in going if _passes(step, visit, shared)]
            self._queue(going)

    def _queue(self, visits: Sequence[V]) -> None:
        submit = self._publisher.submit
        for visit in visits:
            try:
                submit(visit.waiting, visit.records)
                visit.queued = True
                visit.release()
            except (Unavailable, TooLarge) as error:
                visit.waiting.fail(error)


def _passes(step: Step[V, S], visit: V, shared: dict[str, S]) -> bool:
    answer = visit.waiting.answer
    try:
        if step(visit, shared) and not answer.done():
            return True
    except Exception:  # noqa: BLE001, S110 - whatever it was, the ordinary way meets it again and can tell
        pass
    if not answer.done():
        answer.set_result(None)
    return False
