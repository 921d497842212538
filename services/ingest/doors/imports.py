"""`POST /v1/imports/{source}`: history as NDJSON. Good lines go in, bad ones come back; asked to, it only says so.

To a source for imports a line is a CloudEvent; to a mailbox it is an old mail, `{"mail": base64}`, or a calendar,
`{"calendar": text}`, read as that mailbox's own mail is.
"""

import asyncio
import base64
import binascii
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response

from contracts.values import Authority
from services.ingest import strict_json
from services.ingest.domain.mapping import Invalid, MapMail, Mapped, Origin, ReadCloudEvent, WrongField
from services.ingest.domain.meetings import Notice
from services.ingest.domain.source import Source
from services.ingest.domain.written import OpenLines, Written
from services.ingest.doors.bearer import operator
from services.ingest.doors.deliveries import why_not
from services.ingest.doors.requests import answer, check_media, read_body, refusal, unknown_source
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception, written
from services.runtime.auth import TokenVerifier
from services.runtime.problems import Problem

MOST_LINES = 500
_MEDIA = frozenset({"application/x-ndjson", "application/ndjson"})
_FIRST = 3
_AT_A_STRETCH = 50
"""Lines that are read before others may go on: what another request has read is on its way to the broker meanwhile."""
ReadCalendar = Callable[[bytes, bool], Sequence[Notice]]
"""(a calendar, whether texts may be kept) → what it says about meetings. Raises `Unmapped`."""


@dataclass(frozen=True, slots=True)
class Readers:
    """How lines are read."""

    lines: OpenLines
    cloudevent: ReadCloudEvent
    mails: Mapping[str, MapMail]
    """By the names of the mailboxes that take history."""
    calendar: ReadCalendar


@dataclass(slots=True)
class _Taken:
    """What a request holds. `room`: bytes that one report may have."""

    room: int
    records: list[Written] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    """How many lines were taken; a mail can be more than one report."""

    def reject(self, line: int, errors: Sequence[WrongField]) -> None:
        """Add a line that was refused."""
        self.rejected.append({"line": line, "errors": [asdict(error) for error in errors]})

    def too_large(self, line: int) -> None:
        """Refuse a line that would be a record larger than the broker takes."""
        self.reject(line, [WrongField("line", f"says more than {self.room} bytes can hold", "send less text")])

    def mapped(self, line: int, mapped: Mapped) -> None:
        """Add what a mail says."""
        records = [written(event) for event in mapped.events]
        if any(len(record.value) > self.room for record in records):
            self.too_large(line)
            return
        self.records += records
        self.notices += [replace(notice, authority=Authority.IMPORT) for notice in mapped.notices]
        if mapped.ignored is not None:
            self.ignored[mapped.ignored] += 1
        else:
            self.lines += 1


