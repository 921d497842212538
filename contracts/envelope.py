"""CloudEvents 1.0 in Kafka's binary mode: attributes are `ce_` headers, the value is the data.

Extensions used: `recordedtime` (when ingest accepted the report by the system's clock; copied to whatever the report
causes, so that every service can say up to when it is complete), `traceparent` (W3C trace context), `republished` (id
of the run that said a state again with the version that it had; readers need not care).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct
from msgspec.json import Encoder
from msgspec.structs import replace

CONTENT_TYPE = "application/json"
_write = Encoder().encode


class Unreadable(Exception):
    """A record that cannot be read: becomes a dead letter with `reason` (a stable code) and `detail` (for a person)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def format_instant(moment: datetime) -> str:
    """Write an aware moment as RFC 3339 in UTC with `Z`."""
    # A third of what `isoformat` takes, and turned only when need be: every record that is written has some.
    return _write(moment if moment.tzinfo is UTC else moment.astimezone(UTC))[1:-1].decode("ascii")


_format_again = lru_cache(maxsize=4096)(format_instant)


class Envelope(Struct, frozen=True, gc=False):
    """The attributes of one CloudEvent. `time` and `recordedtime` are aware; the first is when it happened."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    recordedtime: datetime
    traceparent: str | None = None
    republished: str | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        """Return Kafka headers of the binary content mode."""
        return [(name, text.encode()) for name, text in self.texts()]

    def texts(self) -> list[tuple[str, str]]:
        """Return the same headers as text."""
        headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", self.id),
            ("ce_source", self.source),
            ("ce_type", self.type),
            ("ce_subject", self.subject),
            ("ce_time", format_instant(self.time)),
            # Nearly all records of a batch have it in common.
            ("ce_recordedtime", _format_again(self.recordedtime)),
            ("content-type", CONTENT_TYPE),
        ]
        if self.traceparent:
            headers.append(("ce_traceparent", self.traceparent))
        if self.republished:
            headers.append(("ce_republished", self.republished))
        return headers

    def traced(self, traceparent: str | None) -> "Envelope":
        """Return the same envelope under another trace context."""
        return self if traceparent == self.traceparent else replace(self, traceparent=traceparent)

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> "Envelope":
        """Read the attributes; raise `Unreadable` naming the header that is missing or wrong."""
        given = dict(headers)
        try:
            if given["ce_specversion"] != b"1.0":
                raise Unreadable("bad_envelope", "header ce_specversion is not 1.0; write CloudEvents 1.0")
            traceparent = given.get("ce_traceparent")
            return cls(
                id=str(given["ce_id"], "ascii"),
                source=str(given["ce_source"], "utf-8"),
                type=str(given["ce_type"], "ascii"),
                subject=str(given["ce_subject"], "ascii"),
                time=_instant(given["ce_time"], "ce_time"),
                recordedtime=_instant_again(given["ce_recordedtime"], "ce_recordedtime"),
                traceparent=None if traceparent is None else str(traceparent, "ascii"),
            )
        except KeyError as missing:
            raise Unreadable(
                "bad_envelope", f"header {missing.args[0]} is missing; write CloudEvents in binary mode"
            ) from None
        except (UnicodeDecodeError, TypeError):
            raise Unreadable("bad_envelope", "a ce_ header holds bytes that are no text") from None


def _instant(raw: bytes, header: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(raw, "ascii"))
    except ValueError:
        raise Unreadable("bad_envelope", f"header {header} is no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise Unreadable("bad_envelope", f"header {header} has no offset; write 2026-03-02T09:30:00Z")
    return moment


_instant_again = lru_cache(maxsize=4096)(_instant)
