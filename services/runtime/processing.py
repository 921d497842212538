"""One batch, one transaction: lock the offsets, decode, handle, set aside what cannot be done, move the offsets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic

import asyncpg
import structlog

from contracts.envelope import Unreadable
from contracts.topics import Topic
from services.runtime import dead_letters, offsets, replaying
from services.runtime.blame import Blame
from services.runtime.clock import Clock
from services.runtime.dead_letters import DeadLetter
from services.runtime.failpoints import RuntimeFailpoint, reach
from services.runtime.faults import Fault, Rejected, judge, reason_of
from services.runtime.garbage import uncollected
from services.runtime.offsets import Partition, Position
from services.runtime.poison import Part, Search
from services.runtime.postgres import savepoint, transaction
from services.runtime.records import BatchHandler, Received, Record, T
from services.runtime.telemetry import Telemetry

_log = structlog.get_logger(__name__)
_NOTHING: Mapping[Partition, Position] = {}
# Who reports from outside. What any other producer writes is ours, and so are errors that it causes.
_OUTSIDE = frozenset({"outside", "ingest"})


class Ours(Exception):
    """So many unexpected errors that no single source can be to blame (see `Blame`). Nothing of the batch was kept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch that was committed. `positions` are the stored ones now."""

    positions: dict[Partition, Position]
    processed: int
    repeated: int
    dead: Sequence[DeadLetter]


class BatchProcessor(Generic[T]):
    """Applies batches of one consumer group to the service's database."""

    def __init__(
        self,
        *,
        service: str,
        group: str,
        topics: Sequence[Topic],
        handler: BatchHandler[T],
        pool: asyncpg.Pool,
        clock: Clock,
        telemetry: Telemetry,
        fault_threshold: int,
        decode: Callable[[Record], Received[T]] | None = None,
    ) -> None:
        """`decode`: in the place of the handler's, with the same results."""
        self._decode = decode or handler.decode
        self._service = service
        self._group = group
        self._internal = frozenset(topic.name for topic in topics if topic.producer not in _OUTSIDE)
        self._handler = handler
        self._pool = pool
        self._clock = clock
        self._telemetry = telemetry
        self._blame = Blame(fault_threshold)

    async def process(
        self,
        records: Sequence[Record],
        ends: Mapping[Partition, int],
        committed: Mapping[Partition, Position] = _NOTHING,
    ) -> Outcome:
        """Apply `records` (per partition in the order of offsets) and move the offsets of their partitions to `ends`.

        Records below the stored offsets were done before and are skipped; `committed` is what this process knows to
        have stored earlier. Raises `Ours`, `WentBack`, or the infrastructure's fault as it came; in each case nothing
        was kept and the batch may be tried again.
        """
        now = self._clock.now()
        with uncollected():
            return await self._process(records, ends, committed, now)

    async def _process(
        self,
        records: Sequence[Record],
        ends: Mapping[Partition, int],
        committed: Mapping[Partition, Position],
        now: datetime,
    ) -> Outcome:
        async with transaction(self._pool) as connection:
            stored = await offsets.lock(connection, self._group, ends)
            offsets.check_kept(stored, committed)
            reach(RuntimeFailpoint.BATCH_LOCKED)
            fresh = [record for record in records if record.offset >= stored[record.topic, record.partition]]
            attempt = _Attempt(self._handler, connection, now, self._service, self._internal, self._blame)
            received = attempt.decode(fresh, self._decode)
            if received:
                with self._telemetry.batch(f"{self._service} process", received) as traced:
                    await attempt.apply(traced)
            dead = replaying.kept_by(self._service, attempt.letters)
            if dead:
                await dead_letters.insert(connection, dead)
            positions = _positions(stored, ends, received)
            await offsets.save(connection, self._group, positions)
        self._blame.note(attempt.unexpected, len(fresh), now)
        return Outcome(positions, len(fresh) - len(attempt.letters), len(records) - len(fresh), dead)


