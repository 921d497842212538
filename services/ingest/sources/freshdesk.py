"""Freshdesk: the JSON of automation rules, as `docs/sources/freshdesk.md` sets them up.

A rule sends what its author writes into it: a word for what happened (`event`) or Freshdesk's own account of it
(`{{triggered_event}}`: "{status:{from:2,to:4}}", which is no JSON), and the ticket as it stands. Times come to the
second. Of two reports in one second the one with the further status is taken for the later.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from contracts.events import (
    Event,
    TicketClosed,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from contracts.ids import digest
from contracts.values import Direction, Party
from services.ingest.domain.mapping import Mapped, Origin, Unmapped, micros, optional_id, optional_text
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.domain.reports import altered
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.ticketing import (
    FINISHED,
    DeskOptions,
    Priority,
    Status,
    TicketReport,
    change_of_status,
    entry,
    present,
    tags_of,
    unwanted,
    word,
    written,
)

# Numbers are the same in every language; a status of one's own has a number from 8 on.
_STATUSES: Mapping[str, Status] = {
    "2": "open",
    "open": "open",
    "3": "pending",
    "pending": "pending",
    "4": "resolved",
    "resolved": "resolved",
    "5": "closed",
    "closed": "closed",
    "6": "pending",
    "waiting on customer": "pending",
    "7": "on_hold",
    "waiting on third party": "on_hold",
}
_PRIORITIES: Mapping[str, Priority] = {
    "1": "low",
    "low": "low",
    "2": "normal",
    "medium": "normal",
    "3": "high",
    "high": "high",
    "4": "urgent",
    "urgent": "urgent",
}
# Seven faces, of which surveys show two to seven.
_RATINGS = {
    "103": 5,
    "extremely happy": 5,
    "102": 5,
    "very happy": 5,
    "101": 4,
    "happy": 4,
    "100": 3,
    "neutral": 3,
    "-101": 2,
    "unhappy": 2,
    "-102": 1,
    "very unhappy": 1,
    "-103": 1,
    "extremely unhappy": 1,
}
_EVENTS: Mapping[str, type[Event]] = {
    "created": TicketOpened,
    "updated": TicketUpdated,
    "resolved": TicketResolved,
    "reopened": TicketReopened,
    "closed": TicketClosed,
    "rated": TicketRated,
}
_COMMENTS: Mapping[str, Direction] = {"agent_replied": "out", "public_note": "out", "requester_replied": "in"}
_ACTIONS = {
    "created": "created",
    "delete": "deleted",
    "deleted": "deleted",
    "marked_spam": "spam",
    "mark_as_spam": "spam",
    "spam": "spam",
}
_GONE = {"deleted": "deleted", "spam": "spam"}
_PROGRESS = ("new", "open", "pending", "on_hold", "resolved", "closed")
_CHANGE = re.compile(r"(\w+):\{from:([^,{}]*),to:([^{}]*)\}")
_FACT = re.compile(r"(\w+):([^{},]+)")
_OF_TICKET = "ticket_"
_LONGEST_TRIGGER = 2000
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})? ?(Z|UTC|[+-]\d\d:?\d\d)")
_AUTHOR = re.compile(r"([^<>]{1,200}?) : (.*)", re.DOTALL)


def read(delivery: Delivery, origin: Origin, options: DeskOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    if not isinstance(delivery.payload, dict):
        raise Unmapped("not_an_object")
    inner = delivery.payload.get("freshdesk_webhook")
    fields = _Fields(inner if isinstance(inner, dict) else delivery.payload)
    if not fields.named:
        return Mapped(ignored="test")
    changes, event = _what_happened(fields)
    if event == "private_note":
        return Mapped(ignored="private_comment")
    at = _moment(fields.text("modified_on", "updated_at"), "ticket_modified_on")
    status = options.status(_STATUSES, changes.get("status", ("", ""))[1], fields.named.get("status"))
    rank = _PROGRESS.index(status) + 1 if status and event != "created" else 0
    ticket = optional_id(fields.named, "id")
    if ticket is None:
        raise Unmapped("missing:ticket_id")
    report = TicketReport(origin, ticket, micros(at) + rank, delivery.body)
    if event in _GONE:
        return Mapped([report.withdrawn(at, _GONE[event])])
    if event == "restored":
        return Mapped([report.restored(at)])
    people = _people(fields, origin)
    events = _about_the_ticket(event, changes, status, fields, people, report, at, options)
    if event in _COMMENTS:
        events += _comment(event, fields, people, report, at)
    if not events:
        return unwanted(event)
    return Mapped(events)


class _Fields:
    """The fields of a rule's JSON, by their names without the `ticket_` that Freshdesk puts before most."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        # A field of the ticket wins over one of the same name that is not called so.
        self.named: dict[str, Any] = {}
        of_ticket: dict[str, Any] = {}
        for name, value in given.items():
            if name.startswith(_OF_TICKET):
                of_ticket[name[len(_OF_TICKET) :]] = value
            else:
                self.named[name] = value
        self.named |= of_ticket

    def text(self, *names: str) -> str | None:
        """Return the first of these that holds text."""
        for name in names:
            if (text := optional_text(self.named, name)) is not None:
                return text
        return None


