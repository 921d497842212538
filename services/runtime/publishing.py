"""A transactional producer for the relay: all of a round or nothing, per key in order, and never two at once."""

# ruff: noqa: SLF001 - aiokafka leaves failed futures where only its own attributes lead to them

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct

from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.producer import sender

from services.runtime import connections
from services.runtime.failpoints import RuntimeFailpoint, reach
from services.runtime.headers import load_headers

# A batch holds at least one record of the greatest size; the broker takes 1 MiB.
_BATCH_BYTES = 1_000_000
_REQUEST_TIMEOUT_MS = 15_000
# An open transaction holds back every reader of the partition; that of a dead relay ends after this.
_TRANSACTION_TIMEOUT_MS = 30_000
_CLOSE_SECONDS = 5
# The broker acknowledges a commit before it has written the markers; a transaction that begins meanwhile is told to
# come again. aiokafka waits 20 ms then, and most rounds of a busy relay would spend them asleep.
_BETWEEN_TRANSACTIONS = 0.002


class Fenced(Exception):
    """A newer producer has this transactional id. Whatever this one had begun is void."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record on its way to the broker. `headers` is JSON text, as `headers.dump_headers` writes it.

    They are decoded one record at a time: tens of thousands of small tuples held together cost more time in the
    garbage collector than all the rest of the relay.
    """

    key: bytes | None
    value: bytes | None
    headers: str


_WORD = Struct("<I")
_MASK = 0xFFFFFFFF
_FACTOR = 0x5BD1E995
_SEED = 0x9747B28C


def key_hash(key: bytes) -> int:
    """Return murmur2 of `key`, positive, as Kafka's clients compute it; aiokafka's own takes twice as long."""
    whole = len(key) & ~3
    state = _SEED ^ len(key)
    for (word,) in _WORD.iter_unpack(key[:whole]):
        mixed = word * _FACTOR & _MASK
        mixed = (mixed ^ mixed >> 24) * _FACTOR & _MASK
        state = state * _FACTOR & _MASK ^ mixed
    if whole < len(key):
        state = (state ^ int.from_bytes(key[whole:], "little")) * _FACTOR & _MASK
    state = (state ^ state >> 13) * _FACTOR & _MASK
    return (state ^ state >> 15) & 0x7FFFFFFF


_hash = lru_cache(maxsize=200_000)(key_hash)


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition that the default partitioner of Kafka's clients chooses; without a key always 0.

    Remembers keys: for those that come again, as accounts do.
    """
    return 0 if key is None else _hash(key) % partitions


class TransactionalPublisher:
    """Publishes rounds of records, each in one Kafka transaction.

    `holds` says whether the lease is still ours; it is asked immediately before each commit.
    """

    def __init__(self, bootstrap: str, transactional_id: str, holds: Callable[[], bool] = lambda: True) -> None:
        self._holds = holds
        self._sent: list[asyncio.Future[object]] = []
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
        sender.BACKOFF_OVERRIDE = _BETWEEN_TRANSACTIONS
        connections.install()
        try:
            await self._producer.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; an unfinished transaction is aborted by the broker."""
        self._look_at_failures()
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self._producer.stop(), _CLOSE_SECONDS)
        self._look_at_failures()

    async def publish(self, records: Sequence[tuple[str, Outgoing]]) -> None:
        """Publish `records` (physical topic, record) in order per partition; returns once the transaction is committed.

        Raises `Fenced`, `ConnectionError` when the lease is lost, or `KafkaError`; close this publisher then.
        """
        try:
            await self._producer.begin_transaction()
            self._sent = []
            for lane, its_records in (await self._lanes(records)).items():
                await self._send(lane, its_records)
            await asyncio.gather(*self._sent)
            reach(RuntimeFailpoint.RELAY_SENT)
            if not self._holds():
                message = "the lease is lost"
                raise ConnectionError(message)
            await self._producer.commit_transaction()
        except (ProducerFenced, InvalidProducerEpoch) as fenced:
            raise Fenced(str(fenced)) from fenced

    def _look_at_failures(self) -> None:
        """Retrieve what aiokafka leaves in futures that nobody can await: asyncio would report each as an error."""
        manager, accumulator = self._producer._txn_manager, self._producer._message_accumulator
        batches = [batch for queue in accumulator._batches.values() for batch in queue]
        batches += accumulator._pending_batches
        left = [manager._transaction_waiter, *self._sent]
        left += [future for batch in batches for future in (batch.future, batch._drain_waiter)]
        for future in left:
            if future is not None:
                future.add_done_callback(_retrieve)

    async def _lanes(self, records: Sequence[tuple[str, Outgoing]]) -> dict[tuple[str, int], list[Outgoing]]:
        counts: dict[str, int] = {}
        lanes: dict[tuple[str, int], list[Outgoing]] = {}
        for topic, record in records:
            count = counts.get(topic)
            if count is None:
                count = counts[topic] = len(await self._producer.partitions_for(topic))
            lanes.setdefault((topic, partition_of(record.key, count)), []).append(record)
        return lanes

    async def _send(self, lane: tuple[str, int], records: Sequence[Outgoing]) -> None:
        topic, partition = lane
        batch = self._producer.create_batch()
        for record in records:
            headers = load_headers(record.headers)
            if batch.append(key=record.key, value=record.value, timestamp=None, headers=headers) is None:
                self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))
                batch = self._producer.create_batch()
                batch.append(key=record.key, value=record.value, timestamp=None, headers=headers)
        self._sent.append(await self._producer.send_batch(batch, topic, partition=partition))


def _retrieve(future: asyncio.Future[object]) -> None:
    if not future.cancelled():
        future.exception()
