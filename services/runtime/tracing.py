"""Parts of the tracer: spans as JSON lines in a file; a sampler that never loses a batch whose records are traced."""

from collections.abc import Sequence
from pathlib import Path

from opentelemetry.context import Context, create_key, get_value, set_value
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.span import TraceState
from opentelemetry.util.types import Attributes

_CHOSEN = create_key("tenure-chosen")


def chosen() -> Context:
    """Return an empty context in which `LinkedSampler` samples: the share has been drawn already."""
    return set_value(_CHOSEN, True, Context())  # noqa: FBT003 - the signature of the library


class FileSpanExporter(SpanExporter):
    """Appends every span as one JSON line; several processes may share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans` with one write, so that lines of several processes do not mix."""
        self._file.write("".join(span.to_json(indent=None) + "\n" for span in spans))
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


class LinkedSampler(Sampler):
    """Samples what its parent sampled, what links to something sampled, and a share of everything else."""

    def __init__(self, ratio: float) -> None:
        self._otherwise = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(  # noqa: PLR0917 - the signature of the interface
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide whether the span is recorded."""
        if get_value(_CHOSEN, parent_context) or any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """Name the sampler."""
        return "LinkedSampler"
