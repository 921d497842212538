"""The thin shell: FastStream subscribes and fetches; the records reach our loop raw, from the offsets that we stored.

What FastStream and aiokafka leave open is closed here, in `StoredOffsetConsumer`:

- An error inside `getmany` (a corrupt batch, say) leaves the positions of partitions that it had drained already
  beyond records that nobody received. We set them back.
- A partition may deliver records before its position was set to the stored offset. We withhold those.
- A batch is bounded in records only. We bound its bytes too, and what is fetched ahead of it.
- Where retention has overtaken us, aiokafka goes to the beginning of the topic in silence. We place anew, which counts.
- An answer that aiokafka had not expected ends one of its tasks (heartbeats, say), and it begins none in its place: the
  same error comes with each fetch, for ever. We begin a new session.
"""

# ruff: noqa: SLF001 - aiokafka offers none of it

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import ConsumerStoppedError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaAckableMessage

from services.runtime import connections
from services.runtime.buffer import Buffer
from services.runtime.failpoints import RuntimeFailpoint, reach
from services.runtime.records import Record
from services.runtime.settings import RuntimeSettings
from services.runtime.tolerant import install as tolerate_header_bytes

Batch = tuple[Record, ...]
# FastStream sleeps so long after an empty fetch; the fetch itself has waited, so this only yields.
_PAUSE_MS = 5
_FETCH_SECONDS = 1.0
_CLOSE_SECONDS = 2.0
_NOWHERE = TopicPartition("", -1)
_PARTITION_FETCH_BYTES = 4 * 1024 * 1024
_LEAST_FETCH_BYTES = 1024 * 1024
# Fetched ahead of the batch that is being processed, for all partitions together.
_BUFFER_BYTES = 64 * 1024 * 1024
# What operators' tools see of our offsets may be so old.
_TELL_SECONDS = 1.0
FINISH_SECONDS = 12.0
"""When a service stops, a running batch has so long to end; then it is given back."""
BATCH_BYTES = 16 * 1024 * 1024
"""Keys and values of one batch; every partition in it gives at least one record, whatever that one's size."""


class Keeper(Protocol):
    """Who knows where reading goes on. The plain functions return at once."""

    async def place(self, consumer: "StoredOffsetConsumer") -> bool:
        """Seek partitions that were newly assigned; False when that is not possible yet (after waiting a while)."""
        ...

    def is_placed(self, partition: TopicPartition) -> bool:
        """Say whether records of `partition` may be processed."""
        ...

    def fetched(self, before: dict[TopicPartition, int], after: dict[TopicPartition, int]) -> None:
        """Take note of a fetch: positions before and after, of the partitions that gave records."""
        ...

    async def wait_out(self, error: Exception) -> None:
        """Wait before the next attempt after a fetch failed, and say so."""
        ...

    async def begin_anew(self, why: str) -> None:
        """Have this session with the broker ended and another one begun; whoever waits is cancelled by that."""
        ...

    def forget(self) -> None:
        """Take note that partitions were revoked: all of them have to be placed again."""
        ...


