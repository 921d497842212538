"""The lines of iCalendar objects (RFC 5545, 3.1): unfolded properties, components, and the people whom they name."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from icalendar.parser import Contentline, Contentlines

from contracts.identities import mailbox_of
from services.ingest.domain.identities import normalise_address
from services.ingest.domain.mapping import Unmapped

TEXTS = frozenset({"SUMMARY", "DESCRIPTION", "LOCATION", "CATEGORIES"})
_PEOPLE = frozenset({"ORGANIZER", "ATTENDEE"})
_MOST_LINES = 200_000
_MOST_COMPONENTS = 20_000


@dataclass(frozen=True, slots=True)
class Line:
    """One property, unfolded."""

    name: str
    parameters: dict[str, str]
    """By upper-case name; of lists the first value."""
    value: str
    written: str
    """As it stands, unfolded."""


def read_lines(raw: bytes) -> list[Line]:
    """Return the properties of a calendar object in their order; raise `Unmapped` for what is none."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "BEGIN:VCALENDAR" not in text[:10_000].upper():
        raise Unmapped("no_calendar")
    try:
        written = [line for line in _content_lines(text.replace("\x00", "")) if line]
    except ValueError:
        raise Unmapped("bad_calendar") from None
    if len(written) > _MOST_LINES:
        raise Unmapped("calendar_too_long")
    return [line for line in map(_line, written) if line is not None]


def _content_lines(text: str) -> Sequence[Contentline]:
    lines: Sequence[Contentline] = Contentlines.from_ical(text)  # type: ignore[no-untyped-call]
    return lines


def _line(written: Contentline) -> Line | None:
    try:
        name, parameters, value = written.raw_parts()
    except ValueError:
        return None
    first = {key.upper(): (each if isinstance(each, str) else next(iter(each), "")) for key, each in parameters.items()}
    return Line(name.upper(), first, value, str(written))


def components(lines: Sequence[Line], name: str) -> Iterator[list[Line]]:
    """Yield the properties of each component of this name, without those of components inside it."""
    found: list[Line] | None = None
    depth = 0
    number = 0
    for line in lines:
        word = line.value.strip().upper()
        if line.name == "BEGIN":
            if found is None and word == name:
                found, depth = [], 0
            elif found is not None:
                depth += 1
        elif line.name == "END" and found is not None:
            if depth == 0:
                yield found
                found = None
                number += 1
                if number >= _MOST_COMPONENTS:
                    return
            else:
                depth -= 1
        elif found is not None and depth == 0:
            found.append(line)


def address_of(line: Line | None) -> str | None:
    """Return whom an ORGANIZER or ATTENDEE names, normalised; None where nobody can be read."""
    if line is None:
        return None
    value = line.value.strip()
    written = value[7:] if value[:7].lower() == "mailto:" else line.parameters.get("EMAIL", value)
    return normalise_address(written)


def whole_of(line: Line | None) -> int:
    """Return a whole number; 0 where there is none."""
    try:
        return int(line.value) if line is not None else 0
    except ValueError:
        return 0


def moment_of(line: Line | None) -> datetime | None:
    """Return a moment in UTC; None where there is none."""
    if line is None:
        return None
    try:
        return datetime.strptime(line.value.strip()[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def without_people(body: str, mailboxes: Collection[str]) -> str:
    """Return a component as we keep it, without those of `mailboxes` (see `mailbox_of`), and without its texts.

    A text may name them, too. The same object where it names none of them.
    """
    written = body.split("\r\n")
    lines = [_line(Contentline(each)) for each in written]  # type: ignore[no-untyped-call]
    gone = [line is not None and line.name in _PEOPLE and _mailbox(line) in mailboxes for line in lines]
    if not any(gone):
        return body
    kept = [
        each
        for each, line, theirs in zip(written, lines, gone, strict=True)
        if not theirs and (line is None or line.name not in TEXTS)
    ]
    return "\r\n".join(kept)


def _mailbox(line: Line) -> str | None:
    address = address_of(line)
    return None if address is None else mailbox_of(address)
