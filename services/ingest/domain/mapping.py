"""What every mapping takes and gives."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from contracts.events import Event
from contracts.ids import digest
from contracts.values import Authority, Revision
from services.ingest.domain.identities import Directory
from services.ingest.domain.meetings import Notice
from services.ingest.domain.privacy import NO_RULES, Rules
from services.ingest.domain.reports import revision_of

MAPPER = 1
"""Raise it when a mapping is mended: what is fetched or replayed then overrules what the old mapping said."""

LONGEST_TEXT = 20_000
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Unmapped(Exception):
    """The payload is authentic, but we do not understand it; it goes on raw. `reason` holds nothing of its content."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class WrongField:
    """One wrong field of what somebody sent: its path, what is wrong with it, what to write instead."""

    field: str
    message: str
    remedy: str


class Invalid(Exception):
    """What somebody sent is not acceptable. `errors` name each field and what to do."""

    def __init__(self, errors: Sequence[WrongField]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = tuple(errors)


class Origin(Struct, frozen=True):
    """Where a payload came from."""

    source: str
    """The configured source."""
    system: str
    """The source system that names its tickets, calls and orders: "zendesk:acme"."""
    directory: Directory
    received_at: datetime
    """When it came in, by the system's clock, aware UTC. For what the payload itself does not date."""
    authority: int = Authority.LIVE
    privacy: Rules = NO_RULES
    """What must not come in."""
    folder: str | None = None
    """Where in a mailbox it lies, where that is known."""

    def named(self, native: object) -> str:
        """Return a provider's id together with its system: "zendesk:acme:4711"."""
        return f"{self.system}:{native}"

    def revision(self, order: int, content: bytes, authority: int | None = None) -> Revision:
        """Return the revision of a report with these source bytes. `order` is the provider's own."""
        return revision_of(self.authority if authority is None else authority, order, MAPPER, digest_of(content))

    def revision_fields(self, order: int, content: bytes, authority: int | None = None) -> dict[str, Any]:
        """Return the same, not validated yet."""
        return {
            "authority": self.authority if authority is None else authority,
            "order": order,
            "mapper": MAPPER,
            "digest": digest_of(content),
        }


_digested: tuple[bytes, str] = (b"", digest(b""))


def digest_of(content: bytes) -> str:
    """Return the digest of a delivery's bytes, which a report's id, its revision and the next report ask for again."""
    global _digested  # noqa: PLW0603 - one delivery's, replaced whole: threads cannot see half of it
    known, mark = _digested
    if known is not content:
        mark = digest(content)
        _digested = content, mark
    return mark


class Mapped(Struct, frozen=True):
    """What a payload says: its events, or why it says nothing that concerns us (`ignored`, a stable code)."""

    events: Sequence[Event] = ()
    ignored: str | None = None
    notices: Sequence[Notice] = ()
    """What it says about meetings; these are published when they have begun."""


MapMail = Callable[[Any, Origin], Mapped]
"""(raw mail, or what was read of one, origin) → events. Raises `Unmapped`, or pydantic's ValidationError."""
ReadCloudEvent = Callable[[Any, Origin, frozenset[str]], Event]
"""(parsed structured CloudEvent, origin, systems that its extension `system` may name) → event. Raises `Invalid`."""


def micros(moment: datetime) -> int:
    """Return microseconds since 1970: the order of providers that have no sequence but date what they say."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(value: Any, field: str) -> datetime:
    """Read an RFC 3339 time (any number of decimals) or Unix seconds; raise `Unmapped` naming the field."""
    try:
        if isinstance(value, str):
            # Zendesk writes nanoseconds; what lies beyond microseconds is cut off.
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is UTC:
                return moment
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        elif isinstance(value, int) and not isinstance(value, bool):
            # Half of what `fromtimestamp` takes.
            return _EPOCH + timedelta(0, value)
    except (ValueError, OverflowError, OSError):
        pass
    raise Unmapped(f"bad_time:{field}")


def object_at(payload: Any, field: str) -> Mapping[str, Any]:
    """Return the object under `field`; raise `Unmapped` when there is none."""
    value = payload.get(field) if isinstance(payload, dict) else None
    if not isinstance(value, dict):
        raise Unmapped(f"missing:{field}")
    return value


def id_at(payload: Mapping[str, Any], field: str) -> str:
    """Return the provider's id under `field` as text; raise `Unmapped` when there is none."""
    found = optional_id(payload, field)
    if found is None:
        raise Unmapped(f"missing:{field}")
    return found


def optional_id(payload: Mapping[str, Any], field: str) -> str | None:
    """Return the provider's id under `field` as text, or None."""
    value = payload.get(field)
    kind = type(value)
    return str(value) if value and (kind is str or kind is int) else None


def optional_text(payload: Mapping[str, Any], field: str) -> str | None:
    """Return the text under `field`, or None."""
    value = payload.get(field)
    return value if type(value) is str and value and not value.isspace() else None


def storable_text(text: str | None) -> str | None:
    """Return free text as it can be kept: without NUL and half characters, at most 20,000 characters."""
    if not text:
        return None
    return _UNSTORABLE.sub("\ufffd", text)[:LONGEST_TEXT].strip() or None