class StoredOffsetConsumer(AIOKafkaConsumer):  # type: ignore[misc]  # published without types
    """An aiokafka consumer whose `getmany` loses nothing and begins where the keeper says."""

    def __init__(self, *topics: str, keeper: Keeper, names: Mapping[str, str], **options: Any) -> None:
        """`names`: logical topics by physical ones."""
        super().__init__(*topics, **options)
        self._keeper = keeper
        self._names = names
        self._told_at = 0.0
        self._untold: dict[TopicPartition, Any] = {}

    async def start(self) -> None:
        """Join the group; returns once partitions are assigned."""
        await super().start()
        self._buffer = Buffer(self._fetcher, self._names)

    async def getmany(
        self, *_partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Return the next records of placed partitions, at most `max_records`; `timeout_ms` is ours to choose."""
        del timeout_ms
        for name, task in self._own_tasks().items():
            if (error := _error_of(task)) is not None:
                await self._keeper.begin_anew(f"{name} ended with {type(error).__name__}: {error}")
                return {}
        await self._tell_in_time()
        if not await self._keeper.place(self):
            return {}
        before, assignment = self.positions(), self._current_assignment()
        try:
            fetched = await self._next(max_records or 1)
        except ConsumerStoppedError:
            raise
        except (OffsetOutOfRangeError, NoOffsetForPartitionError):
            self._keeper.forget()
            return {}
        except Exception as error:  # noqa: BLE001 - FastStream would call again at once, for ever and in silence
            if self._current_assignment() is assignment:
                self.seek_all(before)
            await self._keeper.wait_out(error)
            return {}
        if self._current_assignment() is not assignment:
            # A rebalance came in between: these records were fetched from positions that are not ours.
            self._keeper.forget()
            return {}
        usable = {
            tp: records for tp, records in fetched.items() if records and self._keeper.is_placed(tp) and tp in before
        }
        for tp, records in _too_much(usable).items():
            # What does not fit is fetched again after this batch.
            self.seek(tp, records[0].offset)
            del usable[tp][-len(records) :]
        after = self.positions()
        self._keeper.fetched(
            {tp: before[tp] for tp in usable},
            {tp: after.get(tp, records[-1].offset + 1) for tp, records in usable.items()},
        )
        return usable

    async def _next(self, most: int) -> dict[TopicPartition, list[Record]]:
        """Return what is there or comes within a second."""
        self._buffer.wake()
        until = time.monotonic() + _FETCH_SECONDS
        while True:
            # Gives nothing, but raises what ends all reading, and waits while partitions are being assigned.
            await super().getmany(_NOWHERE)
            found = self._buffer.take(most)
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            await self._buffer.wait(left)

    def look(self, at_once: int, most: int) -> list[Record]:
        """Parse about `at_once` more of the next records, up to `most` in all; their positions stay."""
        return self._buffer.look(at_once, most)

    def share_buffer(self, partitions: int) -> None:
        """Divide what may be fetched ahead among so many partitions."""
        share = min(_PARTITION_FETCH_BYTES, max(_LEAST_FETCH_BYTES, _BUFFER_BYTES // max(partitions, 1)))
        self._fetcher._max_partition_fetch_bytes = share

    async def commit(self, offsets: Any = None) -> None:
        """Tell Kafka within two seconds; for operators' tools only, our own offsets are in the database."""
        # aiokafka says the offsets of all partitions each time, and the broker keeps each: dearer than a small batch.
        del offsets
        assignment = self._current_assignment()
        self._untold = {} if assignment is None else assignment.all_consumed_offsets()
        if time.monotonic() - self._told_at >= _TELL_SECONDS:
            await self._tell()

    async def stop(self) -> None:
        """Tell Kafka where we are, then leave the group; whatever comes of that, nothing of it runs on."""
        try:
            if self._untold:
                with contextlib.suppress(KafkaError):
                    await self._tell()
            await super().stop()
        except KafkaError:
            # That a task had ended was said when it did.
            if not any(_error_of(task) for task in self._own_tasks().values()):
                raise
        finally:
            for task in self._own_tasks().values():
                if task is not None:
                    task.cancel()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._client.close(), _CLOSE_SECONDS)

    def _own_tasks(self) -> Mapping[str, "asyncio.Task[None] | None"]:
        """What works for this consumer in the background, by what it does; nothing before it has joined."""
        coordinator, fetcher = self._coordinator, self._fetcher
        if coordinator is None or fetcher is None:
            return {}
        return {
            "coordination": coordinator._coordination_task,
            "heartbeats": coordinator._heartbeat_task,
            "asking for offsets": coordinator._commit_refresh_task,
            "fetching": fetcher._fetch_task,
            "learning who leads": self._client._sync_task,
        }

    async def _tell_in_time(self) -> None:
        if self._untold and time.monotonic() - self._told_at >= _TELL_SECONDS:
            with contextlib.suppress(KafkaError):
                await self._tell()

    async def _tell(self) -> None:
        assigned = self.assignment()
        told = {tp: offset for tp, offset in self._untold.items() if tp in assigned}
        self._told_at, self._untold = time.monotonic(), {}
        if told:
            # aiokafka would ask for as long as nobody coordinates the group. Nothing of ours depends on the answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TELL_SECONDS):
                    await super().commit(told)
        reach(RuntimeFailpoint.OFFSETS_COMMITTED)

    def positions(self) -> dict[TopicPartition, int]:
        """Return where the next fetch of each assigned partition begins (control records passed over included)."""
        assignment = self._current_assignment()
        return (
            {}
            if assignment is None
            else {tp: offset.offset for tp, offset in assignment.all_consumed_offsets().items()}
        )

    def _current_assignment(self) -> Any:
        subscription = self._subscription.subscription
        return None if subscription is None else subscription.assignment

    def seek_all(self, positions: dict[TopicPartition, int]) -> None:
        """Set back what is still assigned."""
        assigned = self.assignment()
        for tp, offset in positions.items():
            if tp in assigned:
                self.seek(tp, offset)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # published without types
    """Forgets what was placed; the next `getmany` places anew, inside the loop, where waiting is harmless."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        del revoked
        self._keeper.forget()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        del assigned
        self._keeper.forget()


class Subscription:
    """A FastStream batch subscriber to topics in consumer group `group`."""

    def __init__(
        self,
        *,
        group: str,
        names: Mapping[str, str],
        settings: RuntimeSettings,
        keeper: Keeper,
        consume: Callable[[Batch], Awaitable[None]],
    ) -> None:
        """`names`: logical topics by physical ones."""
        # Without its logger FastStream keeps quiet; what matters is logged by the loop, once.
        self._broker = KafkaBroker(
            settings.kafka_bootstrap.split(","),
            client_id=group,
            consumer_only=True,
            allow_auto_create_topics=False,
            apply_types=False,
            logger=None,
            graceful_timeout=FINISH_SECONDS,
            metadata_max_age_ms=10_000,
            request_timeout_ms=20_000,
            retry_backoff_ms=250,
        )
        self._keeper = keeper
        self._names = names
        self._subscriber = self._broker.subscriber(
            *names,
            batch=True,
            group_id=group,
            max_records=settings.batch_size,
            batch_timeout_ms=_PAUSE_MS,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
            session_timeout_ms=int(settings.session_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_seconds * 300),
            ack_policy=AckPolicy.NACK_ON_ERROR,
            listener=_Listener(keeper),
            parser=self._hand_on,
            decoder=_raw,
            no_reply=True,
        )
        self._subscriber(consume)

    @property
    def consumer(self) -> StoredOffsetConsumer | None:
        """The aiokafka consumer, while the subscription runs."""
        consumer = self._subscriber.consumer
        return consumer if isinstance(consumer, StoredOffsetConsumer) else None

    async def start(self) -> None:
        """Join the group; raises `KafkaError` when the broker is away."""
        tolerate_header_bytes()
        connections.install()
        await self._broker.connect()
        # FastStream has no setting for the consumer's class; `connect` has put the options into this builder.
        config = self._broker.config.broker_config
        options = cast("partial[AIOKafkaConsumer]", config.builder).keywords
        config.builder = partial(StoredOffsetConsumer, keeper=self._keeper, names=self._names, **options)
        await self._broker.start()

    async def stop(self) -> None:
        """Let the running batch end (at most 12 s), then leave the group."""
        await self._broker.stop()

    async def _hand_on(self, batch: Batch) -> KafkaAckableMessage:
        # In the place of FastStream's parser, which decodes every header as UTF-8 and fails the batch when one is not.
        first = batch[0]
        return KafkaAckableMessage(
            raw_message=batch,
            body=b"",
            consumer=self._subscriber.consumer,
            message_id=f"{first.partition}-{first.offset}",
            correlation_id="batch",
        )


def _error_of(task: "asyncio.Task[None] | None") -> BaseException | None:
    return task.exception() if task is not None and task.done() and not task.cancelled() else None


def _too_much(fetched: dict[TopicPartition, list[Record]]) -> dict[TopicPartition, list[Record]]:
    """Return the last records of partitions which make the batch too large."""
    if sum(sum(map(_size, records)) for records in fetched.values()) <= BATCH_BYTES:
        return {}
    share, excess = BATCH_BYTES // len(fetched), {}
    for tp, records in fetched.items():
        total = 0
        for index, record in enumerate(records):
            total += _size(record)
            if total > share and index > 0:
                excess[tp] = records[index:]
                break
    return excess


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"")


async def _raw(message: KafkaAckableMessage) -> Batch:
    batch: Batch = message.raw_message
    return batch
