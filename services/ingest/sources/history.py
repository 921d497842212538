"""Calendar files as history."""

from contracts.values import EARLIEST
from services.ingest.domain.meetings import Notice
from services.ingest.sources.icalendar import read_notices


def read_calendar(raw: bytes, content: bool) -> list[Notice]:  # noqa: FBT001 - `services.ingest.doors.imports.ReadCalendar`
    """Return what a calendar file says, the past of its series included; raises `Unmapped` for what is none."""
    return read_notices(raw, content=content, since=EARLIEST)
