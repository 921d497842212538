"""The way that nearly every CloudEvent goes: one structured event, plainly written, whose trace nobody will look at.

What comes in one turn of the event loop is read together, one after the other with nothing in between. Between two
steps of one request lies what all others do, and until then its code and data have left the processor's caches: the
same reading takes twice as long there. Nobody waits for the next turn.

What is not plain beyond doubt is left to the door's ordinary way, unsigned and wrong events among it: that one explains
and counts. Both say the same where this one says something (see `services.ingest.sources.quick`).
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from services.ingest.domain.schemes import SchemeName
from services.ingest.domain.source import Source
from services.ingest.domain.written import OpenLines, ReadLine, Written
from services.ingest.doors.hot import Answer, Knock
from services.ingest.doors.requests import refusal
from services.ingest.publisher import TooLarge, Unavailable, Waiting
from services.ingest.reception import Heads, Reception
from services.ingest.verify import Request, Unverified, verify

_NO_SYSTEMS: frozenset[str] = frozenset()


class Visit:
    """One request. After `PlainEvents.take`: `seen` says that its trace was drawn to be recorded."""

    __slots__ = ("knock", "record", "seen", "source", "waiting")

    def __init__(self, knock: Knock) -> None:
        self.knock = knock
        self.waiting = Waiting()
        self.source = ""
        self.record: Written | None = None
        self.seen = False


class _Turn(NamedTuple):
    """What the visits of one turn to one source have in common."""

    read: ReadLine
    head: Heads


class PlainEvents:
    """Reads plain events of `sources`."""

    def __init__(self, reception: Reception, sources: Mapping[str, Source], lines: OpenLines) -> None:
        self._reception = reception
        self._sources = sources
        self._lines = lines
        self._visits: list[Visit] = []

    async def take(self, visit: Visit) -> Answer | None:
        """Return the answer to an event that is acknowledged; None: the door has to look at it. Raises `Problem`."""
        if not self._visits:
            asyncio.get_running_loop().call_soon(self._read_all)
        self._visits.append(visit)
        reception, at = self._reception, self._reception.clock.now()
        try:
            await reception.publisher.acknowledged(visit.waiting)
        except (Unavailable, TooLarge) as error:
            reception.undelivered(visit.source, error)
            raise refusal(error) from None
        record = visit.record
        if record is None:
            return None
        reception.count(visit.source, (record.event,), at)
        result = {"index": 0, "status": "accepted", "id": record.event, "interaction": record.interaction}
        return Answer({"accepted": 1, "rejected": 0, "results": [result]}, 202)

    def _read_all(self) -> None:
        visits, self._visits = self._visits, []
        turns: dict[str, _Turn] = {}
        for visit in visits:
            answer = visit.waiting.answer
            try:
                if not answer.done() and not self._read(visit, turns):
                    answer.set_result(None)
            except (Unavailable, TooLarge) as error:
                answer.set_exception(error)
            except Exception:  # noqa: BLE001 - whatever it was, the ordinary way meets it again and can tell
                visit.record = None
                answer.set_result(None)

    def _read(self, visit: Visit, turns: dict[str, _Turn]) -> bool:
        """Read and queue one event; False: it is not plain beyond doubt."""
        headers, body = visit.knock.headers, visit.knock.body
        source = self._vouched(headers, body)
        if source is None:
            return False
        turn = turns.get(source.name)
        if turn is None:
            turn = turns[source.name] = self._turn(source)
        record = turn.read(body)
        if record is None:
            return False
        trace = self._reception.telemetry.unseen(headers.get("traceparent"))
        if trace is None:
            visit.seen = True
            return False
        visit.source, visit.record = source.name, record
        publisher = self._reception.publisher
        publisher.submit(visit.waiting, (turn.head(record, trace.traceparent, record.publisher),))
        return True

    def _turn(self, source: Source) -> _Turn:
        origin = self._reception.origin(source)
        return _Turn(self._lines(origin, _NO_SYSTEMS), Heads(source.name, origin.received_at))

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
