"""Zammad: the default payload of its webhooks, the ticket as it stands and the article that set the webhook off.

A payload does not say what happened, so the ticket's own dates do: opened, closed at first and at last. When a closed
ticket was opened again is not among them; it is dated at the closing that it undid.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from contracts.events import (
    Event,
    TicketClosed,
    TicketOpened,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from contracts.values import Party
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    id_at,
    micros,
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
    entry,
    object_or_empty,
    present,
    rating_of,
    tags_of,
    word,
    written,
)

# Its "closed" is what others call solved: a reply opens the ticket again.
_STATES: Mapping[str, Status] = {
    "new": "new",
    "open": "open",
    "pending reminder": "pending",
    "pending close": "pending",
    "closed": "resolved",
    "merged": "closed",
}
_PRIORITIES: Mapping[str, Priority] = {"1 low": "low", "2 normal": "normal", "3 high": "high", "4 urgent": "urgent"}
_REMOVED = "removed"
# The two dates of a first closing are taken one after the other.
_ONE_CLOSING = timedelta(seconds=1)
_NOBODY = "1"


class ZammadOptions(DeskOptions):
    """What Zammad leaves to its administrators."""

    rating: str | None = None
    """The ticket's own field that holds a rating of 1 to 5; Zammad has none by itself."""


