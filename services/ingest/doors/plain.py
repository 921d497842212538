"""The way that nearly every CloudEvent goes: one structured event, plainly written, whose trace nobody will look at.

What comes in one turn of the event loop is read together (see `services.ingest.doors.turns`). What is not plain beyond
doubt is left to the door's ordinary way, unsigned and wrong events among it: that one explains and counts. Both say the
same where this one says something (see `services.ingest.sources.quick`).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.domain.written import OpenLines, ReadLine, Written
from services.ingest.doors.hot import Answer, Knock
from services.ingest.doors.requests import refusal
from services.ingest.doors.turns import Turns, Visit
from services.ingest.publisher import TooLarge, Unavailable
from services.ingest.reception import Heads, Reception
from services.ingest.verify import Request, Unverified, verify

_NO_SYSTEMS: frozenset[str] = frozenset()


class PlainVisit(Visit):
    """One request that may be a plain event, and what it says when it is one."""

    __slots__ = ("at", "record", "source")

    def __init__(self, knock: Knock) -> None:
        super().__init__(knock)
        self.source = ""
        self.at: datetime | None = None
        self.record: Written | None = None


class _Shared(NamedTuple):
    """What the visits of one turn to one source have in common."""

    read: ReadLine
    head: Heads
    at: datetime


class PlainEvents:
    """Reads plain events of `sources`."""

    def __init__(self, reception: Reception, sources: Mapping[str, Source], lines: OpenLines) -> None:
        self._reception = reception
        self._sources = sources
        self._lines = lines
        self._turns = Turns(reception.publisher, (self._vouch, self._read, self._write))

    async def take(self, visit: PlainVisit) -> Answer | None:
        """Return the answer to an event that is acknowledged; None: the door has to look at it. Raises `Problem`."""
        try:
            taken = await self._turns.read(visit)
        except (Unavailable, TooLarge) as error:
            self._reception.undelivered(visit.source, error)
            raise refusal(error) from None
        record = visit.record
        if not taken or record is None or visit.at is None:
            return None
        self._reception.count(visit.source, (record.event,), visit.at)
        result = {"index": 0, "status": "accepted", "id": record.event, "interaction": record.interaction}
        return Answer({"accepted": 1, "rejected": 0, "results": [result]}, 202)

    def _vouch(self, visit: PlainVisit, turn: dict[str, _Shared]) -> bool:
        source = self._vouched(visit.knock.headers, visit.knock.body)
        if source is None:
            return False
        visit.source = source.name
        if source.name not in turn:
            turn[source.name] = self._share(source)
        return True

    def _read(self, visit: PlainVisit, turn: dict[str, _Shared]) -> bool:
        visit.record = turn[visit.source].read(visit.knock.body)
        return visit.record is not None

    def _write(self, visit: PlainVisit, turn: dict[str, _Shared]) -> bool:
        shared, record = turn[visit.source], visit.record
        trace = self._reception.telemetry.unseen(visit.knock.headers.get("traceparent"))
        if trace is None or record is None:
            visit.seen = True
            return False
        visit.at = shared.at
        visit.records = (shared.head(record, trace.traceparent, record.publisher),)
        return True

    def _share(self, source: Source) -> _Shared:
        origin = self._reception.origin(source)
        at = origin.received_at
        return _Shared(self._lines(origin, _NO_SYSTEMS), Heads(source.name, at), at)

    def _vouched(self, headers: Mapping[str, str], body: bytes) -> Source | None:
        named = headers.get("tenure-source")
        request = Request("", headers, body)
        for source in self._sources.values():
            if named is None or named == source.name:
                try:
                    verify(SchemeName.STANDARD_WEBHOOKS, source.keys, request)
                except Unverified:
                    continue
                return source
        return None
