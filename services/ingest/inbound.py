"""`tenure.inbound`: CloudEvents that other systems put on the broker themselves; validated, then passed on.

What is wrong becomes a dead letter of ingest. What is right goes through the outbox, in the transaction of its batch.

The broker says that somebody may write to the topic, and not who wrote a record. A publisher whose name nobody else
shall use has a secret: its records are structured, so that everything is in their value, and signed as Standard
Webhooks say, in record headers. Of any age: a record may wait for days, and what comes again has no effect.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
from msgspec import structs

from contracts.codec import encode, event_envelope
from contracts.envelope import Unreadable
from contracts.events import Event
from contracts.standins import model_of
from contracts.topics import INTERACTIONS
from services.ingest import strict_json
from services.ingest.domain.mapping import Invalid, ReadCloudEvent
from services.ingest.domain.options import InboundOptions
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.reception import Reception
from services.ingest.verify import Request, Unverified, verify
from services.runtime import outbox
from services.runtime.consumer import Received, Record
from services.runtime.outbox import OutboxMessage

_STRUCTURED = b"application/cloudevents+json"
_LONGEST_PUBLISHER = 200


class InboundHandler:
    """`services.runtime.consumer.BatchHandler` of what others publish. `sources`: those of the provider inbound."""

    def __init__(self, reception: Reception, sources: Sequence[Source], read: ReadCloudEvent) -> None:
        self._read = read
        self._reception = reception
        self._sources = {
            source.configuration.options.publisher: source
            for source in sources
            if isinstance(source.configuration.options, InboundOptions)
        }

    def decode(self, record: Record) -> Received[Event]:
        """Read one CloudEvent in binary or structured mode; raise `Unreadable` naming the field and the remedy."""
        item = _structured(record)
        publisher = item.get("source")
        if not isinstance(publisher, str) or not 0 < len(publisher) <= _LONGEST_PUBLISHER:
            raise Unreadable("bad_envelope", "source: is missing or too long; name the publisher, such as /erp")
        source = self._sources.get(publisher, self._sources.get(None))
        if source is None:
            raise Unreadable("unknown_publisher", "source: no source of sources.toml has this publisher; add one")
        _check_signature(source, record)
        origin = self._reception.origin(source)
        # Everybody who publishes has a namespace: nobody can speak of another's orders.
        origin = structs.replace(origin, system=f"inbound:{publisher}")
        try:
            # A full model: these are few, and what stands in for one cannot be written as it is.
            event = model_of(self._read(item, origin, frozenset()))
        except Invalid as bad:
            reason = "unknown_type" if bad.errors[0].field == "type" else "bad_data"
            raise Unreadable(reason, "; ".join(f"{e.field}: {e.message}; {e.remedy}" for e in bad.errors)) from None
        traceparent = item.get("traceparent")
        traced = traceparent if isinstance(traceparent, str) else None
        return Received(record, event, event_envelope(event, origin.received_at, traced))

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Event]], now: datetime) -> None:
        """Append the batch to the outbox."""
        messages = [
            OutboxMessage(INTERACTIONS, one.event.interaction.id, one.envelope, encode(one.event)) for one in batch
        ]
        await outbox.append(connection, messages)
        for source, number in Counter(one.event.source for one in batch).items():
            self._reception.statistics.delivered(source, now, accepted=number)
            self._reception.telemetry.metrics.accepted(source, "accepted", number)


def _check_signature(source: Source, record: Record) -> None:
    if not source.keys:
        return
    try:
        headers = {name: str(value, "latin-1") for name, value in record.headers}
        if not headers.get("content-type", "").startswith(_STRUCTURED.decode()):
            raise Unverified("not_structured")
        request = Request("", headers, record.value or b"")
        verify(SchemeName.STANDARD_WEBHOOKS, source.keys, request, any_age=True)
    except (Unverified, TypeError) as refused:
        # A header may be without a value.
        why = refused.reason if isinstance(refused, Unverified) else "bad_signature"
        remedy = f"send it in structured mode, signed with a secret of sources.{source.name}"
        raise Unreadable("unsigned", f"source: {why}; {remedy}") from None


def _structured(record: Record) -> dict[str, Any]:
    headers = dict(record.headers)
    if record.value is None:
        raise Unreadable("empty", "the record has no value; send the event's fields as a JSON object")
    try:
        parsed = strict_json.loads(record.value)
    except strict_json.BadJson as bad:
        place = f"{bad.field}: " if bad.field else ""
        raise Unreadable("bad_json", f"{place}{bad.message}; {bad.remedy}") from None
    if headers.get("content-type", b"").startswith(_STRUCTURED):
        if not isinstance(parsed, dict):
            raise Unreadable("bad_envelope", "the value is no JSON object; send one CloudEvent in each record")
        return parsed
    try:
        attributes = {name[3:]: str(value, "utf-8") for name, value in headers.items() if name.startswith("ce_")}
    except (UnicodeDecodeError, TypeError):
        raise Unreadable("bad_envelope", "a ce_ header holds bytes that are no text") from None
    return {**attributes, "data": parsed}