def read(delivery: Delivery, origin: Origin, options: ZammadOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    if not isinstance(delivery.payload, dict):
        raise Unmapped("not_an_object")
    ticket = object_at(delivery.payload, "ticket")
    updated = moment_of(ticket.get("updated_at"), "ticket.updated_at")
    report = TicketReport(origin, id_at(ticket, "id"), micros(updated), delivery.body)
    if word(_name(ticket.get("state"))) == _REMOVED:
        return Mapped([report.withdrawn(updated, "removed")])
    article = object_or_empty(delivery.payload, "article")
    people = _people(ticket, origin)
    told = _ticket(ticket, article, people, report, updated, options)
    return Mapped([told, *_comment(ticket, article, people, report)])


def _ticket(  # noqa: PLR0917 - one payload, taken apart
    ticket: Mapping[str, Any],
    article: Mapping[str, Any],
    people: tuple[Party, ...],
    report: TicketReport,
    updated: datetime,
    options: ZammadOptions,
) -> Event:
    opened = moment_of(ticket.get("created_at"), "ticket.created_at")
    status = options.status(_STATES, _name(ticket.get("state")), ticket.get("state_id"))
    closings = _closings(ticket)
    first = _is_first(ticket, article)
    rating = rating_of(ticket.get(options.rating)) if options.rating else None
    # Opened again after every closing but the last, and after the last too unless it stands.
    reopened = closings if status is not None and status not in FINISHED else closings[:-1]
    entries = [
        *(each for at in closings for each in entry(TicketResolved.ENTRY or "", at)),
        *(each for at in reopened for each in entry(TicketReopened.ENTRY or "", at)),
        *(entry(TicketClosed.ENTRY or "", updated) if status == "closed" and not closings else ()),
    ]
    return report.event(
        TicketOpened if first and not closings else TicketUpdated,
        opened if first and not closings else updated,
        opened=opened,
        entries=entries,
        status=status,
        priority=options.priority(_PRIORITIES, _name(ticket.get("priority")), ticket.get("priority_id")),
        rating=rating,
        tags=tags_of(ticket.get("tags")),
        parties=people,
        title=optional_text(ticket, "title"),
        text=_body(article) if first and article.get("internal") is not True else None,
    )


def _closings(ticket: Mapping[str, Any]) -> list[datetime]:
    """Return when the ticket was closed at first and at last, as far as it says."""
    first, last = (
        moment_of(ticket[field], f"ticket.{field}") if ticket.get(field) else None
        for field in ("close_at", "last_close_at")
    )
    if first is None or last is None:
        return [at for at in (first, last) if at is not None]
    return [last] if abs(last - first) <= _ONE_CLOSING else [first, last]


def _comment(
    ticket: Mapping[str, Any], article: Mapping[str, Any], people: tuple[Party, ...], report: TicketReport
) -> list[Event]:
    """Return the article as a comment: a public one that did not open the ticket."""
    native = optional_id(article, "id")
    # Anything but a clear "no" keeps it to ourselves.
    if native is None or article.get("internal") is not False or _is_first(ticket, article):
        return []
    sender = word(_name(article.get("sender")))
    at = moment_of(article.get("created_at"), "article.created_at")
    changed = micros(moment_of(article.get("updated_at") or article.get("created_at"), "article.updated_at"))
    return [
        report.comment(
            native,
            at,
            "in" if sender == "customer" else "out",
            # An article comes again with later changes of its ticket: it is one report as long as it stays as it is.
            version=(f"article:{native}:{changed}", changed),
            parties=(*present(_writer(ticket, article, sender, report.origin)), *people),
            title=optional_text(ticket, "title"),
            text=_body(article),
            automatic="notification" if sender == "system" else None,
        )
    ]


def _is_first(ticket: Mapping[str, Any], article: Mapping[str, Any]) -> bool:
    ids = ticket.get("article_ids")
    numbers = [number for number in ids if isinstance(number, int)] if isinstance(ids, list) else []
    return article.get("id") == min(numbers) if numbers else bool(article) and ticket.get("article_count") == 1


def _body(article: Mapping[str, Any]) -> str | None:
    return written(article.get("body"), html=word(article.get("content_type")) != "text/plain")


def _writer(ticket: Mapping[str, Any], article: Mapping[str, Any], sender: str, origin: Origin) -> Party | None:
    """Return who wrote an article: the one on whose behalf an agent entered it, if any."""
    author, customer = object_or_empty(article, "created_by"), object_or_empty(ticket, "customer")
    on_behalf = optional_text(article, "origin_by")
    person = optional_id(article, "origin_by_id") or optional_id(author, "id")
    if sender == "customer" and person == optional_id(customer, "id"):
        author = customer
    return origin.directory.party(
        "from",
        address=on_behalf or optional_text(author, "email"),
        person=origin.named(person) if person and person != _NOBODY else None,
        name=None if on_behalf and author is not customer else _full_name(author),
        ours=sender != "customer",
    )


def _customer(ticket: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    customer = object_or_empty(ticket, "customer")
    person = optional_id(customer, "id") or optional_id(ticket, "customer_id")
    organisation = optional_id(ticket, "organization_id") or optional_id(customer, "organization_id")
    party = origin.directory.party
    return present(
        party(
            "requester",
            address=optional_text(customer, "email"),
            phone=optional_text(customer, "phone") or optional_text(customer, "mobile"),
            person=origin.named(person) if person and person != _NOBODY else None,
            name=_full_name(customer),
        ),
        party("customer", organisation=origin.named(organisation)) if organisation else None,
    )


def _people(ticket: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    owner = object_or_empty(ticket, "owner")
    person = optional_id(owner, "id") or optional_id(ticket, "owner_id")
    if person == _NOBODY:
        # The user "-", to whom tickets without an owner belong.
        return _customer(ticket, origin)
    agent = origin.directory.party(
        "assignee",
        address=optional_text(owner, "email"),
        person=origin.named(person) if person else None,
        name=_full_name(owner),
        ours=True,
    )
    return (*_customer(ticket, origin), *present(agent))


def _full_name(person: Mapping[str, Any]) -> str | None:
    return " ".join(filter(None, (optional_text(person, "firstname"), optional_text(person, "lastname")))) or None


def _name(value: object) -> object:
    """Return the name of a state or priority, which comes as a name or as an object."""
    return value.get("name") if isinstance(value, dict) else value


PROVIDER = Provider(name="zammad", scheme=SchemeName.ZAMMAD, read=read, options=ZammadOptions)
