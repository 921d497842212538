"""Zendesk: ticket events of its webhooks, and the JSON of trigger webhooks as `docs/sources/zendesk.md` sets it up.

The provider does not vouch for the sequence that it gives events, so their order is the time at which they happened, in
microseconds. Dated entries are kept to the second, as Zendesk's own audits have them, so that imported history and
webhooks unite.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.events import (
    Event,
    InteractionRestored,
    InteractionWithdrawn,
    TicketClosed,
    TicketCommented,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from contracts.values import Authority, InteractionKey, Kind, Party
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    digest_of,
    id_at,
    micros,
    moment_of,
    object_at,
    optional_id,
    optional_text,
    storable_text,
)
from services.ingest.domain.provider import Delivery, NoOptions, Provider
from services.ingest.domain.reports import key_of, reference_to, reported
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.ticketing import (
    FINISHED,
    Status,
    change_of_status,
    entry,
    present,
    rating_of,
    tags_of,
    unwanted,
    word,
)

_ANY_EVENT = "zen:event-type:"
_TICKET_EVENT = "zen:event-type:ticket."
# Of tickets, but about what no figure rests on.
_UNWANTED = frozenset(
    {
        "attachment_linked_to_comment",
        "attachment_redacted_from_comment",
        "csat_requested",
        "email_ccs_changed",
        "followers_changed",
        "next_sla_breach_changed",
        "ola_policy_changed",
        "schedule_changed",
        "sla_policy_changed",
    }
)
_STATUSES: Mapping[str, Status] = {
    "new": "new",
    "open": "open",
    "pending": "pending",
    "hold": "on_hold",
    "on-hold": "on_hold",
    "solved": "resolved",
    "closed": "closed",
}
_PRIORITIES = frozenset({"low", "normal", "high", "urgent"})
# Zendesk's own two answers; on the scale of 1 to 5 they are its ends.
_RATINGS = {"good": 5, "goodwithcomment": 5, "bad": 1, "badwithcomment": 1}
_TRIGGERED: Mapping[str, type[Event]] = {
    "opened": TicketOpened,
    "updated": TicketUpdated,
    "solved": TicketResolved,
    "reopened": TicketReopened,
    "closed": TicketClosed,
    "rated": TicketRated,
}


def read(delivery: Delivery, origin: Origin, _options: NoOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload, body = delivery.payload, delivery.body
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    kind = payload.get("type")
    if not isinstance(kind, str):
        # A trigger's webhook is tried with an empty object.
        return _map_trigger(payload, body, origin) if payload else Mapped(ignored="test")
    name = kind.removeprefix(_TICKET_EVENT)
    if not kind.startswith(_TICKET_EVENT) or name in _UNWANTED:
        # Users, organisations, articles: subscribed to by mistake, nothing to do with an interaction.
        return unwanted(kind.removeprefix(_ANY_EVENT))
    return _map_event(name, payload, body, origin)


def _map_event(name: str, payload: Mapping[str, Any], body: bytes, origin: Origin) -> Mapped:
    detail = object_at(payload, "detail")
    change = payload.get("event")
    change = change if isinstance(change, dict) else {}
    exact = moment_of(payload.get("time"), "time")
    report: dict[str, Any] = {
        "interaction": _ticket(detail, origin),
        "report": optional_id(payload, "id") or digest_of(body),
        "revision": origin.revision(micros(exact), body),
        "source": origin.source,
        "occurred_at": exact.replace(microsecond=0),
    }
    if name in _COMMENTS:
        return _map_comment(name, object_at(change, "comment"), detail, report, origin)
    if name in _LIFECYCLE:
        model, authority, reason = _LIFECYCLE[name]
        if authority is not None:
            report["revision"] = origin.revision(micros(exact), body, authority)
        return Mapped([reported(model, {**report, "reason": reason})])
    stated = _stated(detail, origin)
    if name == "created":
        report["occurred_at"] = moment_of(detail.get("created_at"), "detail.created_at")
        # One that an agent enters after a call is born solved, and no change of its status follows.
        report["entries"] = entry(stated["status"], report["occurred_at"]) if stated["status"] in FINISHED else ()
    else:
        report["entries"] = _opening(detail)
    if name == "csat_received":
        stated["rating"] = _rating(change.get("satisfaction_score"))
    if name == "merged" and (target := optional_id(change, "target_ticket_id")):
        stated["references"] = (*stated["references"], reference_to("ticket", origin.named(target)))
    return Mapped([reported(_model_of(name, change), {**report, **stated})])


_COMMENTS = frozenset({"comment_added", "comment_made_private", "comment_redacted"})
_LIFECYCLE: Mapping[str, tuple[type[Event], int | None, str | None]] = {
    "soft_deleted": (InteractionWithdrawn, None, "deleted"),
    "permanently_deleted": (InteractionWithdrawn, Authority.DELETION, "deleted for good"),
    "marked_as_spam": (InteractionWithdrawn, None, "spam"),
    "undeleted": (InteractionRestored, None, None),
}


def _model_of(name: str, change: Mapping[str, Any]) -> type[Event]:
    if name in _NAMED:
        return _NAMED[name]
    if name != "status_changed":
        return TicketUpdated
    before, now = (_STATUSES.get(str(change.get(field)).lower()) for field in ("previous", "current"))
    return change_of_status(before, now)


_NAMED: Mapping[str, type[Event]] = {"created": TicketOpened, "csat_received": TicketRated}


def _rating(given: Any) -> int:
    """Read a rating, which comes by itself or as an object with a score: Zendesk's two words, or one to five stars."""
    score = given.get("score") if isinstance(given, dict) else given
    rating = _RATINGS.get(word(score).replace(" ", "").replace("_", "")) or rating_of(score)
    if rating is None:
        raise Unmapped("unknown_rating")
    return rating


