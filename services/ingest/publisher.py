"""The way to the broker: an idempotent producer that waits for all replicas, for a bounded time, in a bounded queue.

It outlives the broker: while that is away every caller is told so within its time limit, and when it comes back, or
when the producer's session is void, a new session begins by itself. A caller that was told "unavailable" may have been
heard all the same; sending again is safe, because ids are derived from what was sent.

Callers only queue and wait. One task hands what has gathered to the producer, a batch for each partition, and one timer
ends what waits too long: a task switch, a timer and a future of the producer for each record would cost more than the
record itself. While a request is on its way to a broker, what comes for that broker gathers, because the producer sends
one request at a time to each: so the next one carries all partitions at once, and the busier we are, the larger it is.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.structs import TopicPartition

from services.ingest.failpoints import IngestFailpoint
from services.ingest.lanes import Lane, Outgoing, Waiting, shares_of
from services.ingest.settings import IngestSettings
from services.runtime import connections
from services.runtime.failpoints import InjectedFault, reach
from services.runtime.lasting import lasting
from services.runtime.partitioning import partitions_of

_BATCH_BYTES = 1_000_000
_PAUSE_SECONDS = 0.5
_REQUEST_MS = 10_000
_STOP_SECONDS = 5
_SWEEP_SECONDS = 0.1
_HELD_BACK_SECONDS = 0.5
"""So long others wait for a batch that is on its way to the same broker: it may be that of a partition that is ill."""
_log = structlog.get_logger(__name__)

__all__ = ["Outgoing", "Publisher", "TooLarge", "Unavailable", "Waiting"]


class Unavailable(Exception):
    """The broker did not acknowledge in time, or too many records wait for it. Sending again later is safe."""


class TooLarge(Exception):
    """The record is larger than the broker takes."""


class Publisher:
    """Publishes to one topic. Start it once; `start` does not wait for the broker."""

    def __init__(self, topic: str, settings: IngestSettings) -> None:
        self._topic = topic
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._void = asyncio.Event()
        self._gathered = asyncio.Event()
        # Whether somebody will look after what was submitted last, once it has lingered.
        self._lingering = False
        self._linger = settings.linger_ms / 1000
        # So many callers or records need not linger: with one for each partition, more bring little.
        self._enough = 1
        self._queue: deque[Waiting] = deque()
        self._lanes: dict[int, Lane] = {}
        # Batches on their way, by the broker that leads their partition.
        self._flying: Counter[int | None] = Counter()
        # In the order of their deadlines, because all wait equally long.
        self._unanswered: deque[Waiting] = deque()
        self._waiting = 0
        self._waiting_bytes = 0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def connected(self) -> bool:
        """Whether there is a session with the broker; it may have gone away since."""
        return self._producer is not None

    @property
    def record_limit(self) -> int:
        """Bytes that the value of one record may have."""
        return self._settings.record_limit

    async def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks = [
            lasting(self._keep(), name="publisher session"),
            lasting(self._hand_over(), name="publisher queue"),
            lasting(self._sweep(), name="publisher deadlines"),
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
        if records:
            waiting = Waiting()
            self.submit(waiting, records)
            await self.acknowledged(waiting)

    def submit(self, waiting: Waiting, records: Sequence[Outgoing]) -> None:
        """Queue a caller's records, at least one; raise `Unavailable` or `TooLarge`. Then await `acknowledged`."""
        size = 0
        for record in records:
            if len(record.value) > self._settings.record_limit:
                raise TooLarge
            size += len(record.value)
        count = len(records)
        if (
            self._producer is None
            or self._waiting + count > self._settings.publish_limit
            or self._waiting_bytes + size > self._settings.publish_bytes
        ):
            raise Unavailable
        loop = asyncio.get_running_loop()
        waiting.records, waiting.deadline = records, loop.time() + self._settings.accept_seconds
        waiting.count = waiting.left = count
        waiting.size = size
        self._waiting += count
        self._waiting_bytes += size
        self._queue.append(waiting)
        self._unanswered.append(waiting)
        if max(count, len(self._queue)) >= self._enough:
            self._gathered.set()
        elif not self._lingering:
            self._lingering = True
            loop.call_later(self._linger, self._lingered)

    def _lingered(self) -> None:
        self._lingering = False
        self._gathered.set()

    async def acknowledged(self, waiting: Waiting) -> None:
        """Return once every record that was submitted is acknowledged; raise `Unavailable` or `TooLarge`."""
        try:
            await waiting.answer
        except (TimeoutError, KafkaTimeoutError):
            raise Unavailable from None
        except MessageSizeTooLargeError:
            raise TooLarge from None
        except (KafkaError, InjectedFault) as error:
            # Whatever it was, a fresh session is the one cure: sequence numbers that went lost never come back.
            _log.warning("the broker refused a record, a new session begins", error=type(error).__name__)
            self._void.set()
            raise Unavailable from None
        finally:
            self._waiting -= waiting.count
            self._waiting_bytes -= waiting.size

    async def _hand_over(self) -> None:
        """Give the producer what callers have queued. It may block while the broker is away; deadlines do not."""
        while True:
            await self._gathered.wait()
            self._gathered.clear()
            try:
                await self._deal()
            except Exception as error:  # noqa: BLE001 - whatever it was, its callers hear it and the next are served
                while self._queue:
                    self._queue.popleft().fail(error)
            producer = self._producer
            if producer is not None:
                await self._send(producer)

    async def _send(self, producer: AIOKafkaProducer) -> None:
        """Send one batch of each lane that has gathered something, to all brokers that have nothing to do."""
        leader_of = producer.client.cluster.leader_for_partition
        ready = [(leader_of(lane.place), lane) for lane in self._lanes.values() if lane.gathered and not lane.busy]
        for leader, lane in [(leader, lane) for leader, lane in ready if not self._flying[leader]]:
            if self._producer is not producer:
                # What has gathered is for the next session.
                return
            await self._dispatch(producer, leader, lane)

    async def _deal(self) -> None:
        """Put the records of queued callers into the lanes of their partitions."""
        producer = self._producer
        if producer is None:
            raise KafkaTimeoutError
        count = self._enough = await self._partitions(producer)
        callers = list(self._queue)
        self._queue.clear()
        found = iter(partitions_of([record.key for caller in callers for record in caller.records], count))
        for caller in callers:
            records, caller.records = caller.records, ()
            for partition, share in shares_of(records, found):
                lane = self._lanes.get(partition)
                if lane is None:
                    lane = self._lanes[partition] = Lane(TopicPartition(self._topic, partition), deque())
                lane.gathered.append((caller, share))

    async def _partitions(self, producer: AIOKafkaProducer) -> int:
        """Return how many partitions the topic has."""
        known = producer.client.cluster.partitions_for_topic(self._topic)
        if known is None:
            # The topic may be missing; and of a session that ends meanwhile no answer ever comes.
            async with asyncio.timeout(self._settings.accept_seconds):
                known = await producer.partitions_for(self._topic)
        return len(known)

    async def _dispatch(self, producer: AIOKafkaProducer, leader: int | None, lane: Lane) -> None:
        """Send one batch with what a lane has gathered."""
        batch = producer.create_batch()
        taken = lane.take(batch)
        if not taken:
            return
        flying = self._flying
        try:
            reach(IngestFailpoint.PRODUCING)
            # It may wait for what the broker says of the topic.
            async with asyncio.timeout(self._settings.accept_seconds):
                future = await producer.send_batch(batch, self._topic, partition=lane.place.partition)
        except Exception as error:  # noqa: BLE001 - whatever it was, its callers hear it and the next are served
            for caller, _ in taken:
                caller.fail(error)
            return
        lane.set_out(leader, flying, asyncio.get_running_loop().time())
        future.add_done_callback(partial(self._landed, flying, lane, taken))

    def _landed(
        self,
        flying: Counter[int | None],
        lane: Lane,
        taken: Sequence[tuple[Waiting, int]],
        future: asyncio.Future[object],
    ) -> None:
        lane.busy = False
        # Where nobody waited for it any more, what waits for this lane alone goes on.
        if lane.since is None or lane.let_others_go(flying):
            self._go_on()
        error = KafkaTimeoutError() if future.cancelled() else future.exception()
        if error is None:
            try:
                reach(IngestFailpoint.ACKNOWLEDGED)
            except ConnectionError as injected:
                error = injected
        for caller, count in taken:
            if error is None:
                caller.landed(count)
            else:
                caller.fail(error)
        while self._unanswered and self._unanswered[0].answer.done():
            self._unanswered.popleft()

    def _go_on(self) -> None:
        """Have sent what has gathered, if anything has."""
        if any(lane.gathered for lane in self._lanes.values()):
            self._gathered.set()

    async def _sweep(self) -> None:
        """Answer callers whose time is up, forget what they had queued, and hold nobody back for too long."""
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            late = False
            while self._unanswered and (
                self._unanswered[0].answer.done() or self._unanswered[0].deadline <= now() + _SWEEP_SECONDS
            ):
                caller = self._unanswered.popleft()
                late = late or not caller.answer.done()
                caller.fail(TimeoutError())
            if late:
                self._forget()
            # A partition that takes nothing is asked again and again for as long as that lasts.
            held_back = now() - _HELD_BACK_SECONDS
            slow = [lane for lane in self._lanes.values() if lane.since is not None and lane.since < held_back]
            if any([lane.let_others_go(self._flying) for lane in slow]):  # noqa: C419 - all of them
                self._go_on()

    def _forget(self) -> None:
        """Drop what nobody waits for any more: while the broker is away it would pile up."""
        while self._queue and self._queue[0].answer.done():
            self._queue.popleft()
        for lane in self._lanes.values():
            while lane.gathered and lane.gathered[0][0].answer.done():
                lane.gathered.popleft()

    async def _keep(self) -> None:
        """Hold a session for as long as the service runs."""
        while True:
            try:
                await self._open()
                _log.info("connected to the broker")
                await self._void.wait()
                await self._close()
            except Exception as error:  # noqa: BLE001 - without a session nothing comes in: whatever it was, try again
                _log.warning("the broker is away, trying again", error=type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _open(self) -> None:
        self._void.clear()
        connections.install()
        producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.kafka_bootstrap.split(","),
            client_id=self._settings.physical("ingest"),
            enable_idempotence=True,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            max_request_size=_BATCH_BYTES + 48_576,
            # A batch that has waited this long fails, so that a long absence does not pile up old records.
            request_timeout_ms=_REQUEST_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        # Batches of an earlier session may never land: their lanes would wait for them for ever.
        self._lanes = {partition: Lane(lane.place, lane.gathered) for partition, lane in self._lanes.items()}
        self._flying = Counter()
        self._producer = producer
        self._gathered.set()

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), _STOP_SECONDS)
