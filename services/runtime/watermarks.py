"""What the broker has: the first and the next offset of every partition, open transactions included."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from services.runtime import connections
from services.runtime.offsets import Partition
from services.runtime.settings import RuntimeSettings

_TIMEOUT_MS = 5000


class Watermarks:
    """Asks the broker, through a consumer without a group that never fetches.

    It reads uncommitted: a consumer that reads committed is told the last stable offset, which may still lie before
    records whose transaction was committed a moment ago.
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        self._settings = settings
        self._client: _Asker | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Connect; raises `KafkaError` when the broker is away."""
        async with self._lock:
            if self._client is not None:
                return
            connections.install()
            client = _Asker(
                bootstrap_servers=self._settings.kafka_bootstrap.split(","),
                isolation_level="read_uncommitted",
                metadata_max_age_ms=10_000,
                request_timeout_ms=_TIMEOUT_MS,
                enable_auto_commit=False,
            )
            try:
                await client.start()
            except BaseException:
                await client.stop()
                raise
            self._client = client

    async def close(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(client.stop(), 2)

    async def ends(self, names: Mapping[str, str]) -> dict[Partition, tuple[int, int]]:
        """Return (first, next) offset of every partition of the topics `names` (physical → logical).

        Raises `KafkaError` or `TimeoutError` when the broker is away or a topic does not exist.
        """
        async with self._asking() as client:
            partitions = [tp for name in names for tp in await client.partitions_of(name)]
            ends = await client.end_offsets(partitions)
            begins = await client.beginning_offsets(partitions)
        return {(names[tp.topic], tp.partition): (begins[tp], ends[tp]) for tp in partitions}

    async def check(self, names: Mapping[str, str]) -> None:
        """Return when every partition's leader has answered; raises as `ends` does, and asks half as much."""
        async with self._asking() as client:
            await client.end_offsets([tp for name in names for tp in await client.partitions_of(name)])

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator["_Asker"]:
        await self.open()
        client = self._client
        if client is None:
            raise KafkaError("closed")
        try:
            async with asyncio.timeout(_TIMEOUT_MS / 1000 + 1):
                yield client
        except (KafkaError, TimeoutError):
            # A connection that leads nowhere is never given up by a client whose questions are: ask by another one.
            # Also where no topic was found: a client that can reach nobody it knows says no more than that.
            if self._client is client:
                await self.close()
            raise


class _Asker(AIOKafkaConsumer):  # type: ignore[misc]  # published without types
    """A consumer that also tells the partitions of topics that it does not read."""

    async def partitions_of(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of physical `topic`; raises `UnknownTopicOrPartitionError` when there is none."""
        try:
            found = await self._client._wait_on_metadata(topic)  # noqa: SLF001 - what a producer offers as partitions_for
        except UnknownTopicOrPartitionError:
            message = f"topic {topic} does not exist; create the topics (tenure topics)"
            raise UnknownTopicOrPartitionError(message) from None
        return [TopicPartition(topic, number) for number in sorted(found)]