def _map_comment(
    name: str, comment: Mapping[str, Any], detail: Mapping[str, Any], report: Mapping[str, Any], origin: Origin
) -> Mapped:
    key = key_of(Kind.COMMENT, origin.system, id_at(comment, "id"))
    if name == "comment_made_private":
        gone = {**report, "interaction": key, "reason": "made private"}
        return Mapped([reported(InteractionWithdrawn, gone)])
    if comment.get("is_public") is not True:
        return Mapped(ignored="private_comment")
    if name == "comment_redacted" and not comment.get("author"):
        # Who wrote it was said when it came; what is said now overrules the text.
        raise Unmapped("missing:comment.author")
    raw_author = comment.get("author")
    author = raw_author if isinstance(raw_author, dict) else {}
    staff = author.get("is_staff") is True
    parties = _people(detail, origin)
    if person := optional_id(author, "id"):
        name_of = optional_text(author, "name")
        writer = origin.directory.party("from", person=origin.named(person), name=name_of, ours=staff)
        parties = (*parties, *present(writer))
    stated = {
        "interaction": key,
        "parent": report["interaction"],
        "references": (reference_to("ticket", origin.named(id_at(detail, "id"))),),
        "parties": parties,
        "title": one_line(optional_text(detail, "subject"), 1000),
        "text": storable_text(optional_text(comment, "body")) or ("" if name == "comment_redacted" else None),
        "direction": "out" if staff else "in",
    }
    return Mapped([reported(TicketCommented, {**report, **stated})])


def _map_trigger(payload: Mapping[str, Any], body: bytes, origin: Origin) -> Mapped:
    """Map the JSON that a trigger sends: {"event": "solved", "ticket": {...}}."""
    ticket = object_at(payload, "ticket")
    model = _TRIGGERED.get(str(payload.get("event")))
    if model is None:
        raise Unmapped("unknown_trigger_event")
    updated = moment_of(ticket.get("updated_at"), "ticket.updated_at")
    rating = _RATINGS.get(str(ticket.get("satisfaction")).replace(" ", "").replace("_", "").lower())
    if model is TicketRated and rating is None:
        return Mapped(ignored="no_rating")
    report = {
        "interaction": _ticket(ticket, origin),
        "report": digest_of(body),
        "revision": origin.revision(micros(updated), body),
        "source": origin.source,
        "occurred_at": updated,
        "rating": rating,
        "entries": () if model is TicketOpened else _opening(ticket),
    }
    if model is TicketOpened:
        report["occurred_at"] = moment_of(ticket.get("created_at"), "ticket.created_at")
    return Mapped([reported(model, {**report, **_stated(ticket, origin)})])


def _ticket(detail: Mapping[str, Any], origin: Origin) -> InteractionKey:
    return key_of(Kind.TICKET, origin.system, id_at(detail, "id"))


def _opening(detail: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Every report carries when the ticket was opened, so one that was missed costs nothing."""
    if not detail.get("created_at"):
        return ()
    return ({"kind": "opened", "at": moment_of(detail["created_at"], "created_at")},)


def _stated(detail: Mapping[str, Any], origin: Origin) -> dict[str, Any]:
    """Return what a ticket's snapshot states. Fields that it does not carry stay unstated."""
    priority = str(detail.get("priority")).lower()
    tags = detail.get("tags")
    return {
        "status": _STATUSES.get(str(detail.get("status")).lower()),
        "priority": priority if priority in _PRIORITIES else None,
        # A trigger writes them one after the other.
        "tags": tags_of(tags.split() if isinstance(tags, str) else tags),
        "parties": _people(detail, origin),
        "references": (reference_to("ticket", origin.named(id_at(detail, "id"))),),
        "title": one_line(optional_text(detail, "subject"), 1000),
        "text": storable_text(optional_text(detail, "description")),
    }


def _people(detail: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    raw_requester = detail.get("requester")
    requester = raw_requester if isinstance(raw_requester, dict) else {}
    requester_id = optional_id(requester, "id") or optional_id(detail, "requester_id")
    organisation = optional_id(detail, "organization_id")
    assignee = optional_id(detail, "assignee_id")
    party = origin.directory.party
    people = (
        party(
            "requester",
            address=optional_text(requester, "email"),
            phone=optional_text(requester, "phone"),
            person=origin.named(requester_id) if requester_id else None,
            name=optional_text(requester, "name"),
        ),
        party("customer", organisation=origin.named(organisation)) if organisation else None,
        party("assignee", person=origin.named(assignee), ours=True) if assignee else None,
    )
    return tuple(somebody for somebody in people if somebody is not None)


PROVIDER = Provider(name="zendesk", scheme=SchemeName.ZENDESK, read=read, options=NoOptions)
