"""What every door does with what it lets in: an envelope, the broker's acknowledgement, a count."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from contracts.codec import encode, event_envelope
from contracts.envelope import Envelope
from contracts.events import UNMAPPED_TYPE, Event
from contracts.ids import derive_id, digest
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.publisher import Outgoing, Publisher, TooLarge, Unavailable
from services.ingest.settings import Source
from services.ingest.statistics import Statistics
from services.runtime.clock import Clock
from services.runtime.telemetry import Telemetry

_LONGEST_KEPT_HEADER = 256


@dataclass(frozen=True, slots=True)
class Reception:
    """Takes reports to `tenure.interactions`. `Unavailable` and `TooLarge` of the publisher pass through."""

    publisher: Publisher
    statistics: Statistics
    telemetry: Telemetry
    clock: Clock
    directory: Directory

    def origin(self, source: Source, now: datetime | None = None) -> Origin:
        """Return what mappings need to know about `source`; `now` is the system's clock."""
        return Origin(source.name, source.system, self.directory, now or self.clock.now())

    async def accept(self, source: str, events: Sequence[Event], at: datetime, traceparent: str | None) -> None:
        """Return once every event is acknowledged; `at` becomes their `recordedtime`."""
        records = []
        for event in events:
            envelope = event_envelope(event, at, traceparent)
            records.append(Outgoing(event.interaction.id.encode(), encode(event), envelope.headers()))
        await self.publisher.publish(records)
        self.telemetry.metrics.accepted(source, "accepted", len(events))
        self.statistics.delivered(source, at, accepted=len(events))

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
        """Pass on what is authentic but not understood.

        `why` is a stable code; `kept` are headers that a replay needs.
        """
        name = digest(body)
        envelope = Envelope(
            id=derive_id("unmapped", source, name),
            source=f"/sources/{source}",
            type=UNMAPPED_TYPE,
            subject=name,
            time=at,
            recordedtime=at,
            traceparent=traceparent,
        )
        headers = [*envelope.headers(), ("tenure_unmapped", why[:_LONGEST_KEPT_HEADER].encode("utf-8", "replace"))]
        headers += [
            (f"tenure_header_{key}", value[:_LONGEST_KEPT_HEADER].encode("utf-8", "replace")) for key, value in kept
        ]
        await self.publisher.publish([Outgoing(name.encode(), body, headers)])
        self.telemetry.metrics.accepted(source, "unmapped")
        self.statistics.delivered(source, at, unmapped=1)

    def ignored(self, source: str, at: datetime) -> None:
        """Count a delivery that is understood and says nothing that concerns us."""
        self.telemetry.metrics.accepted(source, "ignored")
        self.statistics.delivered(source, at, ignored=1)

    def undelivered(self, source: str, error: Unavailable | TooLarge, number: int = 1) -> None:
        """Count what was right and could not be stored all the same."""
        if isinstance(error, TooLarge):
            self.refused(source, "too_large", number)
        else:
            self.refused(source, "unavailable", number, outcome="unavailable")

    def refused(self, source: str, reason: str, number: int = 1, *, outcome: str = "refused") -> None:
        """Count what was not let in."""
        self.telemetry.metrics.accepted(source, outcome, number)
        self.statistics.rejected(source, reason, number)
