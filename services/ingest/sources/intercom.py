"""Intercom: conversations and tickets, which share their ids: a conversation that becomes a ticket stays the same one.

Times are seconds, so the order of reports is the second and then the part of the conversation, whose ids only grow.
Closing is what other desks call solving: a reply opens the conversation again.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from contracts.events import Event, TicketOpened, TicketRated, TicketReopened, TicketResolved, TicketUpdated
from contracts.values import Party
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    moment_of,
    object_at,
    optional_id,
    optional_text,
)
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.ticketing import (
    FINISHED,
    DeskOptions,
    Priority,
    Status,
    TicketReport,
    change_of_status,
    entry,
    object_or_empty,
    objects_in,
    present,
    rating_of,
    tags_of,
    unwanted,
    word,
    written,
)

_STATES: Mapping[str, Status] = {
    "open": "open",
    "snoozed": "on_hold",
    "closed": "resolved",
    "submitted": "new",
    "in_progress": "open",
    "waiting_on_customer": "pending",
    "resolved": "resolved",
}
_PRIORITIES: Mapping[str, Priority] = {"priority": "high", "not_priority": "normal"}
_FAMILIES = ("conversation.", "ticket.")
# Of conversations, but of no interest or about their inside.
_UNWANTED = frozenset(
    {
        "conversation.read",
        "conversation.admin.noted",
        "conversation_part.tag.created",
        "ticket.note.created",
        "ticket.note.updated",
    }
)
_OPENINGS = frozenset({"conversation.user.created", "ticket.created"})
_REDACTED = "conversation_part.redacted"
_DELETED = frozenset({"conversation.deleted", "ticket.deleted"})
_INTERNAL = frozenset({"back-office", "tracker"})
_CUSTOMERS = frozenset({"user", "lead", "contact", "visitor"})
_BOTS = frozenset({"bot", "operator"})
_PRIVATE_PARTS = frozenset({"note", "note_and_reopen"})
_PART_BITS = 30


def read(delivery: Delivery, origin: Origin, options: DeskOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    topic = payload.get("topic")
    if not isinstance(topic, str):
        raise Unmapped("missing:topic")
    if topic in _UNWANTED or not topic.startswith((*_FAMILIES, _REDACTED)):
        # Also `ping`, with which Intercom tries an address.
        return unwanted(topic)
    item = object_at(payload.get("data"), "item")
    sent = moment_of(payload.get("created_at"), "created_at")
    native = optional_id(payload, "id")
    if topic in _DELETED:
        gone = optional_id(item, "conversation_id") or optional_id(item, "ticket_id") or optional_id(item, "id")
        if gone is None:
            raise Unmapped("missing:data.item.id")
        report = TicketReport(origin, gone, _order(sent), delivery.body, native)
        return Mapped([report.withdrawn(sent, "deleted", final=True)])
    thing, part = _thing_and_part(item)
    ticket = optional_id(thing, "id")
    if ticket is None:
        raise Unmapped("missing:data.item.id")
    if word(thing.get("category")) in _INTERNAL or not _asked_by_a_customer(thing):
        return Mapped(ignored="not_asked_by_a_customer")
    at = moment_of(thing.get("updated_at") or thing.get("created_at") or payload["created_at"], "updated_at")
    report = TicketReport(origin, ticket, _order(at, part), delivery.body, native)
    people = _people(thing, origin)
    comments = _comments(topic, thing, part, people, report)
    if topic == _REDACTED:
        return Mapped(comments) if comments else unwanted(topic)
    return Mapped([_ticket(topic, thing, part, people, report, at, options), *comments])


def _thing_and_part(item: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the conversation or ticket, and the part that set the notification off, if any."""
    thing = object_or_empty(item, "ticket") if item.get("type") == "ticket_ticket_part" else item
    part = object_or_empty(item, "ticket_part")
    parts = _parts(thing)
    return thing, part or (parts[-1] if parts else {})


def _parts(thing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        *objects_in(object_or_empty(thing, "conversation_parts").get("conversation_parts")),
        *objects_in(object_or_empty(thing, "ticket_parts").get("ticket_parts")),
    ]


