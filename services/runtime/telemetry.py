"""Every metric name of Tenure in one place, and the traces that follow one event from the webhook to the alert.

Labels and span attributes hold ids, codes, topics and configured names; never an address, a name, a text or a key.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple, Protocol, Self, TypeVar

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, Status, StatusCode, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contracts.envelope import Envelope
from services.runtime.settings import RuntimeSettings
from services.runtime.tracing import FileSpanExporter, LinkedSampler, chosen

# So many records of a batch may continue their trace; the cost of a batch does not grow with the share that is sampled.
TRACED_PER_BATCH = 50

_BATCH_SIZES = (1, 10, 50, 100, 500, 1000, 2500, 5000, 10_000)
_BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The Prometheus metrics of one process. Times are in seconds, sizes in records."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._measure_consumer(self.registry)
        self._measure_letters_and_outbox(self.registry)
        self._measure_what_comes(self.registry)
        self._measure_sources(self.registry)
        self._measure_alerts(self.registry)
        self._sources: set[str] = set()
        # Looking a child up by its labels costs more than counting; there are as many as sources times outcomes.
        self._acceptance: dict[tuple[str, str], Counter] = {}

    def _measure_consumer(self, r: CollectorRegistry) -> None:
        # Consumer. Lag is what the broker has and we have not processed; it must fall, or batch times tell why not.
        self.lag = Gauge("tenure_consumer_lag_records", "Records not yet processed", ["topic"], registry=r)
        self.running = Gauge(
            "tenure_consumer_running", "1 while the consumer runs, 0 while it waits or is stopped", registry=r
        )
        self.batch_records = Histogram(
            "tenure_consumer_batch_records", "Records in a committed batch", buckets=_BATCH_SIZES, registry=r
        )
        self.batch_seconds = Histogram(
            "tenure_consumer_batch_seconds", "From fetch to commit of a batch", buckets=_BATCH_SECONDS, registry=r
        )
        self.records = Counter(
            "tenure_consumer_records",
            "Records by what became of them: processed, repeated, dead_letter",
            ["topic", "outcome"],
            registry=r,
        )
        self.retries = Counter(
            "tenure_consumer_retries", "Batches tried again after an infrastructure fault", ["cause"], registry=r
        )
        self.missing = Counter(
            "tenure_consumer_missing_records",
            "Records that the topic had deleted before they were read",
            ["topic"],
            registry=r,
        )
        self.horizon_age = Gauge("tenure_horizon_age_seconds", "Clock time minus horizon", registry=r)

    def _measure_letters_and_outbox(self, r: CollectorRegistry) -> None:
        # Dead letters. Waiting ones hold up what managers are told; an operator replays or drops them.
        self.dead_letters = Counter("tenure_dead_letters", "Dead letters written", ["topic", "reason"], registry=r)
        self.dead_letters_waiting = Gauge(
            "tenure_dead_letters_waiting", "Dead letters neither replayed nor dropped", registry=r
        )

        # Outbox. The age of the oldest row says whether the relay keeps up.
        self.outbox_rows = Gauge("tenure_outbox_rows", "Committed and not yet published", registry=r)
        self.outbox_oldest_age = Gauge(
            "tenure_outbox_oldest_age_seconds", "Age of the oldest outbox row, real time", registry=r
        )
        self.relay_lease = Gauge("tenure_relay_lease", "1 in the process that publishes", registry=r)
        self.published = Counter("tenure_relay_published", "Records published", ["topic"], registry=r)
        self.relay_faults = Counter(
            "tenure_relay_faults", "Publishing attempts that failed and were repeated", ["cause"], registry=r
        )

    def _measure_what_comes(self, r: CollectorRegistry) -> None:
        # Doors (ingest). outcome: accepted, unmapped, ignored, refused, unsigned, unavailable.
        self.acceptance = Counter(
            "tenure_ingest_events", "What sources sent, by outcome", ["source", "outcome"], registry=r
        )

        # The ledger (accounts). outcome: kept, repeated (was there already). A batch tried again counts again.
        self.reports = Counter(
            "tenure_ledger_reports", "What sources reported, by whether it was new", ["source", "outcome"], registry=r
        )

    def _measure_sources(self, r: CollectorRegistry) -> None:
        # How sources stand (ingest). Moments are seconds since 1970 by the system's clock; absent while there is none.
        self.rejections = Counter(
            "tenure_ingest_rejected", "What sources sent and was not let in", ["source", "reason"], registry=r
        )
        self.redeliveries = Counter(
            "tenure_ingest_redelivered", "Accepted events that had come shortly before", ["source"], registry=r
        )
        self.source_last_delivery = Gauge(
            "tenure_source_last_delivery_timestamp_seconds", "Last authentic delivery", ["source"], registry=r
        )
        self.source_complete = Gauge(
            "tenure_source_complete_up_to_timestamp_seconds",
            "Up to when a polled source has been read",
            ["source"],
            registry=r,
        )
        self.source_working = Gauge(
            "tenure_source_working", "0 while a source cannot be read, else 1", ["source"], registry=r
        )
        self.source_quiet = Gauge(
            "tenure_source_quiet", "1 while a source is quiet against its own rhythm", ["source"], registry=r
        )

        # The configuration of sources (ingest). outcome: loaded, refused (the old one stays), unchanged.
        self.configuration_good = Gauge(
            "tenure_ingest_configuration_good", "0 while sources.toml or a secret is wrong, else 1", registry=r
        )
        self.configuration_reloads = Counter(
            "tenure_ingest_configuration_reloads", "Changes of sources.toml or secrets", ["outcome"], registry=r
        )

    def _measure_alerts(self, r: CollectorRegistry) -> None:
        # Alerts and their deliveries (notifier). kind: opened, escalated, reopened, resolved. channel: mail, webhook;
        # outcome: delivered, failed (tried again), dead (given up), withdrawn (over before anybody was told).
        self.alert_steps = Counter("tenure_alert_steps", "Steps in alerts' lives", ["rule", "kind"], registry=r)
        self.deliveries = Counter(
            "tenure_deliveries", "Attempts to deliver, by outcome", ["channel", "outcome"], registry=r
        )
        self.deliveries_held = Gauge(
            "tenure_deliveries_held", "Mails that wait until what was missed is caught up", registry=r
        )
        self.deliveries_dead = Gauge("tenure_deliveries_dead", "Deliveries given up, to be looked at", registry=r)
        self.catching_up = Gauge("tenure_catching_up", "1 while what was missed is being caught up", registry=r)

    def accepted(self, source: str, outcome: str = "accepted", events: int = 1) -> None:
        """Count events that the configured `source` sent; call it once per request, not once per event."""
        counter = self._acceptance.get((source, outcome))
        if counter is None:
            counter = self._acceptance[source, outcome] = self.acceptance.labels(source, outcome)
        counter.inc(events)

    def source(
        self,
        name: str,
        *,
        last_delivery: datetime | None,
        complete_up_to: datetime | None,
        working: bool,
        quiet: bool,
    ) -> None:
        """Say how the configured source `name` stands."""
        self._sources.add(name)
        for gauge, moment in ((self.source_last_delivery, last_delivery), (self.source_complete, complete_up_to)):
            if moment is not None:
                gauge.labels(name).set(moment.timestamp())
        self.source_working.labels(name).set(1 if working else 0)
        self.source_quiet.labels(name).set(1 if quiet else 0)

    def only_sources(self, names: Collection[str]) -> None:
        """Forget the standing of sources that are not configured any more."""
        for name in self._sources - set(names):
            self._sources.discard(name)
            for gauge in (self.source_last_delivery, self.source_complete, self.source_working, self.source_quiet):
                with suppress(KeyError):
                    gauge.remove(name)

    def exposition(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self.registry)


class _Traceable(Protocol):
    @property
    def envelope(self) -> Envelope: ...

    def traced(self, traceparent: str) -> Self: ...


R = TypeVar("R", bound=_Traceable)


class Trace(NamedTuple):
    """A running span. Put `traceparent` on the envelopes that it causes."""

    traceparent: str | None
    span: Span


class Telemetry:
    """The metrics and the tracer of one process. Without a trace file or a collector, traces are only passed on."""

    def __init__(self, service: str, settings: RuntimeSettings) -> None:
        self.metrics = Metrics()
        self._provider: TracerProvider | None = None
        if settings.trace_file or settings.otlp_endpoint:
            self._ratio = settings.trace_sample_ratio
            self._provider = _provider(service, settings)
            self._tracer = self._provider.get_tracer("tenure")

    @contextmanager
    def span(
        self, name: str, *, parent: str | None = None, seen: bool = False, **attributes: str | int
    ) -> Iterator[Trace]:
        """Run a span, a child of the traceparent `parent` or the start of a new trace; an error marks it as failed.

        `seen`: `unseen` has said already that there must be one.
        """
        if not seen and (unseen := self.unseen(parent)) is not None:
            yield unseen
            return
        above = _context(parent)
        context = trace.set_span_in_context(NonRecordingSpan(above)) if above else chosen()
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes) as span:
            yield Trace(_traceparent(span.get_span_context()), span)

    def unseen(self, parent: str | None) -> Trace | None:
        """Return the trace of what nobody will see a span of, or None where one must be run."""
        if self._provider is None:
            return Trace(parent, trace.INVALID_SPAN)
        above = _context(parent)
        if above.trace_flags.sampled if above else random.random() < self._ratio:  # noqa: S311 - no secret
            return None
        # Nearly all: a span that nobody will see costs as much as checking a signature. Its trace goes on all the
        # same, because dead letters name it.
        trace_id = above.trace_id if above else random.getrandbits(128)
        return Trace(f"00-{trace_id:032x}-{random.getrandbits(64):016x}-00", trace.INVALID_SPAN)

    @contextmanager
    def batch(self, name: str, records: Sequence[R]) -> Iterator[Sequence[R]]:
        """Run one span over a batch, linked to the records' traces; continue up to 50 of the sampled ones.

        Yields the records; those whose trace is continued carry the new span, so what they cause continues it too.
        """
        if self._provider is None:
            yield records
            return
        sampled = _sampled(records)
        links = [Link(context) for _, context in sampled]
        with self._tracer.start_as_current_span(
            name, links=links, attributes={"messaging.batch.message_count": len(records)}
        ) as over:
            if not sampled:
                yield records
                return
            traced = list(records)
            children: list[Span] = []
            for index, context in sampled:
                child = self._child(name, records[index].envelope, context, over.get_span_context())
                children.append(child)
                traced[index] = records[index].traced(_traceparent(child.get_span_context()))
            try:
                yield traced
            except BaseException:
                for child in children:
                    child.set_status(Status(StatusCode.ERROR))
                raise
            finally:
                for child in children:
                    child.end()

    def _child(self, name: str, envelope: Envelope, parent: SpanContext, batch: SpanContext) -> Span:
        return self._tracer.start_span(
            f"{name} {envelope.type}",
            context=trace.set_span_in_context(NonRecordingSpan(parent)),
            links=[Link(batch)],
            attributes={"event.id": envelope.id, "event.type": envelope.type},
        )

    def close(self) -> None:
        """Write out what spans are waiting."""
        if self._provider is not None:
            self._provider.shutdown()


def _provider(service: str, settings: RuntimeSettings) -> TracerProvider:
    provider = TracerProvider(
        sampler=LinkedSampler(settings.trace_sample_ratio),
        resource=Resource.create({"service.name": f"{settings.topic_prefix}{service}", "service.namespace": "tenure"}),
        shutdown_on_exit=False,
    )
    if settings.trace_file:
        provider.add_span_processor(
            BatchSpanProcessor(FileSpanExporter(settings.trace_file), schedule_delay_millis=500)
        )
    if settings.otlp_endpoint:
        endpoint = settings.otlp_endpoint.rstrip("/") + "/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider


def _sampled(records: Sequence[R]) -> list[tuple[int, SpanContext]]:
    found: list[tuple[int, SpanContext]] = []
    for index, record in enumerate(records):
        traceparent = record.envelope.traceparent
        if traceparent is not None and traceparent.endswith("-01"):
            context = _context(traceparent)
            if context is not None:
                found.append((index, context))
                if len(found) == TRACED_PER_BATCH:
                    break
    return found


def _context(traceparent: str | None) -> SpanContext | None:
    """Read a W3C traceparent; one that is malformed counts as none."""
    if traceparent is None:
        return None
    parts = traceparent.split("-")
    try:
        version, trace_id, span_id, flags = parts
        if len(version) != 2 or len(trace_id) != 32 or len(span_id) != 16 or len(flags) != 2:  # noqa: PLR2004 - W3C widths
            return None
        context = SpanContext(
            int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"
