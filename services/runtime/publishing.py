"""A transactional producer for the relay: all of a round or nothing, per key in order, and never two at once."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.partitioner import murmur2

# A batch holds at least one record of the greatest size; the broker takes 1 MiB.
_BATCH_BYTES = 1_000_000
_REQUEST_TIMEOUT_MS = 15_000
# An open transaction holds back every reader of the partition; that of a dead relay ends after this.
_TRANSACTION_TIMEOUT_MS = 30_000


class Fenced(Exception):
    """A newer producer has this transactional id. Whatever this one had begun is void."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record on its way to the broker."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@lru_cache(maxsize=200_000)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition that the default partitioner of Kafka's clients chooses; without a key always 0."""
    return 0 if key is None else _hash(key) % partitions


class TransactionalPublisher:
    """Publishes rounds of records, each in one Kafka transaction.

    `holds` says whether the lease is still ours; it is asked immediately before each commit.
    """

    def __init__(self, bootstrap: str, transactional_id: str, holds: Callable[[], bool] = lambda: True) -> None:
        self._holds = holds
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap.split(","),
            client_id=transactional_id,
            transactional_id=transactional_id,
            enable_idempotence=True,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MS,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            metadata_max_age_ms=30_000,
        )

    async def start(self) -> None:
        """Connect and shut out every earlier producer of this id; raises `KafkaError` when the broker is away."""
        try:
            await self._producer.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; an unfinished transaction is aborted by the broker."""
        with contextlib.suppress(KafkaError, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self._producer.stop(), 5)

    async def publish(self, records: Sequence[tuple[str, Outgoing]]) -> None:
        """Publish `records` (physical topic, record) in order per partition; returns once the transaction is committed.

        Raises `Fenced`, `ConnectionError` when the lease is lost, or `KafkaError`; close this publisher then.
        """
        try:
            await self._producer.begin_transaction()
            acknowledged = [
                future for lane in (await self._lanes(records)).items() for future in await self._send(*lane)
            ]
            await asyncio.gather(*acknowledged)
            if not self._holds():
                message = "the lease is lost"
                raise ConnectionError(message)
            await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as fenced:
            raise Fenced(str(fenced)) from fenced

    async def _lanes(self, records: Sequence[tuple[str, Outgoing]]) -> dict[tuple[str, int], list[Outgoing]]:
        counts: dict[str, int] = {}
        lanes: dict[tuple[str, int], list[Outgoing]] = {}
        for topic, record in records:
            count = counts.get(topic)
            if count is None:
                count = counts[topic] = len(await self._producer.partitions_for(topic))
            lanes.setdefault((topic, partition_of(record.key, count)), []).append(record)
        return lanes

    async def _send(self, lane: tuple[str, int], records: Sequence[Outgoing]) -> list[asyncio.Future[object]]:
        topic, partition = lane
        futures: list[asyncio.Future[object]] = []
        batch = self._producer.create_batch()
        for record in records:
            if batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
                futures.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
        futures.append(await self._producer.send_batch(batch, topic, partition=partition))
        return futures
