"""Jira Service Management: issues of service projects, and the comments that customers see.

What happened is read from the change log and from Jira's own dates, `created` and `resolutiondate`, which every report
about an issue carries. The order of reports is the time in milliseconds, then the id of the change, which only grows.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import StringConstraints

from contracts.events import Event, TicketOpened, TicketRated, TicketReopened, TicketUpdated
from contracts.values import Party
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    id_at,
    moment_of,
    object_at,
    optional_id,
    optional_text,
    storable_text,
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
    from_milliseconds,
    object_or_empty,
    objects_in,
    present,
    rating_of,
    tags_of,
    unwanted,
    word,
    words_of_document,
)

_STATUSES: Mapping[str, Status] = {
    "waiting for support": "open",
    "waiting for customer": "pending",
    "waiting for approval": "on_hold",
    "pending": "on_hold",
    "resolved": "resolved",
    "done": "resolved",
    "completed": "resolved",
    "closed": "closed",
    "canceled": "closed",
    "cancelled": "closed",
    "declined": "closed",
}
_CATEGORIES: Mapping[str, Status] = {"new": "new", "indeterminate": "open", "done": "resolved"}
_PRIORITIES: Mapping[str, Priority] = {
    "highest": "urgent",
    "blocker": "urgent",
    "critical": "urgent",
    "high": "high",
    "major": "high",
    "medium": "normal",
    "low": "low",
    "minor": "low",
    "lowest": "low",
    "trivial": "low",
}
CustomField = Annotated[str, StringConstraints(pattern=r"^customfield_[0-9]{1,10}$")]
_ISSUE_EVENTS = frozenset({"jira:issue_created", "jira:issue_updated"})
_COMMENT_EVENTS = frozenset({"comment_created", "comment_updated", "comment_deleted"})
_WANTED = _ISSUE_EVENTS | _COMMENT_EVENTS | {"jira:issue_deleted"}
_CHANGE_BITS = 20
_ISSUE_IN_ADDRESS = re.compile(r"/issue/(\d{1,20})/comment/")


class JiraOptions(DeskOptions):
    """What each Jira has in a place of its own."""

    projects: tuple[str, ...] = ()
    """Keys of the projects that count; empty: all service projects."""
    satisfaction: CustomField | None = None
    """The custom field with the customer's satisfaction: "customfield_10031"."""
    organizations: CustomField = "customfield_10002"
    """The custom field with the customer's organisations."""


