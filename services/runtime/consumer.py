"""The one consumer loop: every service reads its topics through it. See `processing.py` for what happens to a batch."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic

import asyncpg
import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from contracts.topics import Topic
from services.runtime import offsets
from services.runtime.backoff import Backoff, first_of, pause, unless
from services.runtime.clock import Clock
from services.runtime.faults import Fault, Unfinished, judge
from services.runtime.flow import ConsumerFlow
from services.runtime.lasting import lasting
from services.runtime.lookahead import LookAhead
from services.runtime.offsets import Partition, Position, WentBack
from services.runtime.postgres import acquire, transaction
from services.runtime.processing import BatchProcessor, Ours, Outcome
from services.runtime.records import BatchHandler, Received, Record, T
from services.runtime.settings import RuntimeSettings
from services.runtime.subscription import BATCH_BYTES, Batch, StoredOffsetConsumer, Subscription
from services.runtime.telemetry import Telemetry
from services.runtime.watermarks import Watermarks

__all__ = ["BatchConsumer", "BatchHandler", "ConsumerFlow", "Received", "Record"]

_log = structlog.get_logger(__name__)
_WATCH_SECONDS = 1.0
LEAVE_SECONDS = 15.0
"""A stopping service waits so long for its running batch and for the broker's leave."""


