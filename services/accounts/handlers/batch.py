"""Receives `tenure.interactions`."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from contracts.codec import decode
from contracts.envelope import Envelope, Unreadable
from contracts.events import BY_TYPE, UNMAPPED_TYPE, Event
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
        event = decode(envelope, record.value, BY_TYPE)
        assert isinstance(event, Event)  # noqa: S101 - BY_TYPE holds nothing else
        return Received(record, event, envelope)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Event]], now: datetime) -> None:  # noqa: ARG002 - nothing here depends on the present
        """Apply a batch inside the open transaction."""
        await self._fold.apply(
            connection,
            [
                Report(one.event, one.record.value or b"", one.envelope.recordedtime, one.envelope.traceparent)
                for one in batch
            ],
        )
