"""What every door does with what it lets in: an envelope, the broker's acknowledgement, a count."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from contracts.envelope import CONTENT_TYPE, Envelope, format_instant
from contracts.events import UNMAPPED_TYPE, Event
from contracts.ids import derive_id, digest, event_id
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.domain.meetings import Notice
from services.ingest.domain.privacy import NO_RULES, Rules
from services.ingest.domain.reports import encoded
from services.ingest.domain.source import Source
from services.ingest.domain.written import Written
from services.ingest.publisher import Outgoing, Publisher, TooLarge, Unavailable
from services.ingest.statistics import Statistics
from services.runtime.clock import Clock
from services.runtime.telemetry import Telemetry

PART = "tenure_part"
"""The header of a record that is a part of what was kept raw: which of how many, such as `2/3`. They share the key."""
_LONGEST_KEPT_HEADER = 256


class Accepted(NamedTuple):
    """The ids of an event and of what it is about."""

    event: str
    interaction: str


class Heads:
    """Writes records with the headers of deliveries from one source; what they have in common is written once.

    The headers are those of `contracts.codec.event_envelope`.
    """

    def __init__(self, source: str, at: datetime) -> None:
        """`at` becomes the records' `recordedtime`."""
        self._common = (("ce_recordedtime", format_instant(at).encode()), ("content-type", CONTENT_TYPE.encode()))
        self._source = ("ce_source", f"/sources/{source}".encode())
        self._types: dict[str, tuple[str, bytes]] = {}

    def __call__(self, one: Written, traceparent: str | None, publisher: str | None = None) -> Outgoing:
        """Return the record of a report; `publisher` is what the sender of a CloudEvent calls itself."""
        key = one.interaction.encode()
        named = self._types.get(one.type)
        if named is None:
            named = self._types[one.type] = ("ce_type", one.type.encode())
        headers = [
            _VERSION,
            ("ce_id", one.event.encode()),
            self._source,
            named,
            ("ce_subject", key),
            ("ce_time", one.time),
            *self._common,
        ]
        if traceparent:
            headers.append(("ce_traceparent", traceparent.encode()))
        if publisher is not None:
            headers.append(("ce_publisher", publisher.encode("utf-8", "replace")))
        return Outgoing(key, one.value, headers)


_VERSION = ("ce_specversion", b"1.0")


def written(event: Event) -> Written:
    """Return a report, a model or what stands in for one, as it goes to the broker."""
    interaction = event.interaction.id
    identifier = event_id(interaction, event.TYPE, event.report)
    return Written(identifier, interaction, event.TYPE, format_instant(event.occurred_at).encode(), encoded(event))


class Planner(Protocol):
    """Keeps what calendars say and publishes meetings when they have begun."""

    async def plan(self, source: str, notices: Sequence[Notice], /) -> Sequence[str]:
        """Take it; return a reason for each UID that cannot be understood. Raises `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class Reception:
    """Takes reports to `tenure.interactions`. `Unavailable` and `TooLarge` of the publisher pass through."""

    publisher: Publisher
    statistics: Statistics
    telemetry: Telemetry
    clock: Clock
    directory: Directory
    privacy: Rules = NO_RULES
    planner: Planner | None = None

    def origin(self, source: Source, now: datetime | None = None) -> Origin:
        """Return what mappings need to know about `source`; `now` is the system's clock."""
        return Origin(source.name, source.system, self.directory, now or self.clock.now(), privacy=self.privacy)

    async def plan(self, source: str, notices: Sequence[Notice]) -> None:
        """Take what a delivery says about meetings; raises `Unavailable` while the database is away."""
        if notices and self.planner is not None:
            for reason in await self.planner.plan(source, notices):
                self.refused(source, f"calendar:{reason}")

    async def accept(
        self,
        source: str,
        events: Sequence[Event],
        at: datetime,
        traceparent: str | None,
        publishers: Sequence[str] = (),
    ) -> Sequence[Accepted]:
        """Return the ids of the events once every one is acknowledged; `at` becomes their `recordedtime`.

        `publishers` are what the senders of CloudEvents call themselves, one for each event, where there are any.
        """
        records = [written(event) for event in events]
        await self.accept_written(source, records, at, traceparent, publishers)
        return [Accepted(one.event, one.interaction) for one in records]

    async def accept_written(
        self,
        source: str,
        records: Sequence[Written],
        at: datetime,
        traceparent: str | None,
        publishers: Sequence[str] = (),
    ) -> None:
        """Do the same with reports of `source` that are written already."""
        head = Heads(source, at)
        if publishers:
            named = zip(records, publishers, strict=True)
            outgoing = [head(one, traceparent, publisher) for one, publisher in named]
        else:
            outgoing = [head(one, traceparent) for one in records]
        await self.publisher.publish(outgoing)
        self.count(source, [one.event for one in records], at)

    def count(self, source: str, events: Sequence[str], at: datetime) -> None:
        """Count what was acknowledged, by the ids of its events; it was received `at`."""
        again = self.statistics.remember(events)
        self.telemetry.metrics.accepted(source, "accepted", len(events))
        if again:
            self.telemetry.metrics.redeliveries.labels(source).inc(again)
        self.statistics.delivered(source, at, accepted=len(events), redelivered=again)

    async def keep_raw(
        self,
        source: str,
        body: bytes,
        why: str,
        *,
        at: datetime,
        traceparent: str | None,
        kept: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Pass on what is authentic but not understood, whole: what is too large for a record in several.

        `why` is a stable code; `kept` are headers that a replay needs.
        """
        name, size = digest(body), self.publisher.record_limit
        parts = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
        also = [("tenure_unmapped", why[:_LONGEST_KEPT_HEADER].encode("utf-8", "replace"))]
        also += [
            (f"tenure_header_{key}", value[:_LONGEST_KEPT_HEADER].encode("utf-8", "replace")) for key, value in kept
        ]
        records = []
        for number, part in enumerate(parts, start=1):
            place = f"{number}/{len(parts)}"
            envelope = Envelope(
                id=derive_id("unmapped", source, name, *([place] if len(parts) > 1 else [])),
                source=f"/sources/{source}",
                type=UNMAPPED_TYPE,
                subject=name,
                time=at,
                recordedtime=at,
                traceparent=traceparent,
            )
            headers = [*envelope.headers(), *also]
            if len(parts) > 1:
                headers.append((PART, place.encode()))
            records.append(Outgoing(name.encode(), part, headers))
        await self.publisher.publish(records)
        self.telemetry.metrics.accepted(source, "unmapped")
        self.statistics.delivered(source, at, unmapped=1)

    def ignored(self, source: str, at: datetime, why: str = "unnamed") -> None:
        """Count a delivery that is understood and says nothing that concerns us, by the name `why`."""
        self.telemetry.metrics.accepted(source, "ignored")
        self.statistics.ignored(source, at, why)

    def undelivered(self, source: str, error: Unavailable | TooLarge, number: int = 1) -> None:
        """Count what was right and could not be stored all the same."""
        if isinstance(error, TooLarge):
            self.refused(source, "too_large", number)
        else:
            self.refused(source, "unavailable", number, outcome="unavailable")

    def refused(self, source: str, reason: str, number: int = 1, *, outcome: str = "refused") -> None:
        """Count what was not let in."""
        self.telemetry.metrics.accepted(source, outcome, number)
        self.telemetry.metrics.rejections.labels(source, reason).inc(number)
        self.statistics.rejected(source, reason, number)
