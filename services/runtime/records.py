"""What the consumer loop hands to a handler, and what it asks of one."""

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, Protocol, Self, TypeVar

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from contracts.envelope import Envelope

T = TypeVar("T")


class Record(Struct, frozen=True, gc=False):
    """One broker record, raw. `topic` is the logical name (no prefix of the deployment); `value` None a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Received(Struct, Generic[T], frozen=True, gc=False):
    """A record that could be read: the event and its envelope.

    Copy `envelope.traceparent` and `envelope.recordedtime` to the envelopes of what the event causes.
    """

    record: Record
    event: T
    envelope: Envelope

    def traced(self, traceparent: str) -> Self:
        """Return the same under another trace context."""
        return replace(self, envelope=self.envelope.traced(traceparent))


class BatchHandler(Protocol[T]):
    """What a service does with its records. It keeps no state of its own between calls: any call may be repeated."""

    def decode(self, record: Record) -> Received[T]:
        """Read one record; raise `contracts.envelope.Unreadable` when that is impossible (it becomes a dead letter)."""
        ...

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[T]], now: datetime) -> None:
        """Apply `batch` inside the open transaction; `now` is the system's clock.

        Raise `faults.Rejected` about a record that will never be accepted. Any other error is judged by
        `faults.judge`: an infrastructure fault repeats the batch, everything else is traced to the single record by
        calling again with parts of the batch (after a rollback to a savepoint).
        """
        ...