def _order(at: datetime, part: Mapping[str, Any] | None = None) -> int:
    raw = optional_id(part or {}, "id") or ""
    number = int(raw) if raw.isascii() and raw.isdigit() and len(raw) < 20 else 0  # noqa: PLR2004 - 64 bits
    return (int(at.timestamp()) << _PART_BITS) + (number & ((1 << _PART_BITS) - 1))


def _asked_by_a_customer(thing: Mapping[str, Any]) -> bool:
    """Say whether a customer ever spoke: what we send of our own accord is no request for help."""
    started = word(object_or_empty(thing, "source").get("delivered_as"))
    if started and started != "customer_initiated":
        return bool(object_or_empty(thing, "first_contact_reply"))
    author = object_or_empty(thing, "conversation_message", "author")
    if word(author.get("type")) != "admin" or started:
        return True
    # Older notifications do not say who began, but carry the first message and the latest part.
    return any(word(object_or_empty(part, "author").get("type")) in _CUSTOMERS for part in _parts(thing))


def _ticket(  # noqa: PLR0917 - one notification, taken apart
    topic: str,
    thing: Mapping[str, Any],
    part: Mapping[str, Any],
    people: tuple[Party, ...],
    report: TicketReport,
    at: datetime,
    options: DeskOptions,
) -> Event:
    opened = _opened(thing)
    rating = object_or_empty(thing, "conversation_rating") or object_or_empty(thing, "ticket_rating")
    stars = rating_of(rating.get("rating"))
    rated = moment_of(rating["created_at"], "conversation_rating.created_at") if rating.get("created_at") else at
    model, when = _model(topic, part, at)
    if model is TicketOpened:
        when = opened
    if stars is not None and ".rating." in topic:
        model, when = TicketRated, rated
    attributes = object_or_empty(thing, "ticket_attributes")
    first = object_or_empty(thing, "source") or object_or_empty(thing, "conversation_message")
    # What we began is not what they asked for.
    words = written(first.get("body")) if opened == moment_of(thing.get("created_at"), "created_at") else None
    return report.event(
        model,
        when,
        opened=opened,
        entries=[*_history(thing), *(entry("rated", rated) if stars is not None and model is not TicketRated else ())],
        status=_status(thing, options),
        priority=options.priority(_PRIORITIES, thing.get("priority")),
        rating=stars,
        tags=tags_of(object_or_empty(thing, "tags").get("tags")),
        parties=people,
        title=_title(thing) or written(first.get("subject")),
        text=written(attributes.get("_default_description_")) or words,
    )


def _title(thing: Mapping[str, Any]) -> str | None:
    return optional_text(object_or_empty(thing, "ticket_attributes"), "_default_title_") or optional_text(
        thing, "title"
    )


def _model(topic: str, part: Mapping[str, Any], at: datetime) -> tuple[type[Event], datetime]:
    if topic in _OPENINGS:
        return TicketOpened, at
    model = _change(part)
    if model is None or not part.get("created_at"):
        return TicketUpdated, at
    return model, moment_of(part["created_at"], "part.created_at")


def _change(part: Mapping[str, Any]) -> type[Event] | None:
    """Return what a part does to the conversation; None: nothing that is dated."""
    kind = word(part.get("part_type"))
    if kind in {"close", "away_mode_close"}:
        return TicketResolved
    if kind in {"open", "note_and_reopen", "timer_unsnooze_and_reopen"}:
        return TicketReopened
    if kind.startswith("ticket_state_updated"):
        model = change_of_status(_STATES.get(word(part.get("previous_ticket_state"))), _STATES.get(_state(part)))
        return None if model is TicketUpdated else model
    return None


