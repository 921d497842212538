"""What reports add up to, folded in the plainest way: no order of arrival, no state, no code of the services.

Written from the architecture page, not from `contracts.interactions`: what both say is probably right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts.events import Event
from contracts.events.email import EmailReport
from contracts.events.lifecycle import LifecycleReport
from contracts.values import Party

_COMMON = frozenset(Event.model_fields)


@dataclass(slots=True)
class Thing:
    """One mail, call, ticket, order … after everything that was reported about it."""

    id: str
    kind: str
    system: str
    native_id: str
    present: bool
    occurred_at: datetime
    entries: list[tuple[datetime, str]]
    """(when, what), by time."""
    parties: list[Party]
    references: set[str]
    parent_id: str | None
    parent_kind: str | None
    fields: dict[str, Any]
    """Every stated field, from the greatest revision that states it."""
    labels: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    talked: bool | None = None
    """Of a call: somebody answered (True), nobody did and it is over (False), it goes on (None)."""
    imported: bool = False
    known: bool = True
    """False: only withdrawals and restorations came."""

    @property
    def direction(self) -> str | None:
        """In or out; None for what has none."""
        found = self.fields.get("direction")
        return None if found is None else str(found)

    @property
    def title(self) -> str:
        """The title that may be known."""
        return str(self.fields.get("title") or "")

    @property
    def text(self) -> str:
        """The text that may be known."""
        return str(self.fields.get("text") or "")

    def first(self, what: str) -> datetime | None:
        """When something happened to it at first."""
        return min((at for at, kind in self.entries if kind == what), default=None)

    def last(self, *what: str) -> tuple[datetime, str] | None:
        """The last of several things that happened to it; of simultaneous ones the one named last."""
        found = [(at, what.index(kind), kind) for at, kind in self.entries if kind in what]
        return (max(found)[0], max(found)[2]) if found else None

    @property
    def opened_at(self) -> datetime | None:
        """Of a ticket."""
        return self.first("opened")

    @property
    def resolved_at(self) -> datetime | None:
        """Of a ticket: the last resolution known, not while it is reopened; one that was only closed, its closing."""
        last = self.last("opened", "resolved", "reopened", "closed")
        if last is None or last[1] == "opened":
            return None
        together = {kind for at, kind in self.entries if at == last[0]}
        if "reopened" in together and together & {"resolved", "closed"} and self.fields.get("status"):
            stands = self.fields["status"] not in {"resolved", "closed"}
        else:
            stands = last[1] == "reopened"
        if stands:
            return None
        resolved = self.last("resolved") or self.last("closed")
        return None if resolved is None else resolved[0]

    @property
    def placed_at(self) -> datetime | None:
        """Of an order that stands."""
        return None if self.first("cancelled") else self.first("placed")


def winners(events: Iterable[Event]) -> dict[str, Event]:
    """By event id the report with the greatest revision."""
    greatest: dict[str, Event] = {}
    for event in events:
        known = greatest.get(event.id)
        if known is None or _rank(event) > _rank(known):
            greatest[event.id] = event
    return greatest


def _rank(event: Event) -> tuple[int, int, int, str]:
    revision = event.revision
    return revision.authority, revision.order, revision.mapper, revision.digest


def fold(ledger: Mapping[str, Event]) -> dict[str, Thing]:
    """Every interaction, from the winning reports."""
    grouped: dict[str, list[Event]] = defaultdict(list)
    for event in ledger.values():
        grouped[event.interaction.id].append(event)
    return {id_: _thing(sorted(reports, key=lambda each: (_rank(each), each.id))) for id_, reports in grouped.items()}


def _entries(reports: Sequence[Event]) -> list[tuple[datetime, str]]:
    """What is dated; what history says of a beginning is forgotten where somebody was there and said it."""
    said = [
        (at, kind, report.revision.authority > 0)
        for report in reports
        for at, kind in [*((entry.at, entry.kind) for entry in report.entries), (report.occurred_at, report.ENTRY)]
        if kind
    ]
    seen = {kind for _, kind, live in said if live and kind in _BEGINNINGS}
    return sorted({(at, kind) for at, kind, live in said if live or kind not in seen})


_BEGINNINGS = {"placed", "opened", "signed", "made", "started", "lead_given"}


def _thing(reports: Sequence[Event]) -> Thing:
    """Reports about one interaction, the lowest revision first."""
    key = reports[-1].interaction
    kind = key.kind.value
    substance = [report for report in reports if not isinstance(report, LifecycleReport)]
    entries = _entries(reports)
    fields = _stated(reports)
    if any(isinstance(report, EmailReport) and report.private for report in substance):
        fields.pop("title", None)
        fields.pop("text", None)
    earliest = min(report.occurred_at for report in substance or reports)
    parent = fields.get("parent")
    thing = Thing(
        id=key.id,
        kind=kind,
        system=key.system,
        native_id=key.native_id,
        present=_mail_stands(reports) if kind == "mail" else _stands(reports),
        occurred_at=entries[0][0] if entries and kind != "mail" else earliest,
        entries=entries,
        parties=_parties(substance, fields, united=kind in {"mail", "call"}),
        references=_references(kind, key.system, key.native_id, reports, parent),
        parent_id=None if parent is None else parent.id,
        parent_kind=None if parent is None else parent.kind.value,
        fields=fields,
        labels={label for report in substance for label in getattr(report, "labels", ())},
        imported=all(report.revision.authority == 0 for report in reports),
        known=bool(substance),
    )
    if kind == "call":
        _judge_call(thing, substance)
    return thing


def _stated(reports: Sequence[Event]) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    for report in reports:
        for name in report.model_fields_set:
            value = getattr(report, name)
            if value is not None and not (name in _COMMON and value == ()):
                stated[name] = value
    return stated


def _stands(reports: Sequence[Event]) -> bool:
    """What was withdrawn stays so until a greater revision restores it."""
    said = [report for report in reports if isinstance(report, LifecycleReport)]
    return not said or said[-1].TYPE.endswith("restored.v1")


def _mail_stands(reports: Sequence[Event]) -> bool:
    """A mail goes when all mailboxes that saw it took it back, or when somebody did for all of them."""
    boxes: dict[str, bool] = {}
    whole = True
    for report in reports:
        if isinstance(report, EmailReport):
            boxes.setdefault(report.mailbox, True)
        elif isinstance(report, LifecycleReport):
            restored = report.TYPE.endswith("restored.v1")
            if report.mailbox is None:
                whole = restored
            else:
                boxes[report.mailbox] = restored
    return whole and (not boxes or any(boxes.values()))


def _parties(substance: Sequence[Event], fields: Mapping[str, Any], *, united: bool) -> list[Party]:
    if not united:
        return list(fields.get("parties", ()))
    found: dict[tuple[str, str, str], Party] = {}
    for report in substance:
        for party in report.parties:
            first = party.identities[0]
            found[party.role, first.kind, first.value] = party
    return list(found.values())


def _references(kind: str, system: str, native_id: str, reports: Sequence[Event], parent: Any) -> set[str]:
    """What ties it to others; tickets and calls are what others refer to."""
    named = {f"{reference.kind}:{reference.value}" for report in reports for reference in report.references}
    if kind in {"ticket", "call"}:
        named.add(f"{kind}:{system}:{native_id}")
    if parent is not None and parent.kind.value == "ticket":
        named.add(f"ticket:{parent.system}:{parent.native_id}")
    return named


def _judge_call(thing: Thing, substance: Sequence[Event]) -> None:
    """Of each leg the greatest revision counts."""
    legs: dict[str, Any] = {report.leg: report for report in substance if hasattr(report, "leg")}
    thing.tags = {tag for leg in legs.values() for tag in leg.tags}
    root = next((leg for leg in legs.values() if leg.root), None)
    if root is not None:
        thing.fields["direction"] = root.direction
    if any(leg.answered_by_person for leg in legs.values()):
        thing.talked = True
    elif root is not None:
        thing.talked = False