class Imports:
    """The door. What comes in here has the lowest authority: a live report of the same thing stands above it."""

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        readers: Readers,
        verifier: TokenVerifier | None,
    ) -> None:
        self._reception = reception
        self._readers = readers
        self._sources = {
            name: source
            for name, source in sources.items()
            if source.configuration.provider in {"import", "caldav"} or name in readers.mails
        }
        self._systems = frozenset(source.system for source in sources.values())
        self._verifier = verifier

    async def post(self, request: Request) -> Response:
        """Take up to 500 lines, or with `dry_run=true` only say what would become of them."""
        operator(request, self._verifier)
        source = self._sources.get(request.path_params["source"])
        if source is None:
            raise unknown_source()
        check_media(request.headers, _MEDIA)
        lines = (await read_body(request)).splitlines()
        if len(lines) > MOST_LINES:
            raise Problem(413, "Too many lines", f"Send at most {MOST_LINES} lines at once.", "too-many-lines")
        parent = request.headers.get("traceparent")
        dry_run = request.query_params.get("dry_run") == "true"
        whole = request.query_params.get("events") == "true"
        with self._reception.telemetry.span("ingest import", parent=parent, source=source.name) as trace:
            origin = structs.replace(self._reception.origin(source), authority=Authority.IMPORT)
            if source.configuration.provider == "import":
                taken = await self._events(lines, origin)
            else:
                taken = await asyncio.to_thread(self._mails, source, lines, origin)
            return (
                _foretold(taken, whole=whole) if dry_run else await self._take(source, taken, origin, trace.traceparent)
            )

    async def _events(self, lines: Sequence[bytes], origin: Origin) -> _Taken:
        taken = _Taken(self._reception.publisher.record_limit)
        quick, slow = self._readers.lines(origin, self._systems), self._readers.cloudevent
        for number, line in enumerate(lines, start=1):
            record = quick(line)
            if record is None:
                if not line.strip():
                    continue
                try:
                    record = written(slow(strict_json.loads(line), origin, self._systems))
                except strict_json.BadJson as bad:
                    taken.reject(number, [WrongField(bad.field or "line", bad.message, bad.remedy)])
                    continue
                except Invalid as bad:
                    taken.reject(number, bad.errors)
                    continue
            if len(record.value) > taken.room:
                taken.too_large(number)
                continue
            taken.records.append(record)
            if number % _AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        taken.lines = len(taken.records)
        return taken

    def _mails(self, source: Source, lines: Sequence[bytes], origin: Origin) -> _Taken:
        taken = _Taken(self._reception.publisher.record_limit)
        read = self._readers.mails.get(source.name)
        content = getattr(source.configuration.options, "content", True) is True
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                item = strict_json.loads(line)
                if isinstance(item, dict) and isinstance(item.get("calendar"), str):
                    notices = self._readers.calendar(item["calendar"].encode(), content)
                    taken.mapped(number, Mapped(notices=notices))
                elif read is None:
                    taken.reject(number, [WrongField("calendar", "is missing", "this source takes calendars only")])
                else:
                    taken.mapped(number, read(_mail(item), origin))
            except strict_json.BadJson as bad:
                taken.reject(number, [WrongField(bad.field or "line", bad.message, bad.remedy)])
            except Invalid as bad:
                taken.reject(number, bad.errors)
            except Exception as bad:  # noqa: BLE001 - it is told under which code
                why = why_not(source.name, bad)
                remedy = "look at its headers, or leave it out: it names nobody who could have written it"
                taken.reject(number, [WrongField("mail", f"cannot be understood ({why})", remedy)])
        return taken

    async def _take(self, source: Source, taken: _Taken, origin: Origin, traceparent: str | None) -> Response:
        try:
            if taken.records:
                await self._reception.accept_written(source.name, taken.records, origin.received_at, traceparent)
            await self._reception.plan(source.name, taken.notices)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error, len(taken.records))
            raise refusal(error) from None
        if taken.rejected:
            self._reception.refused(source.name, "not_valid", len(taken.rejected))
        for why, number in taken.ignored.items():
            for _ in range(number):
                self._reception.ignored(source.name, origin.received_at, why)
        return answer({"accepted": taken.lines, "rejected": taken.rejected, "ignored": taken.ignored})


def _mail(item: Any) -> bytes:
    """Return the mail of a line; raise `Invalid`."""
    raw = item.get("mail") if isinstance(item, dict) else None
    try:
        return base64.b64decode(raw if isinstance(raw, str) else "?", validate=True)
    except binascii.Error:
        remedy = 'send {"mail": "…"} with the mail in base64, or {"calendar": "…"} with the text of a calendar'
        raise Invalid([WrongField("mail", "is missing or no base64", remedy)]) from None


def _foretold(taken: _Taken, *, whole: bool) -> Response:
    """Say what would be taken; `whole`: with every event as it would be published, which accounts can rehearse."""
    types = Counter(record.type for record in taken.records)
    if taken.notices:
        types["meetings planned"] = len(taken.notices)
    first = [orjson.loads(record.value) for record in taken.records[:_FIRST]]
    told = {
        "accepted": taken.lines,
        "rejected": taken.rejected,
        "ignored": taken.ignored,
        "types": types,
        "first": first,
        "dry_run": True,
    }
    if whole:
        told["events"] = [{"type": record.type, "data": orjson.Fragment(record.value)} for record in taken.records]
    return answer(told)
