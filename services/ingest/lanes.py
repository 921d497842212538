"""What waits to be published, partition by partition: callers with their records, and a lane for each partition."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One record for `tenure.interactions`."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Waiting:
    """One caller. `answer` is set when all its records are acknowledged, or with the first error."""

    __slots__ = ("answer", "count", "deadline", "left", "records", "size")

    def __init__(self) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Only until they are in their lanes: what is acknowledged must not stay in memory.
        self.records: Sequence[Outgoing] = ()
        self.deadline = 0.0
        self.count = self.left = self.size = 0

    def fail(self, error: BaseException) -> None:
        """Tell the caller, unless it has its answer or has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def landed(self, count: int) -> None:
        """So many records more are with the broker."""
        self.left -= count
        if self.left == 0 and not self.answer.done():
            self.answer.set_result(None)


Share = tuple[Waiting, Sequence[Outgoing]]
"""A caller's records for one partition, in their order."""


class Lane:
    """What waits for one partition. One batch of a lane is on its way at most: what comes meanwhile forms the next."""

    __slots__ = ("busy", "gathered", "leader", "place", "since")

    def __init__(self, place: TopicPartition, gathered: deque[Share]) -> None:
        self.place = place
        self.busy = False
        self.gathered = gathered
        # The broker for which others wait while a batch of this lane is on its way there, and since when.
        self.leader: int | None = None
        self.since: float | None = None

    def set_out(self, leader: int | None, flying: Counter[int | None], now: float) -> None:
        """A batch is on its way to `leader`; `flying` counts those that others wait for."""
        self.busy, self.leader, self.since = True, leader, now
        flying[leader] += 1

    def let_others_go(self, flying: Counter[int | None]) -> bool:
        """Count the batch no longer; return whether nobody waits for its broker any more."""
        if self.since is None:
            return False
        self.since = None
        flying[self.leader] -= 1
        return not flying[self.leader]

    def take(self, batch: BatchBuilder) -> list[tuple[Waiting, int]]:
        """Fill `batch` with what is still waited for; return of which callers how many records are in it."""
        taken: list[tuple[Waiting, int]] = []
        gathered = self.gathered
        while gathered:
            caller, records = gathered.popleft()
            if caller.answer.done():
                continue
            count = _fill(batch, records)
            if count:
                taken.append((caller, count))
            if count < len(records):
                gathered.appendleft((caller, records[count:]))
                break
        # Closed, it need not linger in the producer: it has lingered here, where others could still join it.
        batch.close()
        return taken


def _fill(batch: BatchBuilder, records: Sequence[Outgoing]) -> int:
    """Append as many of `records` as `batch` takes; return how many."""
    append = batch.append
    for number, record in enumerate(records):
        if append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
            return number
    return len(records)


def shares_of(records: Sequence[Outgoing], partitions: Iterator[int]) -> Iterable[tuple[int, Sequence[Outgoing]]]:
    """Return the records by partition; takes one of `partitions` for each."""
    if len(records) == 1:
        return ((next(partitions), records),)
    shares: dict[int, list[Outgoing]] = {}
    for record, partition in zip(records, partitions, strict=False):
        shares.setdefault(partition, []).append(record)
    return shares.items()