def _what_happened(fields: _Fields) -> tuple[Mapping[str, tuple[str, str]], str]:
    """Return the changes that Freshdesk names, as (from, to), and the word for the whole."""
    triggered = (fields.text("triggered_event") or "")[:_LONGEST_TRIGGER]
    changes = {name: (before, now) for name, before, now in _CHANGE.findall(triggered)}
    said = word(fields.named.get("event")).replace(" ", "_")
    if said:
        return changes, said
    facts = {name: word(value) for name, value in _FACT.findall(_CHANGE.sub("", triggered))}
    rating = facts.get("customer_feedback") or facts.get("feedback")
    if rating:
        fields.named.setdefault("satisfaction", rating)
        return changes, "rated"
    if "note_type" in facts:
        return changes, f"{facts['note_type']}_note"
    return changes, "agent_replied" if "reply_sent" in facts else _ACTIONS.get(
        facts.get("ticket_action", ""), "updated"
    )


def _about_the_ticket(  # noqa: PLR0917 - one report, taken apart
    event: str,
    changes: Mapping[str, tuple[str, str]],
    status: Status | None,
    fields: _Fields,
    people: tuple[Party, ...],
    report: TicketReport,
    at: datetime,
    options: DeskOptions,
) -> list[Event]:
    model = _EVENTS.get(event, TicketUpdated if event in _COMMENTS else None)
    if model is None:
        return []
    if model is TicketUpdated and "status" in changes:
        model = change_of_status(options.status(_STATUSES, changes["status"][0]), status)
    raw_opened = fields.text("created_on", "created_at")
    opened = None if raw_opened is None else _moment(raw_opened, "ticket_created_on")
    rating = _RATINGS.get(word(fields.named.get("satisfaction", fields.named.get("rating"))))
    if model is TicketRated and rating is None:
        raise Unmapped("unknown_rating")
    if model is TicketOpened:
        if opened is None:
            raise Unmapped("missing:ticket_created_on")
        at = opened
    return [
        report.event(
            model,
            at,
            opened=opened,
            # A ticket may come into the world resolved: one that an agent enters after a call.
            entries=entry(status, opened) if model is TicketOpened and status in FINISHED else (),
            status=status,
            priority=options.priority(_PRIORITIES, changes.get("priority", ("", ""))[1], fields.named.get("priority")),
            rating=rating if model is TicketRated else None,
            tags=tags_of(fields.named.get("tags")),
            parties=people,
            title=fields.text("subject"),
            text=written(fields.named.get("description")),
        )
    ]


def _comment(event: str, fields: _Fields, people: tuple[Party, ...], report: TicketReport, at: datetime) -> list[Event]:
    """Freshdesk gives a comment no id here, and writes who wrote it before it: "Anna : <div>…"."""
    given = fields.text("latest_public_comment", "public_comment")
    if given is None:
        return []
    authored = _AUTHOR.match(given)
    author, body = (authored[1], authored[2]) if authored else (None, given)
    direction = _COMMENTS[event]
    # Of whoever wrote it only the name is said; it is the requester, or perhaps the ticket's own agent.
    role = "requester" if direction == "in" else "assignee"
    known = (party for party in people if party.role == role)
    writers = [altered(party, role="from") for party in known if direction == "in" or party.name == author]
    native = f"{report.ticket}:{int(at.timestamp())}:{digest(given.encode('utf-8', 'replace'))[:16]}"
    title, text = fields.text("subject"), written(body)
    return [report.comment(native, at, direction, parties=(*writers, *people), title=title, text=text)]


def _people(fields: _Fields, origin: Origin) -> tuple[Party, ...]:
    company = optional_id(fields.named, "company_id") or fields.text("requester_company_name", "company_name")
    person = optional_id(fields.named, "requester_id") or optional_id(fields.named, "contact_id")
    party = origin.directory.party
    return present(
        party(
            "requester",
            address=fields.text("requester_email", "contact_email", "from_email"),
            phone=fields.text("requester_phone", "requester_mobile", "contact_phone", "contact_mobile"),
            person=origin.named(person) if person else None,
            name=fields.text("requester_name", "contact_name"),
        ),
        party("customer", organisation=origin.named(company)) if company else None,
        party("assignee", address=fields.text("agent_email"), name=fields.text("agent_name"), ours=True),
    )


def _moment(text: str | None, field: str) -> datetime:
    """Read a time with its zone; Freshdesk's own way of writing one is "2026-02-27 10:12:07 UTC"."""
    if text is None:
        raise Unmapped(f"missing:{field}")
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise Unmapped(f"bad_time:{field}")
    day, clock, fraction, zone = found.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{fraction or ''}{zone.replace('UTC', 'Z')}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unmapped(f"bad_time:{field}") from None


PROVIDER = Provider(name="freshdesk", scheme=SchemeName.TOKEN, read=read, options=DeskOptions)
