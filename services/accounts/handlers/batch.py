"""Receives `tenure.interactions`."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from contracts.envelope import Envelope, Unreadable
from contracts.events import BY_TYPE, UNMAPPED_TYPE, Event
from contracts.standins import decode
from services.accounts.domain.decide import Report
from services.accounts.handlers.fold import Fold
from services.runtime.consumer import Received, Record


class InteractionsHandler:
    """`services.runtime.consumer.BatchHandler` of what sources report."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

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
        await self._fold.apply(
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
