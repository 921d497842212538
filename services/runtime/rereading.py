"""Reading partitions outside any consumer group, from given offsets: for who fills tables anew beside the live ones."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import Topic
from services.runtime import connections
from services.runtime.offsets import Partition
from services.runtime.records import Record
from services.runtime.settings import RuntimeSettings

_FETCH_WAIT_MS = 100
"""Where only control records are left there is nothing to return: each such wait is one more for who swaps tables."""
_PARTITION_FETCH_BYTES = 4 * 1024 * 1024


class Rereader:
    """Committed records of `topics` in the order of each partition. Use it as a context."""

    def __init__(self, settings: RuntimeSettings, topics: Sequence[Topic], positions: Mapping[Partition, int]) -> None:
        self._names = {settings.physical(topic.name): topic.name for topic in topics}
        self._positions = dict(positions)
        self._partitions = {
            TopicPartition(settings.physical(topic), number): (topic, number) for topic, number in positions
        }
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap.split(","),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            metadata_max_age_ms=10_000,
            request_timeout_ms=20_000,
        )

    async def __aenter__(self) -> Self:
        """Connect and go to the positions; raises `KafkaError` when the broker is away."""
        connections.install()
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.assign(list(self._partitions))
        for name, partition in self._partitions.items():
            self._consumer.seek(name, self._positions[partition])
        # Its background task must have begun before it can be cancelled without an error.
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self._consumer.stop()

    @property
    def positions(self) -> Mapping[Partition, int]:
        """The offset that comes next in each partition; what was fetched counts as read."""
        return self._positions

    def behind(self, ends: Mapping[Partition, int]) -> int:
        """Return how many offsets (records and control records) are left up to `ends`."""
        return sum(max(0, end - self._positions.get(partition, end)) for partition, end in ends.items())

    async def fetch(
        self, limit: int, until: Mapping[Partition, int] | None = None
    ) -> tuple[list[Record], dict[Partition, int]]:
        """Return up to `limit` next records, none at or beyond `until`, and the new positions of what has moved.

        Waits a tenth of a second at most. Positions also move over control records, without any record.
        """
        consumer = self._consumer
        if until is not None:
            done = [name for name, partition in self._partitions.items() if not self._wanted(partition, until)]
            consumer.pause(*done)
            consumer.resume(*(name for name in self._partitions if name not in done))
        else:
            consumer.resume(*self._partitions)
        fetched = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS, max_records=limit)
        records: list[Record] = []
        moved: dict[Partition, int] = {}
        for name, partition in self._partitions.items():
            end = await consumer.position(name)
            if until is not None and end > (cap := max(until.get(partition, 0), self._positions[partition])):
                consumer.seek(name, cap)
                end = cap
            records += [
                Record(partition[0], one.partition, one.offset, one.key, one.value, one.headers)
                for one in fetched.get(name, ())
                if one.offset < end
            ]
            if end != self._positions[partition]:
                moved[partition] = self._positions[partition] = end
        return records, moved

    def _wanted(self, partition: Partition, until: Mapping[Partition, int]) -> bool:
        return self._positions[partition] < until.get(partition, 0)