class BatchConsumer(Generic[T]):
    """Reads `topics` in the consumer group named after the service and applies them batch by batch.

    `after_commit` is called after every committed batch (to wake a job runner, say). `status` is "running",
    "waiting: …" (the infrastructure's fault, it goes on by itself) or "stopped: …" (ours: see `processing.Ours`).
    """

    def __init__(
        self,
        *,
        service: str,
        topics: Sequence[Topic],
        handler: BatchHandler[T],
        pool: asyncpg.Pool,
        settings: RuntimeSettings,
        clock: Clock,
        telemetry: Telemetry,
        after_commit: Callable[[], None] | None = None,
    ) -> None:
        self._group = settings.physical(service)
        self._names = {settings.physical(topic.name): topic.name for topic in topics}
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._metrics = telemetry.metrics
        self._after_commit = after_commit
        self._ahead = LookAhead(handler.decode, settings.batch_size, BATCH_BYTES)
        self._processor = BatchProcessor(
            service=service,
            group=self._group,
            topics=topics,
            handler=handler,
            pool=pool,
            clock=clock,
            telemetry=telemetry,
            fault_threshold=settings.fault_threshold,
            decode=self._ahead.decode,
        )
        self._watermarks = Watermarks(settings)
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()
        self._ended = asyncio.Event()
        self._backoff = Backoff()
        self._tasks: list[asyncio.Task[None]] = []
        self._subscription: Subscription | None = None
        self._placed: frozenset[TopicPartition] | None = None
        self._in_flight: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._fetched_at = 0.0
        self._progress_at = time.monotonic()
        self._saved: dict[Partition, Position] = {}
        self._status = "waiting: not started"
        self._broker_fault: str | None = None
        self._missing: dict[str, int] = {}
        self._abandoned: str | None = None
        self._unsettled = False

    async def start(self) -> None:
        """Begin; returns at once, also while the broker or the database is away."""
        self._tasks = [
            lasting(self._run(), name="consumer"),
            lasting(self._watch(), name="watch"),
        ]

    async def stop(self) -> None:
        """Finish the running batch or give it back, leave the group. Takes at most 20 s.

        Raises `Unfinished` when the batch was given back or the group could not be told; nothing is lost by either.
        """
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        await self._watermarks.close()
        if self._abandoned is not None:
            raise Unfinished(self._abandoned)

    @property
    def status(self) -> str:
        """What the consumer does, in words for people."""
        if self._status == "running" and self._broker_fault is not None:
            return f"waiting: {self._broker_fault}"
        return self._status

    @property
    def ready(self) -> bool:
        """Whether the broker answers, partitions are assigned and records, where there are any, are processed."""
        moving = time.monotonic() - self._progress_at < self._settings.stall_after
        return self.status == "running" and self._placed is not None and moving

    async def flow(self) -> ConsumerFlow:
        """Say how far the group has come; raises the infrastructure's fault when the broker or the database is away.

        The order makes the answer true: first the clock, then what the broker has, then what we have done. The end is
        the high watermark, not the last stable offset: markers of a transaction are written after its commit was
        acknowledged, and until then its records count as lag instead of being overlooked.
        """
        now = self._clock.now()
        bounds = await self._watermarks.ends(self._names)
        async with acquire(self._pool) as connection:
            done = await offsets.load(connection, self._group, list(self._names.values()))
        for partition, offset in self._live().items():
            known = done.get(partition)
            if known is None or known.next_offset < offset:
                done[partition] = Position(offset, known.recordedtime if known else None)
        flow = ConsumerFlow.of(self.status, now, bounds=bounds, done=done, missing=dict(self._missing))
        for topic, records in flow.lag.items():
            self._metrics.lag.labels(topic).set(records)
        return flow

    # What the subscription asks of us (see `subscription.Keeper`).

    async def place(self, consumer: StoredOffsetConsumer) -> bool:
        """Seek newly assigned partitions to what is stored; on a fault wait and let the loop come again."""
        if self._failed.is_set():
            await self._stopping.wait()
            return False
        assigned = consumer.assignment()
        if self._placed == assigned or not assigned:
            self._note_assignment(assigned)
            return True
        try:
            await self._seek(consumer, assigned)
        except Exception as error:  # noqa: BLE001 - nothing may be processed before this succeeds
            await self.wait_out(error)
            return False
        if consumer.assignment() != assigned:
            return False
        self._note_assignment(assigned)
        return True

    def is_placed(self, partition: TopicPartition) -> bool:
        """Say whether `partition` was sought since it was assigned."""
        return self._placed is not None and partition in self._placed

    def fetched(self, before: dict[TopicPartition, int], after: dict[TopicPartition, int]) -> None:
        """Remember the batch that is about to be processed: until it is, its records count as lag."""
        self._in_flight = before
        self._ends = after
        self._fetched_at = time.monotonic()
        if not before:
            self._progress_at = self._fetched_at
            if self._status != "running":
                # What had failed is now somebody else's: otherwise it would have been fetched again.
                self._set_status("running")

    async def wait_out(self, error: Exception) -> None:
        """Wait, longer each time, and say what for."""
        seconds = self._backoff.next()
        self._metrics.retries.labels(type(error).__name__).inc()
        self._set_status(f"waiting: {type(error).__name__}: {error}"[:300])
        _log.warning(
            "waiting for the infrastructure",
            error=f"{type(error).__name__}: {error}"[:300],
            seconds=round(seconds, 1),
            attempt=self._backoff.attempts,
        )
        await pause(self._stopping, seconds)

    async def begin_anew(self, why: str) -> None:
        """Leave the group and join it again, as a new member."""
        await self.wait_out(KafkaError(why))
        self._ended.set()
        await self._stopping.wait()

    def forget(self) -> None:
        """Place all partitions anew before anything of them is processed."""
        self._placed = None

    # The loop.

    async def _run(self) -> None:
        while not self._stopping.is_set():
            self._ended.clear()
            subscription = Subscription(
                group=self._group, names=self._names, settings=self._settings, keeper=self, consume=self._consume
            )
            try:
                if not await unless(self._stopping, self._reach_both()):
                    break
                self._subscription = subscription
                # Joining waits for an assignment, for as long as the group's coordinator takes.
                if await unless(self._stopping, subscription.start()):
                    self._abandoned = None
                    _log.info("consumer started", group=self._group, topics=list(self._names.values()))
                    await first_of(self._stopping, self._failed, self._ended)
            except Exception as error:  # noqa: BLE001 - a task that dies in silence helps nobody
                if judge(error) is not Fault.TRANSIENT:
                    _log.exception("the consumer cannot start")
                    self._stop_for(f"{type(error).__name__} when starting; see the log")
                else:
                    await self.wait_out(error)
            finally:
                await self._leave(subscription)
            if self._failed.is_set():
                await self._stopping.wait()

    async def _reach_both(self) -> None:
        async with acquire(self._pool) as connection:
            await connection.fetchval("select 1")
        await self._watermarks.open()

    async def _leave(self, subscription: Subscription) -> None:
        try:
            await asyncio.wait_for(subscription.stop(), LEAVE_SECONDS)
        except (TimeoutError, KafkaError, ExceptionGroup) as error:
            _log.warning(
                "leaving the consumer group failed; the broker will notice by itself", error=type(error).__name__
            )
            self._abandoned = "the broker was not told that the consumer left its group"
        if self._unsettled:
            self._abandoned = "the running batch was given back: it took too long"
        self._subscription = None
        self._placed = None
        self._metrics.running.set(0)

    async def _consume(self, batch: Batch) -> None:
        """Process one fetched batch. Raises after a fault, whereupon FastStream seeks back and fetches it again."""
        names = self._names
        ends = {(names[tp.topic], tp.partition): end for tp, end in self._ends.items()}
        # Stays so when it is cancelled.
        self._unsettled = True
        try:
            async with self._ahead.beside(len(batch), self._look):
                outcome = await self._processor.process(batch, ends, self._saved)
        except Ours as ours:
            self._give_back()
            self._stop_for(str(ours))
            raise
        except Exception as error:
            self._give_back()
            if isinstance(error, WentBack):
                self._read_again()
            # Nothing that a record can cause gets here, so whatever it is, trying again is all there is to do.
            await self.wait_out(error)
            raise
        self._unsettled = False
        self._saved |= outcome.positions
        self._in_flight = {}
        self._progress_at = time.monotonic()
        self._set_status("running")
        self._backoff.reset()
        self._count(outcome)
        if self._after_commit is not None:
            self._after_commit()

    def _look(self, at_once: int) -> Sequence[Record]:
        consumer = self._subscription.consumer if self._subscription else None
        return () if consumer is None else consumer.look(at_once, self._settings.batch_size)

    def _give_back(self) -> None:
        self._unsettled = False
        subscription = self._subscription
        if subscription is not None and subscription.consumer is not None:
            subscription.consumer.seek_all({tp: offset for tp, offset in self._in_flight.items() if self.is_placed(tp)})
        self._in_flight = {}

    def _stop_for(self, why: str) -> None:
        self._set_status(f"stopped: {why}")
        self._failed.set()

    async def _seek(self, consumer: StoredOffsetConsumer, assigned: frozenset[TopicPartition]) -> None:
        logical = {(self._names[tp.topic], tp.partition): tp for tp in assigned}
        async with acquire(self._pool) as connection:
            earlier = await offsets.load(connection, self._group, list(self._names.values()))
        bounds = await self._watermarks.ends(self._names)
        async with transaction(self._pool) as connection:
            stored = await offsets.lock(connection, self._group, logical)
            for partition, offset in stored.items():
                first, end = bounds.get(partition, (0, offset))
                where = {"topic": partition[0], "partition": partition[1], "stored": offset, "first": first, "end": end}
                # Who had the partition before us may have gone on since the broker was asked: that is no new topic.
                if offset > end and partition in earlier and earlier[partition].next_offset > end:
                    _log.error("the topic ends before the stored offset: it is new, read from its beginning", **where)
                    await offsets.rewind(connection, self._group, partition, first)
                    stored[partition] = first
                elif offset < first:
                    if offset > 0:
                        _log.error("the topic no longer reaches back to the stored offset: records are lost", **where)
                        self._metrics.missing.labels(partition[0]).inc(first - offset)
                        self._missing[partition[0]] = self._missing.get(partition[0], 0) + first - offset
                        await offsets.save(connection, self._group, {partition: Position(first, None)})
                    stored[partition] = first
        if consumer.assignment() == assigned:
            consumer.seek_all({logical[partition]: offset for partition, offset in stored.items()})

    def _note_assignment(self, assigned: frozenset[TopicPartition]) -> None:
        if self._placed != assigned:
            _log.info("partitions assigned", partitions=len(assigned))
            if self._subscription is not None and self._subscription.consumer is not None:
                self._subscription.consumer.share_buffer(len(assigned))
            self._placed = assigned
            self._backoff.reset()
            self._set_status("running")

    def _live(self) -> dict[Partition, int]:
        """Return how far the partitions assigned to us have been processed, control records included."""
        consumer = self._subscription.consumer if self._subscription else None
        if consumer is None:
            return {}
        positions = {**consumer.positions(), **self._in_flight}
        return {(self._names[tp.topic], tp.partition): offset for tp, offset in positions.items() if self.is_placed(tp)}

    async def _watch(self) -> None:
        """Every second: is the broker there, and did positions move without records?"""
        while not await pause(self._stopping, _WATCH_SECONDS):
            try:
                await self._watermarks.check(self._names)
                self._broker_fault = None
                await self._checkpoint()
            except Exception as error:  # noqa: BLE001 - the next round comes in a second
                if isinstance(error, UnknownTopicOrPartitionError):
                    self._broker_fault = str(error)
                elif isinstance(error, KafkaError | TimeoutError):
                    self._broker_fault = f"the broker does not answer ({type(error).__name__})"

    async def _checkpoint(self) -> None:
        """Store positions that passed transaction markers, so that other replicas see no lag there."""
        if self._in_flight:
            return
        committed = dict(self._saved)
        moved = {
            partition: Position(offset, None)
            for partition, offset in self._live().items()
            if offset > (committed[partition].next_offset if partition in committed else -1)
        }
        async with acquire(self._pool) as connection:
            stored = await offsets.load(connection, self._group, list(self._names.values()))
            try:
                offsets.check_kept({partition: at.next_offset for partition, at in stored.items()}, committed)
            except WentBack as error:
                _log.error("reading again", why=str(error))
                self._read_again()
                return
            if moved and not self._in_flight:
                await offsets.save(connection, self._group, moved)
                self._saved |= moved

    def _read_again(self) -> None:
        """Believe the database about where we are: it is older than what we remember."""
        self._saved = {}
        self._placed = None

    def _set_status(self, status: str) -> None:
        self._status = status
        self._metrics.running.set(1 if status == "running" else 0)
        if status.startswith("stopped"):
            _log.error("consumer stopped", why=status)

    def _count(self, outcome: Outcome) -> None:
        metrics = self._metrics
        metrics.batch_records.observe(outcome.processed + outcome.repeated + len(outcome.dead))
        metrics.batch_seconds.observe(time.monotonic() - self._fetched_at)
        topics = ",".join(sorted(self._names.values()))
        metrics.records.labels(topics, "processed").inc(outcome.processed)
        metrics.records.labels(topics, "repeated").inc(outcome.repeated)
        metrics.records.labels(topics, "dead_letter").inc(len(outcome.dead))
        for letter in outcome.dead:
            metrics.dead_letters.labels(letter.record.topic, letter.reason).inc()
