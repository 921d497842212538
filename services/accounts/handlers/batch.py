"""Receives `tenure.interactions`."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from contracts.envelope import Envelope, Unreadable
from contracts.events import BY_TYPE, UNMAPPED_TYPE, Event
from contracts.standins import decode
from services.accounts.domain.ports import Report
from services.accounts.handlers.fold import Fold
from services.runtime.consumer import Received, Record


class Counted(NamedTuple):
    """What came from a source on a partition in one batch."""

    source: str
    partition: int
    kept: int
    repeated: int


Count = Callable[[asyncpg.Connection, Sequence[Counted]], Awaitable[None]]
"""Adds to what is known, in the batch's transaction."""


class InteractionsHandler:
    """`services.runtime.consumer.BatchHandler` of what sources report. `count` is told what was new and what not."""

    def __init__(self, fold: Fold, count: Count) -> None:
        self._fold = fold
        self._count = count

    def decode(self, record: Record) -> Received[Event]:
        """Read a report; what ingest could not map is a dead letter here, with its original bytes."""
        envelope = Envelope.from_headers(record.headers)
        if envelope.type == UNMAPPED_TYPE:
            raise Unreadable(
                "unmapped",
                "the source is authentic, but what it sent cannot be mapped to an event; mend the mapping and"
                " fetch again, or drop it",
            )
        return Received(record, decode(envelope, record.value, BY_TYPE), envelope)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Event]], now: datetime) -> None:  # noqa: ARG002 - nothing here depends on the present
        """Apply a batch inside the open transaction."""
        kept = await self._fold.apply(
            connection,
            [
                # The ids are those of the data: `decode` has compared them.
                Report(
                    one.event,
                    one.record.value or b"",
                    one.envelope.recordedtime,
                    one.envelope.traceparent,
                    one.envelope.subject,
                    one.envelope.id,
                )
                for one in batch
            ],
        )
        await self._count(connection, _counted(batch, kept))


def _counted(batch: Sequence[Received[Event]], kept: Collection[str]) -> Sequence[Counted]:
    """Count by source and partition; of several records of one report in a batch one is new."""
    places = [(one.event.source, one.record.partition) for one in batch]
    came = new = Counter(places)
    if len(kept) < len(batch):
        # Of one report the first record counts.
        first = {one.envelope.id: place for one, place in zip(reversed(batch), reversed(places), strict=True)}
        new = Counter([first[id_] for id_ in kept])
    return [Counted(*place, new[place], number - new[place]) for place, number in sorted(came.items())]
