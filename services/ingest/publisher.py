"""The way to the broker: an idempotent producer that waits for all replicas, for a bounded time, in a bounded queue.

It outlives the broker: while that is away every caller is told so within its time limit, and when it comes back, or
when the producer's session is void, a new session begins by itself. A caller that was told "unavailable" may have been
heard all the same; sending again is safe, because ids are derived from what was sent.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from services.ingest.settings import IngestSettings
from services.runtime.publishing import partition_of

_BULK = 16
"""From so many records on, whole batches per partition cost less than record by record."""
_BATCH_BYTES = 1_000_000
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 5
_log = structlog.get_logger(__name__)


class Unavailable(Exception):
    """The broker did not acknowledge in time, or too many records wait for it. Sending again later is safe."""


class TooLarge(Exception):
    """The record is larger than the broker takes."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record for `tenure.interactions`."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]


class Publisher:
    """Publishes to one topic. Start it once; `start` does not wait for the broker."""

    def __init__(self, topic: str, settings: IngestSettings) -> None:
        self._topic = topic
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._void = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._waiting = 0

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker; it may have gone away since."""
        return self._producer is not None

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._keeper = asyncio.create_task(self._keep(), name="publisher")

    async def stop(self) -> None:
        """Send what is waiting, for at most five seconds, and disconnect."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        await self._close()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return once the broker has acknowledged every record; raise `Unavailable` or `TooLarge`."""
        if any(len(record.value) > self._settings.record_limit for record in records):
            raise TooLarge
        producer = self._producer
        if producer is None or self._waiting + len(records) > self._settings.publish_limit:
            raise Unavailable
        self._waiting += len(records)
        try:
            async with asyncio.timeout(self._settings.accept_seconds):
                await self._deliver(producer, records)
        except (TimeoutError, KafkaTimeoutError):
            raise Unavailable from None
        except MessageSizeTooLargeError:
            raise TooLarge from None
        except KafkaError as error:
            # Whatever it was, a fresh session is the one cure: sequence numbers that went lost never come back.
            _log.warning("the broker refused a record, a new session begins", error=type(error).__name__)
            self._void.set()
            raise Unavailable from None
        finally:
            self._waiting -= len(records)

    async def _deliver(self, producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> None:
        if len(records) < _BULK:
            pending = [
                await producer.send(self._topic, key=record.key, value=record.value, headers=record.headers)
                for record in records
            ]
        else:
            pending = await self._send_bulk(producer, records)
        for future in pending:
            future.add_done_callback(_retrieve)
        # Shielded: a caller that gives up must not cancel what the broker may still acknowledge.
        for future in pending:
            if not future.done():
                await asyncio.shield(future)
            future.result()

    async def _send_bulk(self, producer: AIOKafkaProducer, records: Sequence[Outgoing]) -> list[asyncio.Future[object]]:
        count = len(await producer.partitions_for(self._topic))
        lanes: dict[int, list[Outgoing]] = {}
        for record in records:
            lanes.setdefault(partition_of(record.key, count), []).append(record)
        pending: list[asyncio.Future[object]] = []
        for partition, lane in lanes.items():
            batch = producer.create_batch()
            for record in lane:
                if batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers) is None:
                    pending.append(await producer.send_batch(batch, self._topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(key=record.key, value=record.value, timestamp=None, headers=record.headers)
            pending.append(await producer.send_batch(batch, self._topic, partition=partition))
        return pending

    async def _keep(self) -> None:
        """Hold a session for as long as the service runs."""
        while True:
            try:
                await self._open()
                _log.info("connected to the broker")
                await self._void.wait()
                await self._close()
            except (KafkaError, OSError) as error:
                _log.warning("the broker is away, trying again", error=type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _open(self) -> None:
        self._void.clear()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap.split(","),
            client_id=self._settings.physical("ingest"),
            enable_idempotence=True,
            acks="all",
            linger_ms=self._settings.linger_ms,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_BATCH_BYTES + 48_576,
            # A batch that has waited this long fails, so that a long absence does not pile up old records.
            request_timeout_ms=10_000,
            metadata_max_age_ms=30_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), _STOP_SECONDS)


def _retrieve(future: asyncio.Future[object]) -> None:
    """Look at the outcome, so that one nobody waits for any more is not reported as forgotten."""
    if not future.cancelled():
        future.exception()
