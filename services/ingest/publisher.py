"""The way to the broker: an idempotent producer that waits for all replicas, for a bounded time, in a bounded queue.

It outlives the broker: while that is away every caller is told so within its time limit, and when it comes back, or
when the producer's session is void, a new session begins by itself. A caller that was told "unavailable" may have been
heard all the same; sending again is safe, because ids are derived from what was sent.

Callers only queue and wait. One task hands what has gathered to the producer, and one timer ends what waits too long:
a task switch and a timer for each request would cost more than the request itself.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from services.ingest.settings import IngestSettings
from services.runtime.publishing import partition_of

_BULK = 64
"""From so many records of one caller on, whole batches per partition cost less than record by record."""
_BATCH_BYTES = 1_000_000
_PAUSE_SECONDS = 0.5
_STOP_SECONDS = 5
_SWEEP_SECONDS = 0.1
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


class _Waiting:
    """One caller's records. `answer` is set when all are acknowledged, or with the first error."""

    __slots__ = ("answer", "deadline", "left", "records")

    def __init__(self, records: Sequence[Outgoing], answer: asyncio.Future[None], deadline: float) -> None:
        self.records = records
        self.answer = answer
        self.deadline = deadline
        self.left = len(records)

    def sent_as(self, futures: Sequence[asyncio.Future[object]]) -> None:
        """Wait for these; each may stand for several records."""
        self.left = len(futures)
        for future in futures:
            future.add_done_callback(self._acknowledged)

    def fail(self, error: BaseException) -> None:
        """Tell the caller, unless it has its answer or has gone."""
        if not self.answer.done():
            self.answer.set_exception(error)

    def _acknowledged(self, future: asyncio.Future[object]) -> None:
        error = KafkaTimeoutError() if future.cancelled() else future.exception()
        if error is not None:
            self.fail(error)
            return
        self.left -= 1
        if self.left == 0 and not self.answer.done():
            self.answer.set_result(None)


class Publisher:
    """Publishes to one topic. Start it once; `start` does not wait for the broker."""

    def __init__(self, topic: str, settings: IngestSettings) -> None:
        self._topic = topic
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._void = asyncio.Event()
        self._gathered = asyncio.Event()
        self._queue: deque[_Waiting] = deque()
        # In the order of their deadlines, because all wait equally long.
        self._unanswered: deque[_Waiting] = deque()
        self._waiting = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker; it may have gone away since."""
        return self._producer is not None

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks = [
            asyncio.create_task(self._keep(), name="publisher session"),
            asyncio.create_task(self._hand_over(), name="publisher queue"),
            asyncio.create_task(self._sweep(), name="publisher deadlines"),
        ]

    async def stop(self) -> None:
        """Send what is waiting, for at most as long as a caller would wait, and disconnect."""
        while self._waiting and self._producer is not None:
            await asyncio.sleep(_SWEEP_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Return once the broker has acknowledged every record; raise `Unavailable` or `TooLarge`."""
        for record in records:
            if len(record.value) > self._settings.record_limit:
                raise TooLarge
        count = len(records)
        if count == 0:
            return
        if self._producer is None or self._waiting + count > self._settings.publish_limit:
            raise Unavailable
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        waiting = _Waiting(records, answer, loop.time() + self._settings.accept_seconds)
        self._waiting += count
        self._queue.append(waiting)
        self._unanswered.append(waiting)
        self._gathered.set()
        try:
            await answer
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
            self._waiting -= count

    async def _hand_over(self) -> None:
        """Give the producer what callers have queued. It blocks while the broker is away; deadlines do not."""
        while True:
            await self._gathered.wait()
            self._gathered.clear()
            while self._queue:
                waiting = self._queue.popleft()
                if waiting.answer.done():
                    continue
                try:
                    waiting.sent_as(await self._send(waiting.records))
                except Exception as error:  # noqa: BLE001 - whatever it was, its caller hears it and the next is served
                    waiting.fail(error)

    async def _sweep(self) -> None:
        """Answer callers whose time is up."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            while self._unanswered and (
                self._unanswered[0].answer.done() or self._unanswered[0].deadline <= now() + _SWEEP_SECONDS
            ):
                self._unanswered.popleft().fail(TimeoutError())

    async def _send(self, records: Sequence[Outgoing]) -> Sequence[asyncio.Future[object]]:
        producer = self._producer
        if producer is None:
            raise KafkaTimeoutError
        if len(records) >= _BULK:
            return await self._send_bulk(producer, records)
        send = partial(producer.send, self._topic)
        return [await send(key=each.key, value=each.value, headers=each.headers) for each in records]

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
