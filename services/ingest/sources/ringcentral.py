"""RingCentral: calls, from telephony session notifications of the whole account.

A session is a call; its parties are the legs. A notification tells one party's new state and nothing of the states
before, so an answer and an end are reports of their own, put together by `assemble`. The party whose direction is
"Outbound" is who dialled: the customer in an inbound call, our own telephone in an outbound one. "Inbound" parties are
those that were rung: only they can be answered by a person; a menu or a queue is never "Answered".
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from contracts.events import CallLegEnded, Event, InteractionWithdrawn
from contracts.values import Party
from services.ingest.domain.handshakes import validation_token
from services.ingest.domain.identities import Directory, one_line
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    id_at,
    moment_of,
    object_at,
    optional_id,
    optional_text,
)
from services.ingest.domain.provider import JSON, Delivery, Provider, Reply
from services.ingest.domain.reports import altered, reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.calls import TERMINAL, SiteOptions, endpoint, entries_of, leg_report

_SESSIONS = "/telephony/sessions"
_NOT_CONVERSATIONS = frozenset({"GreetingsRecording", "VerificationCall", "TestCall"})
_GREATEST_SEQUENCE = 1 << 40


def challenge(delivery: Delivery, keys: Sequence[bytes]) -> Reply | None:
    """Give back the token that comes without a body when a subscription is made; what has a body is a notification."""
    return None if delivery.body.strip() not in {b"", b"{}"} else validation_token(delivery, keys)


def read(delivery: Delivery, origin: Origin, options: SiteOptions) -> Mapped:
    """Map a verified notification. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    told = payload.get("event")
    if not isinstance(told, str):
        raise Unmapped("missing:event")
    if not told.partition("?")[0].endswith(_SESSIONS):
        return Mapped(ignored="not_about_a_call")
    body = object_at(payload, "body")
    if optional_text(_object(body, "origin"), "type") in _NOT_CONVERSATIONS:
        return Mapped(ignored="not_a_conversation")
    parties = body.get("parties")
    if not isinstance(parties, list) or not parties:
        raise Unmapped("missing:body.parties")
    events: list[Event] = []
    ignored = "call_under_way"
    for party in parties:
        change = _Change(body, party if isinstance(party, dict) else {}, delivery.body, origin, options)
        if change.among_ourselves:
            ignored = "among_ourselves"
        else:
            events += change.reports()
    return Mapped(events) if events else Mapped(ignored=ignored)


class _Change(NamedTuple):
    """One party's new state."""

    session: Mapping[str, Any]
    party: Mapping[str, Any]
    body: bytes
    origin: Origin
    options: SiteOptions

    @property
    def directory(self) -> Directory:
        return self.origin.directory.in_region(self.options.default_region)

    @property
    def dialled(self) -> bool:
        """Whether this is who dialled: the leg on which the call hangs."""
        direction = self.party.get("direction")
        if direction != "Inbound" and direction != "Outbound":  # noqa: PLR1714 - a set cannot be asked about any JSON
            raise Unmapped("unknown_direction")
        return bool(direction == "Outbound")

    @property
    def among_ourselves(self) -> bool:
        """Whether both ends are extensions of ours."""
        return all(optional_id(_object(self.party, end), "extensionId") for end in ("from", "to"))

    @property
    def direction(self) -> Literal["in", "out"]:
        """An end that has an extension is ours; without any, who was rung was rung from outside."""
        if optional_id(_object(self.party, "from"), "extensionId"):
            return "out"
        if optional_id(_object(self.party, "to"), "extensionId") or not self.dialled:
            return "in"
        return "out" if optional_id(self.party, "extensionId") else "in"

    def reports(self) -> list[Event]:
        """Return what this state says that will still be true when the call is over."""
        status = _object(self.party, "status")
        code, at = status.get("code"), moment_of(self.session.get("eventTime"), "body.eventTime")
        if code == "Answered" and not self.dialled:
            return [self._leg("answered", at, root=False)]
        if code == "FaxReceive":
            report = {**self._common("fax"), "occurred_at": at, "reason": "a fax"}
            del report["leg"]
            return [reported(InteractionWithdrawn, report)]
        if code == "Gone":
            return [self._leg("gone", at, root=False)]
        if code == "Disconnected" and (self.dialled or self.party.get("missedCall") is True):
            return [self._leg("ended", at, root=True)]
        return []

    def _leg(self, what: str, at: datetime, *, root: bool) -> CallLegEnded:
        began = self.session.get("creationTime")
        moments: dict[str, datetime | None] = {
            "started": None if began is None else moment_of(began, "body.creationTime"),
            "answered": at if what == "answered" else None,
            "ended": at if what == "ended" else None,
        }
        return reported(
            CallLegEnded,
            {
                **self._common(what),
                "occurred_at": at,
                "entries": entries_of(moments),
                "parties": self._people(),
                "root": root,
                "direction": self.direction,
                "answered_by_person": what == "answered",
            },
        )

    def _common(self, what: str) -> dict[str, Any]:
        sequence = self.session.get("sequence")
        if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence < _GREATEST_SEQUENCE:
            raise Unmapped("bad_sequence")
        party = id_at(self.party, "id")
        linked = _object(_object(self.party, "status"), "peerId")
        return leg_report(
            self.origin,
            id_at(self.session, "telephonySessionId"),
            leg=f"{party}:{what}",
            # The same change comes by the account's and by the extension's subscription.
            report=f"{sequence}:{party}",
            order=sequence + (TERMINAL if what == "ended" else 0),
            body=self.body,
            linked=[one] if (one := optional_id(linked, "telephonySessionId")) else [],
        )

    def _people(self) -> tuple[Party, ...]:
        theirs, ours = ("from", "to") if self.direction == "in" else ("to", "from")
        customer = _object(self.party, theirs)
        line = _object(self.party, ours)
        # Where the caller hangs, the other end is whatever was reached first: a menu, a queue.
        extension = None if self.dialled and self.direction == "in" else optional_id(line, "extensionId")
        role: tuple[Literal["caller", "callee"], Literal["caller", "callee"]] = (
            ("caller", "callee") if self.direction == "in" else ("callee", "caller")
        )
        found: Iterable[Party | None] = (
            self._end(role[0], customer, ours=False),
            self._end(role[1], line, ours=True),
            self.directory.party(
                "assignee",
                person=None if extension is None else self.origin.named(f"extension:{extension}"),
                name=optional_text(line, "name"),
                ours=True,
            ),
        )
        return tuple(party for party in found if party is not None)

    def _end(self, role: Literal["caller", "callee"], end: Mapping[str, Any], *, ours: bool) -> Party | None:
        number = optional_text(end, "phoneNumber")
        found = None if number is None else endpoint(self.directory, role, number, self.origin, ours=ours)
        name = None if ours else one_line(optional_text(end, "name"))
        return found if found is None or name is None else altered(found, name=name)


def _object(payload: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = payload.get(field)
    return value if isinstance(value, dict) else {}


PROVIDER = Provider(
    name="ringcentral",
    scheme=SchemeName.RINGCENTRAL,
    read=read,
    options=SiteOptions,
    media=JSON | {""},
    challenge=challenge,
)
