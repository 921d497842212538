"""Trying a source out: an operator's delivery goes through the real door, up to the broker's step, and is told how.

The header `tenure-test` holds the operator's bearer token. Without `tenure-test-deliver: yes` nothing is published,
kept or counted; with it the delivery is an ordinary one. Whoever has no such token sees the door that everybody sees.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from services.ingest.domain.meetings import Notice
from services.ingest.domain.written import Written
from services.ingest.doors.bearer import operator_of
from services.ingest.doors.hot import Answer, Knock, RawAnswer, Take
from services.ingest.doors.requests import answer
from services.ingest.reception import Reception
from services.runtime.auth import TokenVerifier
from services.runtime.problems import Problem

HEADER = "tenure-test"
DELIVER = "tenure-test-deliver"

Post = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Rehearsal(Reception):
    """Writes down what would be done. `deliver`: it is done, too."""

    deliver: bool = False
    notes: list[dict[str, Any]] = field(default_factory=list)

    async def accept_written(
        self,
        source: str,
        records: Sequence[Written],
        at: datetime,
        traceparent: str | None,
        publishers: Sequence[str] = (),
    ) -> None:
        """Note what it became."""
        events = [{"type": one.type, "id": one.event, "interaction": one.interaction} for one in records]
        self.notes.append({"step": "mapping", "outcome": "understood", "events": events})
        if self.deliver:
            # Named, because a class with slots is made twice, and `super()` would mean the first one.
            await Reception.accept_written(self, source, records, at, traceparent, publishers)
            self.notes.append({"step": "broker", "outcome": f"acknowledged {len(records)} events"})
        else:
            self._not_sent()

    async def plan(self, source: str, notices: Sequence[Notice]) -> None:
        """Note that it says something about meetings."""
        if notices:
            self.notes.append({"step": "calendar", "outcome": f"speaks of {len(notices)} meetings"})
        if self.deliver:
            await Reception.plan(self, source, notices)

    async def keep_raw(
        self,
        source: str,
        body: bytes,
        why: str,
        *,
        at: datetime,
        traceparent: str | None,
        kept: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Note that it is not understood."""
        self.notes.append({"step": "mapping", "outcome": "not understood", "why": why})
        if self.deliver:
            await Reception.keep_raw(self, source, body, why, at=at, traceparent=traceparent, kept=kept)
            self.notes.append({"step": "broker", "outcome": "acknowledged; it becomes a dead letter of accounts"})
        else:
            self._not_sent()

    def ignored(self, source: str, at: datetime, why: str = "unnamed") -> None:
        """Note that it says nothing that concerns us."""
        self.notes.append({"step": "mapping", "outcome": "ignored", "why": why})
        if self.deliver:
            Reception.ignored(self, source, at, why)

    def refused(self, source: str, reason: str, number: int = 1, *, outcome: str = "refused") -> None:
        """Note why: an operator may know what others must guess."""
        step = "proof" if outcome == "unsigned" else "broker" if outcome == "unavailable" else "mapping"
        self.notes.append({"step": step, "outcome": outcome, "why": reason})
        if self.deliver:
            Reception.refused(self, source, reason, number, outcome=outcome)

    def _not_sent(self) -> None:
        state = "connected" if self.publisher.connected else "away"
        self.notes.append({"step": "broker", "outcome": f"{state}; nothing was sent"})


class Rehearsals:
    """Lets doors be tried. `verifier` None: nobody may."""

    def __init__(self, reception: Reception, verifier: TokenVerifier | None) -> None:
        self._reception = reception
        self._verifier = verifier

    def hot(self, take: Take, make: Callable[[Reception], Take]) -> Take:
        """Return a hot door that can be tried; `make` gives the same door with another reception behind it."""

        def tried(rest: str, knock: Knock) -> Awaitable[Answer | RawAnswer]:
            return take(rest, knock) if HEADER not in knock.headers else rehearse(rest, knock)

        async def rehearse(rest: str, knock: Knock) -> Answer | RawAnswer:
            rehearsal = self._begin(knock.headers)
            try:
                status = (await make(rehearsal)(rest, knock)).status
            except Problem as problem:
                status = problem.status
            return Answer(_told(rehearsal, status))

        return tried

    def plain(self, post: Post, make: Callable[[Reception], Post]) -> Post:
        """Return a plain route's endpoint that can be tried."""

        async def tried(request: Request) -> Response:
            if HEADER not in request.headers:
                return await post(request)
            rehearsal = self._begin(request.headers)
            try:
                status = (await make(rehearsal)(request)).status_code
            except Problem as problem:
                status = problem.status
            return answer(_told(rehearsal, status))

        return tried

    def _begin(self, headers: Mapping[str, str]) -> Rehearsal:
        operator_of(headers[HEADER], self._verifier)
        same = {one.name: getattr(self._reception, one.name) for one in fields(Reception)}
        return Rehearsal(**same, deliver=headers.get(DELIVER) == "yes")


def _told(rehearsal: Rehearsal, status: int) -> dict[str, Any]:
    return {"test": True, "answer": status, "delivered": rehearsal.deliver, "steps": rehearsal.notes}
