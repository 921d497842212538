"""`POST /v1/events`: CloudEvents, one (structured or binary) or a batch, signed as Standard Webhooks say."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from services.ingest.domain.mapping import Invalid, Origin, ReadCloudEvent, WrongField
from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.domain.written import OpenLines, Written
from services.ingest.doors.hot import Answer, Knock
from services.ingest.doors.plain import PlainEvents, PlainVisit
from services.ingest.doors.requests import check_media, parse, refusal, unsigned
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception, written
from services.ingest.verify import Request, Unverified, verify
from services.runtime.problems import FieldError, Problem, invalid

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
BINARY = "application/json"
_MEDIA = frozenset({STRUCTURED, BATCH, BINARY})
LARGEST_BATCH = 500


class Events:
    """The door."""

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        read: ReadCloudEvent,
        lines: OpenLines | None = None,
    ) -> None:
        """`lines`: reads what is plainly written in one go; None: everything goes the same way, step by step."""
        self._reception = reception
        self._read = read
        self._sources = {
            name: source for name, source in sources.items() if source.configuration.provider == "cloudevents"
        }
        self._plain = None if lines is None else PlainEvents(reception, self._sources, lines)

    async def take(self, rest: str, knock: Knock) -> Answer:
        """Take one event or a batch."""
        if rest:
            raise Problem(404, "Not Found", "Events go to /v1/events.", "not-found")
        headers, body = knock.headers, knock.body
        media = check_media(headers, _MEDIA)
        seen = False
        if self._plain is not None and media == STRUCTURED:
            visit = PlainVisit(knock)
            if (answer := await self._plain.take(visit)) is not None:
                return answer
            seen = visit.seen
        source = self._authenticate(headers, body)
        with self._reception.telemetry.span(
            "ingest events", parent=headers.get("traceparent"), seen=seen, source=source.name
        ) as trace:
            try:
                parsed = parse(body)
                items = _items(media, parsed, headers)
            except Problem:
                self._reception.refused(source.name, "bad_json")
                raise
            return await self._take(source, items, trace.traceparent, batch=media == BATCH)

    def _authenticate(self, headers: Mapping[str, str], body: bytes) -> Source:
        """Return the source whose secret signed; the header `tenure-source` narrows the choice."""
        named = headers.get("tenure-source")
        for source in self._sources.values():
            if named is not None and named != source.name:
                continue
            try:
                verify(SchemeName.STANDARD_WEBHOOKS, source.keys, Request("", headers, body))
            except Unverified as unverified:
                if named is not None or len(self._sources) == 1:
                    self._reception.refused(source.name, unverified.reason, outcome="unsigned")
                continue
            return source
        raise unsigned()

    async def _take(self, source: Source, items: Sequence[Any], traceparent: str | None, *, batch: bool) -> Answer:
        origin = self._reception.origin(source)
        records: list[Written] = []
        publishers: list[str] = []
        results: list[dict[str, Any]] = []
        wrong: list[FieldError] = []
        for position, item in enumerate(items):
            try:
                record = self._record(item, origin, batch=batch)
            except Invalid as bad:
                path = f"{position}." if batch else ""
                errors = [
                    FieldError(f"{path}{error.field}".rstrip("."), error.message, error.remedy) for error in bad.errors
                ]
                wrong += errors
                results.append({"index": position, "status": "rejected", "errors": [_plain(error) for error in errors]})
            else:
                records.append(record)
                publishers.append(item["source"])
                named = {"id": record.event, "interaction": record.interaction}
                results.append({"index": position, "status": "accepted", **named})
        rejected = len(items) - len(records)
        if rejected:
            self._reception.refused(source.name, "not_valid", rejected)
        if not records:
            raise invalid(wrong[:100])
        try:
            await self._reception.accept_written(source.name, records, origin.received_at, traceparent, publishers)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error, len(records))
            raise refusal(error) from None
        content = {"accepted": len(records), "rejected": rejected, "results": results}
        return Answer(content, 207 if rejected else 202)

    def _record(self, item: Any, origin: Origin, *, batch: bool) -> Written:
        """Return the record of an event; raise `Invalid`. One of a batch that is too large must not stop the others."""
        record = written(self._read(item, origin, frozenset()))
        room = self._reception.publisher.record_limit
        if batch and len(record.value) > room:
            raise Invalid([WrongField("data", f"says more than {room} bytes can hold", "send less text")])
        return record


def _plain(error: FieldError) -> dict[str, str]:
    return {"field": error.field, "message": error.message, "remedy": error.remedy}


def _items(media: str, parsed: Any, headers: Mapping[str, str]) -> Sequence[Any]:
    """Return the structured CloudEvents of a request in any of the three content modes."""
    if media == STRUCTURED:
        return [parsed]
    if media == BINARY:
        # The HTTP binding writes what is no plain text in percent-encoded UTF-8.
        attributes = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
        if not attributes:
            raise Problem(
                415,
                "Unknown media type",
                f"Send Content-Type: {STRUCTURED}, or the attributes as ce- headers.",
                "media-type",
            )
        return [{**attributes, "data": parsed}]
    if not isinstance(parsed, list) or not parsed:
        raise invalid([FieldError("body", "is no list of CloudEvents", "send a JSON array with at least one")])
    if len(parsed) > LARGEST_BATCH:
        raise invalid(
            [FieldError("body", f"holds more than {LARGEST_BATCH} events", f"send at most {LARGEST_BATCH} at once")]
        )
    return parsed