def _history(thing: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return every dated entry that a notification carries along: one that was missed costs nothing."""
    for part in _parts(thing):
        model = _change(part)
        if model is not None and part.get("created_at"):
            yield from entry(model.ENTRY or "", moment_of(part["created_at"], "part.created_at"))
    statistics = object_or_empty(thing, "statistics")
    for field in ("first_close_at", "last_close_at"):
        if statistics.get(field):
            yield from entry("resolved", moment_of(statistics[field], f"statistics.{field}"))


def _opened(thing: Mapping[str, Any]) -> datetime:
    """Return when the customer asked: of what we began, when they first answered."""
    started = word(object_or_empty(thing, "source").get("delivered_as"))
    answered = object_or_empty(thing, "first_contact_reply").get("created_at")
    if started and started != "customer_initiated" and answered:
        return moment_of(answered, "first_contact_reply.created_at")
    return moment_of(thing.get("created_at"), "created_at")


def _state(thing: Mapping[str, Any]) -> str:
    """Return the state of a ticket, which older notifications give as a word, newer ones as an object."""
    state = thing.get("ticket_state")
    return word(state.get("category") if isinstance(state, dict) else state)


def _status(thing: Mapping[str, Any], options: DeskOptions) -> Status | None:
    label = object_or_empty(thing, "ticket_state").get("internal_label") or thing.get("ticket_state_internal_label")
    status = options.status(_STATES, label, _state(thing), thing.get("state"))
    if thing.get("open") is False and status not in FINISHED and word(thing.get("state")) != "snoozed":
        return "resolved"
    return status


def _comments(
    topic: str, thing: Mapping[str, Any], part: Mapping[str, Any], people: tuple[Party, ...], report: TicketReport
) -> list[Event]:
    """Return the part as a public comment. What assigns a conversation may carry a note that is not public."""
    spoken = topic.endswith(".replied") or (topic.endswith(".closed") and word(part.get("part_type")) == "close")
    native = optional_id(part, "id")
    redacted = topic == _REDACTED
    text = "" if redacted else written(part.get("body"))
    if native is None or word(part.get("part_type")) in _PRIVATE_PARTS or text is None or not (spoken or redacted):
        return []
    author = object_or_empty(part, "author")
    kind = word(author.get("type"))
    # Of a bot's part newer notifications say so at the author.
    machine = kind in _BOTS or author.get("from_ai_agent") is True or author.get("is_ai_answer") is True
    theirs = kind in _CUSTOMERS
    person = optional_id(author, "id")
    writer = report.origin.directory.party(
        "from",
        address=None if machine else optional_text(author, "email"),
        person=report.origin.named(person if theirs else f"admin:{person}") if person else None,
        name=optional_text(author, "name"),
        ours=not theirs,
    )
    return [
        report.comment(
            native,
            moment_of(part.get("created_at"), "part.created_at"),
            "in" if theirs else "out",
            parties=(*present(writer), *people),
            title=_title(thing),
            text=text,
            automatic="auto_reply" if machine else None,
        )
    ]


def _contacts(thing: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    """Return the customers. Newer notifications name them by id only, but whoever wrote first by address too."""
    author = object_or_empty(thing, "source", "author")
    known = {
        each_id: each
        for each in (author, object_or_empty(thing, "user"))
        if word(each.get("type")) in _CUSTOMERS and (each_id := optional_id(each, "id"))
    }
    listed = objects_in(object_or_empty(thing, "contacts").get("contacts"))
    for contact in listed[:50]:
        if each_id := optional_id(contact, "id"):
            known.setdefault(each_id, contact)
    party = origin.directory.party
    return present(
        *(
            party(
                "requester",
                address=optional_text(who, "email"),
                phone=optional_text(who, "phone"),
                person=origin.named(each_id),
                name=optional_text(who, "name"),
            )
            for each_id, who in known.items()
        )
    )


def _people(thing: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    company = optional_id(thing, "company_id") or optional_id(object_or_empty(thing, "company"), "id")
    assignee = object_or_empty(thing, "assignee")
    admin = optional_id(thing, "admin_assignee_id") or optional_id(assignee, "id")
    party = origin.directory.party
    return present(
        *_contacts(thing, origin),
        party("customer", organisation=origin.named(company)) if company else None,
        party(
            "assignee",
            address=optional_text(assignee, "email"),
            person=origin.named(f"admin:{admin}"),
            name=optional_text(assignee, "name"),
            ours=True,
        )
        if admin and admin != "0"
        else None,
    )


PROVIDER = Provider(name="intercom", scheme=SchemeName.INTERCOM, read=read, options=DeskOptions)