def read(delivery: Delivery, origin: Origin, options: JiraOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    # The action "send web request" of an automation rule names no event: it sends the issue as it stands.
    name = payload.get("webhookEvent", "jira:issue_updated" if "issue" in payload else None)
    if not isinstance(name, str):
        raise Unmapped("missing:webhookEvent")
    if name not in _WANTED:
        return unwanted(name)
    issue = object_or_empty(payload, "issue")
    if not _counts(object_or_empty(issue, "fields", "project"), issue, options):
        return Mapped(ignored="not_a_service_project")
    at = from_milliseconds(payload.get("timestamp"), "timestamp")
    change = object_or_empty(payload, "changelog")
    comment = object_or_empty(payload, "comment")
    report = TicketReport(
        origin, _issue_id(issue, comment), _order(payload["timestamp"], optional_id(change, "id")), delivery.body
    )
    if name == "jira:issue_deleted":
        return Mapped([report.withdrawn(at, "deleted", final=True)])
    if name in _COMMENT_EVENTS:
        return _comment(name, object_at(payload, "comment"), issue, report, at, options)
    return Mapped([_issue(name, issue, objects_in(change.get("items")), report, at, options)])


def _counts(project: Mapping[str, Any], issue: Mapping[str, Any], options: JiraOptions) -> bool:
    """Say whether an issue is a customer's request. Where nothing says what it is, the webhook's own filter decides."""
    if options.projects and issue:
        key = optional_text(project, "key") or (optional_text(issue, "key") or "").rpartition("-")[0]
        return key in options.projects
    return word(project.get("projectTypeKey")) in {"service_desk", ""}


def _issue_id(issue: Mapping[str, Any], comment: Mapping[str, Any]) -> str:
    """Return the issue's id, which outlives a move to another project; its key does not."""
    if issue:
        return id_at(issue, "id")
    # Some comments come without their issue, but their address names it.
    found = _ISSUE_IN_ADDRESS.search(optional_text(comment, "self") or "")
    if found is None:
        raise Unmapped("missing:issue")
    return found[1]


def _order(milliseconds: int, change: str | None) -> int:
    number = int(change) if change and change.isascii() and change.isdigit() and len(change) < 20 else 0  # noqa: PLR2004 - 64 bits
    return (milliseconds << _CHANGE_BITS) + (number & ((1 << _CHANGE_BITS) - 1))


def _issue(  # noqa: PLR0917 - one notification, taken apart
    name: str,
    issue: Mapping[str, Any],
    changes: Sequence[Mapping[str, Any]],
    report: TicketReport,
    at: datetime,
    options: JiraOptions,
) -> Event:
    fields = object_at(issue, "fields")
    opened = moment_of(fields.get("created"), "fields.created")
    status = _status_of(fields, options)
    raw_rating = fields.get(options.satisfaction) if options.satisfaction else None
    rating = rating_of(raw_rating.get("rating") if isinstance(raw_rating, dict) else raw_rating)
    changed = {word(item.get("field")): item for item in changes}
    model: type[Event] = TicketOpened if name == "jira:issue_created" else _change(changed, status, options)
    just_rated = any(options.satisfaction in (item.get("fieldId"), item.get("field")) for item in changes)
    if rating is not None and just_rated and model is TicketUpdated:
        model = TicketRated
    done = _done_at(fields, status)
    # Solved at the time that Jira says, which history has too; the change is written a moment later.
    moment = opened if model is TicketOpened else done if model.ENTRY == "resolved" and done is not None else at
    return report.event(
        model,
        moment,
        opened=opened,
        entries=() if model.ENTRY == "resolved" else entry("resolved", done),
        status=status,
        priority=options.priority(_PRIORITIES, object_or_empty(fields, "priority").get("name")),
        rating=rating,
        tags=tags_of(fields.get("labels")),
        parties=_people(fields, options, report.origin),
        title=optional_text(fields, "summary"),
        text=_text(fields.get("description")),
    )


def _status_of(fields: Mapping[str, Any], options: JiraOptions) -> Status | None:
    status = object_or_empty(fields, "status")
    category = word(object_or_empty(status, "statusCategory").get("key"))
    known = options.status(_STATUSES, status.get("name"), status.get("id"))
    return known or _CATEGORIES.get(category) or ("resolved" if fields.get("resolution") else None)


def _done_at(fields: Mapping[str, Any], status: Status | None) -> datetime | None:
    """Return when an issue that is done was done."""
    if status not in FINISHED and not fields.get("resolution"):
        return None
    raw = fields.get("resolutiondate") or fields.get("statuscategorychangedate")
    return moment_of(raw, "fields.resolutiondate") if raw else None


def _change(changed: Mapping[str, Mapping[str, Any]], status: Status | None, options: JiraOptions) -> type[Event]:
    resolution, step = changed.get("resolution"), changed.get("status")
    if resolution is not None and resolution.get("from") and not resolution.get("to"):
        return TicketReopened
    if step is None:
        return TicketUpdated
    before = options.status(_STATUSES, step.get("fromString"), step.get("from"))
    now = options.status(_STATUSES, step.get("toString"), step.get("to")) or status
    model = change_of_status(before, now)
    # Of a status that we do not know, being done is not news: the resolution's date says it.
    return TicketUpdated if before is None and now is None else model


def _comment(  # noqa: PLR0917 - one notification, taken apart
    name: str,
    comment: Mapping[str, Any],
    issue: Mapping[str, Any],
    report: TicketReport,
    at: datetime,
    options: JiraOptions,
) -> Mapped:
    native = id_at(comment, "id")
    if name == "comment_deleted":
        return Mapped([report.withdrawn(at, "deleted", comment=native)])
    if comment.get("jsdPublic") is not True:
        if name == "comment_created":
            return Mapped(ignored="private_comment")
        return Mapped([report.withdrawn(at, "not public", comment=native)])
    fields = object_or_empty(issue, "fields")
    author, reporter = object_or_empty(comment, "author"), object_or_empty(fields, "reporter")
    theirs = _is_customer(author, reporter, report.origin)
    robot = word(author.get("accountType")) == "app"
    writer = _person("from", author, report.origin, ours=not theirs)
    said = report.comment(
        native,
        moment_of(comment.get("created"), "comment.created"),
        "in" if theirs else "out",
        parties=(*present(writer), *_people(fields, options, report.origin)),
        title=optional_text(fields, "summary"),
        text=_text(comment.get("body")),
        automatic="notification" if robot else None,
    )
    # An edited comment may have been private in between.
    return Mapped([said, report.restored(at, comment=native)] if name == "comment_updated" else [said])


def _is_customer(author: Mapping[str, Any], reporter: Mapping[str, Any], origin: Origin) -> bool:
    kind, address = word(author.get("accountType")), optional_text(author, "emailAddress")
    if kind in {"customer", "app"}:
        return kind == "customer"
    normal = origin.directory.party("from", address=address) if address else None
    if normal is not None:
        return not normal.ours
    own = _account(author)
    # Without an address: whoever asked, and has an account like ours because they work with us.
    return own is not None and own == _account(reporter)


def _account(person: Mapping[str, Any]) -> str | None:
    """Return the id of an account: in the cloud, or in a data centre."""
    return optional_id(person, "accountId") or optional_text(person, "key") or optional_text(person, "name")


def _person(role: Any, who: Mapping[str, Any], origin: Origin, *, ours: bool = False) -> Party | None:
    account = _account(who)
    return origin.directory.party(
        role,
        address=optional_text(who, "emailAddress"),
        person=origin.named(account) if account else None,
        name=optional_text(who, "displayName"),
        ours=ours,
    )


def _requester(fields: Mapping[str, Any], origin: Origin) -> Party | None:
    return _person("requester", object_or_empty(fields, "reporter") or object_or_empty(fields, "creator"), origin)


def _people(fields: Mapping[str, Any], options: JiraOptions, origin: Origin) -> tuple[Party, ...]:
    organisations = [optional_id(each, "id") for each in objects_in(fields.get(options.organizations))[:20]]
    party = origin.directory.party
    return present(
        _requester(fields, origin),
        *(party("customer", organisation=origin.named(native)) for native in organisations if native),
        _person("assignee", object_or_empty(fields, "assignee"), origin, ours=True),
    )


def _text(value: object) -> str | None:
    """Return a description or a comment: wiki text, or a document of nodes."""
    return storable_text(value) if isinstance(value, str) else words_of_document(value)


PROVIDER = Provider(name="jira", scheme=SchemeName.JIRA, read=read, options=JiraOptions)
