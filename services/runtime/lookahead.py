"""Records that are next are parsed and decoded while a batch waits for PostgreSQL: a core is idle then.

Nothing is taken and no position moves. What was decoded counts only for the very object that is handed out later, so
after a rebalance, a fault or a seek, when records are fetched again, there is nothing to invalidate: they are other
objects.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any, Generic

from services.runtime import overlap
from services.runtime.records import Received, Record, T

SMALL = 4
"""Up to this part of the greatest batch it is live traffic: nothing is there yet that would be next."""
_AT_ONCE = 20
_judged_later = suppress(Exception)
_SLICE_SECONDS = 0.0005
"""What else the process does waits so long, and for the last few records of a slice."""
_LOOK_AGAIN_SECONDS = 0.005
_COMPUTED_SECONDS = 0.001

Next = Callable[[int], Sequence[Record]]
"""Parses so many more of the next records and returns them; none when there are none or enough."""


class Parsed:
    """In the place of aiokafka's `PartitionRecords`: gives what it gives, some of it looked at before."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self._ahead: deque[Record] = deque()
        self._error: Exception | None = None
        self.ended = False
        """Whether there is nothing more to look at."""
        self.next_fetch_offset: int = records.next_fetch_offset
        """Beyond what was given, however far was looked."""

    @property
    def waiting(self) -> int:
        """How many records were looked at and not given."""
        return len(self._ahead)

    def look(self, most: int) -> list[Record]:
        """Parse at most `most` more; fewer at the end, and where parsing fails: that error is told in its turn."""
        found: list[Record] = []
        if not self.ended:
            try:
                found.extend(islice(self._records, most))
                self.ended = len(found) < most
            except Exception as error:  # noqa: BLE001 - whatever it is, who takes the records has to hear of it
                self._error, self.ended = error, True
            self._ahead.extend(found)
        return found

    def __iter__(self) -> Iterator[Record]:
        """Give the rest."""
        return self

    def __next__(self) -> Record:
        """Give the next one; raise what parsing it raised, once: nothing comes after that."""
        if self._ahead:
            record = self._ahead.popleft()
            self.next_fetch_offset = record.offset + 1
            return record
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            if self.ended:
                raise StopIteration
            return next(self._records)  # type: ignore[no-any-return]
        except Exception:
            self.ended = True
            raise
        finally:
            self.next_fetch_offset = self._records.next_fetch_offset


class LookAhead(Generic[T]):
    """Decodes with `decode` before it is time: about as much as a batch, `most` records or `most_bytes` of values."""

    def __init__(self, decode: Callable[[Record], Received[T]], most: int, most_bytes: int) -> None:
        self._decode = decode
        self._most = most
        self._most_bytes = most_bytes
        self._now: dict[int, Received[T]] = {}
        self._next: dict[int, Received[T]] = {}

    def decode(self, record: Record) -> Received[T]:
        """Return what `decode` returns for it, or has returned; raise what it raises."""
        found = self._now.get(id(record))
        return found if found is not None and found.record is record else self._decode(record)

    @asynccontextmanager
    async def beside(self, records: int, next_: Next) -> AsyncIterator[None]:
        """Decode, while the block waits, what comes after its `records`."""
        self._now, self._next = self._next, {}
        looking = asyncio.create_task(self._look(next_)) if records * SMALL > self._most else None
        try:
            yield
        finally:
            self._now = {}
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def _look(self, next_: Next) -> None:
        left = self._most_bytes
        while left > 0 and len(self._next) < self._most:
            if overlap.computing():
                await asyncio.sleep(_COMPUTED_SECONDS)
            elif decoded := self._slice(next_, left):
                left -= decoded
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    def _slice(self, next_: Next, left: int) -> int:
        """Decode some, hardly more than `left` bytes; return how many that were, and 0 where there was nothing."""
        decoded, until = 0, time.perf_counter() + _SLICE_SECONDS
        while decoded < left and (records := next_(_AT_ONCE)):
            for record in records:
                decoded += 1 + len(record.value or b"")
                # What cannot be decoded is judged in its batch.
                with _judged_later:
                    self._next[id(record)] = self._decode(record)
            if time.perf_counter() >= until:
                break
        return decoded
