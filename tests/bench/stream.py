"""Records into topics, fast, and out again for the checks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

_FETCH_WAIT_MS = 1000
# The same for every contestant: what runtime/subscription.py asks for.
PARTITION_FETCH_BYTES = 4 * 1024 * 1024


class Outgoing(NamedTuple):
    """One record as the broker takes it."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    lane: int | None = None
    """Records of one lane share a partition, in their order; None: the key decides."""


class Pace:
    """How fast records are committed, from the end of the first batch on: joining and warming up do not count."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = []
        self._spent: list[float] = []

    def committed(self, total: int) -> None:
        """So many records are through now."""
        self._marks.append((time.perf_counter(), total))
        self._spent.append(time.process_time())

    @property
    def marks(self) -> list[tuple[float, int]]:
        """Each commit: when, by a clock that all processes share, and how many records were through then."""
        return self._marks

    @property
    def total(self) -> int:
        """Records committed so far."""
        return self._marks[-1][1] if self._marks else 0

    @property
    def per_second(self) -> float:
        """Records a second between the first and the last commit."""
        (began, before), (ended, after) = self._marks[0], self._marks[-1]
        if after == before:
            raise ValueError("one batch took everything: a pace needs at least two")
        return (after - before) / (ended - began)

    @property
    def processor_us(self) -> float:
        """Microseconds of this process's own processor time for each record, over the same stretch."""
        return (self._spent[-1] - self._spent[0]) / (self.total - self._marks[0][1]) * 1e6


class NotTogether(Exception):
    """One process was done before another had its share: the run says nothing about both."""


def joint_pace(parties: Sequence[Sequence[tuple[float, int]]]) -> float:
    """Records a second of several processes together, from when each has committed something until all are done.

    One that came too late to get anything does not count: of few records the first has them all. Raises `NotTogether`
    when the last to come had a single batch, which was the last of all.
    """
    parties = [marks for marks in parties if marks]
    began = max(marks[0][0] for marks in parties)
    ended = max(marks[-1][0] for marks in parties)
    if ended <= began:
        raise NotTogether
    before = sum(max(total for moment, total in marks if moment <= began) for marks in parties)
    return (sum(marks[-1][1] for marks in parties) - before) / (ended - began)


@asynccontextmanager
async def producing(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer, as ingest has one."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, max_batch_size=1_000_000)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def produce(bootstrap: str, topic: str, records: Iterable[Outgoing]) -> int:
    """Writes `records` in their order, partitioned by key as the default partitioner does; returns how many."""
    count = 0
    async with producing(bootstrap) as producer:
        partitions = sorted(await producer.partitions_for(topic))
        partition_of = DefaultPartitioner()
        building: dict[int, BatchBuilder] = {}
        waiting: list[asyncio.Future[object]] = []
        for record in records:
            if record.lane is None:
                partition = partition_of(record.key, partitions, partitions)
            else:
                partition = partitions[record.lane % len(partitions)]
            batch = building.setdefault(partition, producer.create_batch())
            if _append(batch, record) is None:
                waiting.append(await producer.send_batch(batch, topic, partition=partition))
                batch = building[partition] = producer.create_batch()
                _append(batch, record)
            count += 1
        for partition, batch in building.items():
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
        await asyncio.gather(*waiting)
    return count


def _append(batch: BatchBuilder, record: Outgoing) -> object:
    return batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)


@asynccontextmanager
async def reading(bootstrap: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at the beginning of every partition, outside any group."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=None,  # it gets every partition at once, and keeps them
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read_all(bootstrap: str, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Every committed record that was there when reading began; per partition in order."""
    async with reading(bootstrap, topic) as consumer:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        left = {partition for partition in ends if ends[partition] > 0}
        while left:
            fetched = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS)
            for record in _flat(fetched):
                yield record
            left = {partition for partition in left if await consumer.position(partition) < ends[partition]}


def _flat(fetched: dict[TopicPartition, list[ConsumerRecord]]) -> Iterator[ConsumerRecord]:
    for records in fetched.values():
        yield from records