class _Attempt(Generic[T]):
    """One pass over a batch inside its transaction; collects dead letters."""

    def __init__(  # noqa: PLR0917 - private, built in one place
        self,
        handler: BatchHandler[T],
        connection: asyncpg.Connection,
        now: datetime,
        service: str,
        internal: frozenset[str],
        blame: Blame,
    ) -> None:
        self._handler = handler
        self._connection = connection
        self._now = now
        self._service = service
        self._internal = internal
        self._blame = blame
        self.unexpected: list[str] = []
        self.letters: list[DeadLetter] = []

    def decode(self, records: Sequence[Record], decode: Callable[[Record], Received[T]]) -> list[Received[T]]:
        """Read every record once; what cannot be read becomes a dead letter."""
        received: list[Received[T]] = []
        for record in records:
            try:
                received.append(decode(record))
            except Unreadable as unreadable:
                self.letters.append(
                    DeadLetter.of(record, unreadable.reason, unreadable.detail, handler=self._service, now=self._now)
                )
            except Exception as error:  # noqa: BLE001 - whatever a decoder stumbles over, the record is set aside and the others go on
                # The exception's text may quote the record; its type and place say enough.
                detail = f"the decoder failed with {type(error).__name__}"
                _log.warning(
                    "decoder failed",
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                    exc_info=error,
                )
                self.letters.append(DeadLetter.of(record, "undecodable", detail, handler=self._service, now=self._now))
        return received

    async def apply(self, batch: Sequence[Received[T]]) -> None:
        """Handle `batch`; trace an error to the single record, each try under a savepoint."""
        search = Search(batch)
        while (part := search.next()) is not None:
            try:
                async with savepoint(self._connection):
                    await self._handler.handle(self._connection, part.records, self._now)
            except Exception as error:
                if judge(error) is Fault.TRANSIENT:
                    raise
                self._divide(search, part, error)
            else:
                search.passed(part)

    def _divide(self, search: Search[T], part: Part[T], error: Exception) -> None:
        """Leave to `search` what of a failed part is worth another call; a single record is set aside."""
        if isinstance(error, Rejected) and error.event_id is not None:
            named = [one for one in part.records if one.envelope.id == error.event_id]
            if named:
                for one in named:
                    self._set_aside(one, error)
                search.again([one for one in part.records if one.envelope.id != error.event_id])
                return
        if len(part.records) == 1:
            self._set_aside(part.records[0], error)
        else:
            search.failed(part, error)

    def _set_aside(self, one: Received[T], error: Exception) -> None:
        reason, detail = reason_of(error)
        self.letters.append(
            DeadLetter.of(one.record, reason, detail, handler=self._service, now=self._now, envelope=one.envelope)
        )
        # PostgreSQL refuses a value (class 22): that is about the value, whoever sent it.
        refused_value = (getattr(error, "sqlstate", None) or "").startswith("22")
        if judge(error) is Fault.DATA and not refused_value:
            _log.warning(
                "handler failed on one record",
                topic=one.record.topic,
                partition=one.record.partition,
                offset=one.record.offset,
                exc_info=error,
            )
            self.unexpected.append(self._culprit(one))
            why = self._blame.verdict(self.unexpected, self._now)
            if why is not None:
                message = f"{why}, the last with {type(error).__name__}; see the log, mend the handler and restart"
                raise Ours(message) from error

    def _culprit(self, one: Received[T]) -> str:
        """What our own services write has no outer source: there one account that fails stands for itself."""
        if one.record.topic in self._internal:
            return f"{one.record.topic} {one.record.key!r}"
        return one.envelope.source


def _positions(
    stored: Mapping[Partition, int], ends: Mapping[Partition, int], received: Sequence[Received[T]]
) -> dict[Partition, Position]:
    last: dict[Partition, datetime] = {}
    for one in received:
        last[one.record.topic, one.record.partition] = one.envelope.recordedtime
    return {partition: Position(max(end, stored[partition]), last.get(partition)) for partition, end in ends.items()}
