"""`POST /v1/imports/{source}`: history as NDJSON, a CloudEvent a line. Good lines go in, bad ones come back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from contracts.events import Event
from contracts.values import Authority
from services.ingest import strict_json
from services.ingest.domain.mapping import Invalid, ReadCloudEvent, WrongField
from services.ingest.domain.source import Source
from services.ingest.doors.bearer import operator
from services.ingest.doors.requests import answer, check_media, read_body, refusal, unknown_source
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Reception
from services.runtime.auth import TokenVerifier
from services.runtime.problems import Problem

MOST_LINES = 500
_MEDIA = frozenset({"application/x-ndjson", "application/ndjson"})


class Imports:
    """The door. What comes in here has the lowest authority: a live report of the same thing stands above it."""

    def __init__(
        self,
        reception: Reception,
        sources: Mapping[str, Source],
        read: ReadCloudEvent,
        verifier: TokenVerifier | None,
    ) -> None:
        self._reception = reception
        self._read = read
        self._sources = {name: source for name, source in sources.items() if source.configuration.provider == "import"}
        self._systems = frozenset(source.system for source in sources.values())
        self._verifier = verifier

    async def post(self, request: Request) -> Response:
        """Take up to 500 lines."""
        operator(request, self._verifier)
        source = self._sources.get(request.path_params["source"])
        if source is None:
            raise unknown_source()
        check_media(request.headers, _MEDIA)
        lines = (await read_body(request)).splitlines()
        if len(lines) > MOST_LINES:
            raise Problem(413, "Too many lines", f"Send at most {MOST_LINES} lines at once.", "too-many-lines")
        parent = request.headers.get("traceparent")
        with self._reception.telemetry.span("ingest import", parent=parent, source=source.name) as trace:
            return await self._take(source, lines, trace.traceparent)

    async def _take(self, source: Source, lines: Sequence[bytes], traceparent: str | None) -> Response:
        origin = replace(self._reception.origin(source), authority=Authority.IMPORT)
        events: list[Event] = []
        rejected: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                events.append(self._read(strict_json.loads(line), origin, self._systems))
            except strict_json.BadJson as bad:
                rejected.append(_rejection(number, [WrongField(bad.field or "line", bad.message, bad.remedy)]))
            except Invalid as bad:
                rejected.append(_rejection(number, bad.errors))
        try:
            if events:
                await self._reception.accept(source.name, events, origin.received_at, traceparent)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(source.name, error, len(events))
            raise refusal(error) from None
        if rejected:
            self._reception.refused(source.name, "not_valid", len(rejected))
        return answer({"accepted": len(events), "rejected": rejected})


def _rejection(line: int, errors: Sequence[WrongField]) -> dict[str, Any]:
    return {"line": line, "errors": [asdict(error) for error in errors]}
