"""`assemble`: what the reports about one interaction add up to, whatever the order and repetition in which they came.

A report states only the fields that it carries, and revision decides field by field. Dated entries are united by
(kind, source's timestamp). An import has the lowest authority, so it yields only where a live report states the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from contracts import details
from contracts.details import Detail
from contracts.events import Event
from contracts.events.base import ENVELOPE_FIELDS
from contracts.events.lifecycle import InteractionWithdrawn
from contracts.values import Entry, Id, Instant, InteractionKey, Kind, Model, Party, Reference

M = TypeVar("M", bound=Model)
Stated = Mapping[str, Any]


class Form(Protocol):
    """Gives the class in which to make a model: the model itself or its stand-in."""

    def __call__(self, model: type[M], /) -> type[M]:
        """Return the class."""
        ...


class Interaction(Model):
    """A mail, call, ticket, order … as everything reported about it says now."""

    id: Id
    key: InteractionKey
    present: bool
    """False while withdrawn."""
    imported: bool
    """Whether history alone reported it."""
    sources: tuple[str, ...]
    """The configured sources that reported it, sorted."""
    occurred_at: Instant
    """Mail: the earliest receipt by a server. Otherwise the first dated entry, else the earliest report."""
    entries: tuple[Entry, ...] = ()
    """By time, then kind."""
    parent: InteractionKey | None = None
    parties: tuple[Party, ...] = ()
    references: tuple[Reference, ...] = ()
    title: str | None = None
    text: str | None = None
    detail: Detail

    @property
    def kind(self) -> Kind:
        """What it is."""
        return self.key.kind


def distinct(events: Iterable[Event]) -> list[Event]:
    """Return the greatest revision of each event id, in order of revision: lowest first."""
    given = list(events)
    if len(given) == 1:
        return given
    greatest: dict[str, Event] = {}
    for event in given:
        event_id = event.id
        known = greatest.get(event_id)
        if known is None or event.revision.sort_key > known.revision.sort_key:
            greatest[event_id] = event
    return [event for _, event in sorted(greatest.items(), key=lambda item: (item[1].revision.sort_key, item[0]))]


def assemble(events: Iterable[Event], id_: str | None = None) -> Interaction:
    """Fold the reports about one interaction. Raises ValueError for none, or for reports about several interactions.

    `id_` is the interaction's, where that is known already.
    Of models it makes a model, of stand-ins (see `standins`) a stand-in; do not mix them.
    """
    reports = distinct(events)
    if not reports:
        msg = "an interaction needs at least one report"
        raise ValueError(msg)
    if len(reports) == 1:
        return _of_one(reports[0], id_)
    key = reports[-1].interaction
    id_ = key.id
    if any(report.interaction.id != id_ for report in reports):
        msg = "the reports are about different interactions"
        raise ValueError(msg)
    # Withdrawals and restorations are about any kind; whatever has a kind of its own says something of substance.
    substance = [report for report in reports if report.KIND is not None]
    kind = key.kind
    entries = _unite_entries(reports)
    common = _fold(reports)
    mail = kind is Kind.MAIL
    private = mail and any(getattr(report, "private", False) for report in substance)
    form = reports[-1].form_of
    return form(Interaction)(
        id=id_,
        key=key,
        present=_present_in_some_mailbox(reports) if mail else _present(reports),
        imported=all(report.imported for report in reports),
        sources=tuple(sorted({report.source for report in reports})),
        occurred_at=_occurred_at(kind, substance or reports, entries),
        entries=entries,
        parent=common.get("parent"),
        parties=_unite_parties(substance) if mail or kind is Kind.CALL else common.get("parties", ()),
        references=_unite_references(reports),
        title=None if private else common.get("title"),
        text=None if private else common.get("text"),
        detail=_DETAILS[kind](form, substance, common, entries) if substance else form(details.UnknownDetail)(),
    )


def _of_one(report: Event, id_: str | None) -> Interaction:
    """What `assemble` comes to for one report, which is what most interactions have: nothing has to be united."""
    key = report.interaction
    kind = key.kind
    of_substance = report.KIND is not None
    mail = kind is Kind.MAIL
    private = mail and of_substance and getattr(report, "private", False)
    entries = report.stated_entries
    if len(entries) > 1:
        entries = _unite_entries([report])
    parties: tuple[Party, ...] = report.parties
    if mail or kind is Kind.CALL:
        parties = _unite_parties([report]) if of_substance else ()
    form = report.form_of
    return form(Interaction)(
        id=id_ or key.id,
        key=key,
        present=of_substance or report.TYPE != InteractionWithdrawn.TYPE,
        imported=report.imported,
        sources=(report.source,),
        occurred_at=report.occurred_at if mail or not entries else entries[0].at,
        entries=entries,
        parent=report.parent,
        parties=parties,
        references=_unite_references([report]) if report.references else (),
        title=None if private else report.title,
        text=None if private else report.text,
        detail=(
            _DETAILS[kind](form, [report], report.stated_of_kind(), entries)
            if of_substance
            else form(details.UnknownDetail)()
        ),
    )


def _fold(reports: Sequence[Event]) -> dict[str, Any]:
    """Return each stated field from the greatest revision that states it."""
    folded: dict[str, Any] = {}
    for report in reports:
        for name, value in report.stated_fields():
            # An empty tuple of people is "not stated"; an empty tuple of lines is a statement.
            if value is None or (value == () and name in ENVELOPE_FIELDS):
                continue
            folded[name] = value
    return folded


def _present(reports: Sequence[Event]) -> bool:
    """The greatest revision among withdrawals and restorations decides; without one it is present.

    A withdrawal says something about the interaction as a whole, so a later ordinary report does not restore it.
    """
    for report in reversed(reports):
        if report.KIND is None:
            return report.TYPE != InteractionWithdrawn.TYPE
    return True


def _present_in_some_mailbox(reports: Sequence[Any]) -> bool:
    """A mail is withdrawn only when every mailbox that saw it withdrew it; a withdrawal without mailbox is for all."""
    standing: dict[str, bool] = {}
    everywhere = True
    for report in reports:
        if report.KIND is not None:
            standing.setdefault(report.mailbox, True)
            continue
        restored = report.TYPE != InteractionWithdrawn.TYPE
        if report.mailbox is None:
            everywhere = restored
        else:
            standing[report.mailbox] = restored
    return everywhere and (not standing or any(standing.values()))


def _occurred_at(kind: Kind, reports: Sequence[Event], entries: Sequence[Entry]) -> datetime:
    if kind is Kind.MAIL or not entries:
        return min([report.occurred_at for report in reports])
    return entries[0].at


_ONCE = frozenset({"placed", "opened", "signed", "made", "started", "lead_given"})
"""What happens to an interaction once: an import that dates it otherwise, by the day or by another clock, yields."""


def _unite_entries(reports: Sequence[Event]) -> tuple[Entry, ...]:
    if len(reports) == 1 and len(stated := reports[0].stated_entries) < 2:  # noqa: PLR2004 - nothing to put in order
        return stated
    live = {entry.kind for report in reports if not report.imported for entry in report.stated_entries} & _ONCE
    united = {
        (entry.at, entry.kind): entry
        for report in reports
        for entry in report.stated_entries
        if not (report.imported and entry.kind in live)
    }
    return tuple(united[name] for name in sorted(united))


def _unite_references(reports: Sequence[Event]) -> tuple[Reference, ...]:
    if len(reports) == 1 and len(reports[0].references) < 2:  # noqa: PLR2004 - nothing to put in order
        return reports[0].references
    united = {(reference.kind, reference.value): reference for report in reports for reference in report.references}
    return tuple(united[name] for name in sorted(united))


def _unite_parties(reports: Sequence[Event]) -> tuple[Party, ...]:
    """One party per role and first identity; the greatest revision's spelling stands."""
    united = {
        (party.role, party.identities[0].kind, party.identities[0].value): party
        for report in reports
        for party in report.parties
    }
    return tuple(united[name] for name in sorted(united))


def _latest(entries: Sequence[Entry], *kinds: str) -> Entry | None:
    """Return the latest entry of one of `kinds`; of two at the same instant, the one named last in `kinds`."""
    of_kinds = [entry for entry in entries if entry.kind in kinds]
    if len(of_kinds) < 2:  # noqa: PLR2004 - nothing to compare
        return of_kinds[0] if of_kinds else None
    return max(of_kinds, key=lambda entry: (entry.at, kinds.index(entry.kind)))


def _at(entry: Entry | None) -> datetime | None:
    return None if entry is None else entry.at


def _first_at(entries: Sequence[Entry], kind: str) -> datetime | None:
    for entry in entries:
        if entry.kind == kind:
            return entry.at
    return None


def _mail(form: Form, mails: Sequence[Any], stated: Stated, _: Sequence[Entry]) -> Detail:
    return form(details.MailDetail)(
        direction=stated["direction"],
        automatic=stated.get("automatic"),
        labels=tuple(sorted({label for mail in mails for label in mail.labels})),
        mailboxes=tuple(sorted({mail.mailbox for mail in mails})),
        private=(private := any(mail.private for mail in mails)),
        protection=stated.get("protection"),
        away_until=None if private else stated.get("away_until"),
    )


_LONGEST_CALL = 7 * 24 * 3600


def _talked_between(entries: Sequence[Entry]) -> int:
    """Some exchanges tell moments, not lengths: from the first answer by a person to the last end."""
    answered, ended = _first_at(entries, "answered"), _at(_latest(entries, "ended"))
    if answered is None or ended is None:
        return 0
    return min(max(int((ended - answered).total_seconds()), 0), _LONGEST_CALL)


def _call(form: Form, reports: Sequence[Any], stated: Stated, entries: Sequence[Entry]) -> Detail:
    """Of each leg the greatest revision counts."""
    legs = {report.leg: report for report in reports}
    answered = [leg for leg in legs.values() if leg.answered_by_person]
    root_ended = any(leg.root for leg in legs.values())
    talked = max((leg.talk_seconds for leg in answered), default=0)
    return form(details.CallDetail)(
        direction=next((leg.direction for leg in legs.values() if leg.root), stated["direction"]),
        outcome="completed" if answered else "missed" if root_ended else "running",
        talk_seconds=talked if talked or not answered else _talked_between(entries),
        tags=tuple(sorted({tag for leg in legs.values() for tag in leg.tags})),
    )


def _ticket(form: Form, _: Sequence[Any], stated: Stated, entries: Sequence[Entry]) -> Detail:
    last = _latest(entries, "opened", "resolved", "reopened", "closed")
    resolved = _latest(entries, "resolved")
    closed = _latest(entries, "closed")
    standing = last is None or last.kind in {"opened", "reopened"}
    status = stated.get("status")
    if last is not None and status is not None and last.kind != "opened":
        kinds = {entry.kind for entry in entries if entry.at == last.at}
        if "reopened" in kinds and kinds & {"resolved", "closed"}:
            # Desks date to the second: of an end and a reopening within one, what was said last was the later.
            standing = status not in {"resolved", "closed"}
    return form(details.TicketDetail)(
        opened_at=_first_at(entries, "opened"),
        # Closing without a resolution before it resolves: some desks close only.
        resolved_at=None if standing else _at(resolved or closed),
        closed_at=None if standing else _at(closed),
        reopenings=sum(entry.kind == "reopened" for entry in entries),
        priority=stated.get("priority"),
        severity=stated.get("severity"),
        status=status,
        rating=stated.get("rating"),
    )


def _order(form: Form, _: Sequence[Any], stated: Stated, entries: Sequence[Entry]) -> Detail:
    # What is paid or completed after a cancellation was not cancelled in the end.
    last = _latest(entries, "confirmed", "cancelled")
    return form(details.OrderDetail)(
        placed_at=_first_at(entries, "placed"),
        cancelled_at=_at(last) if last is not None and last.kind == "cancelled" else None,
        net=stated.get("net"),
        lines=stated.get("lines", ()),
        order_kind=stated.get("order_kind"),
        buying_centre=stated.get("buying_centre"),
    )


_CONTRACT_STATES: Mapping[str, Any] = {
    "signed": "in_force",
    "renewed": "in_force",
    "extended": "in_force",
    "expired": "expired",
    "cancelled": "cancelled",
}


def _contract(form: Form, _: Sequence[Any], stated: Stated, entries: Sequence[Entry]) -> Detail:
    last = _latest(entries, *_CONTRACT_STATES)
    state = None if last is None else _CONTRACT_STATES[last.kind]
    names = ("effective_on", "value", "recurring", "starts_on", "due_on", "notice_on", "auto_renewal", "products")
    return form(details.ContractDetail)(state=state, **_pick(stated, names))


def _pick(stated: Stated, names: Iterable[str]) -> dict[str, Any]:
    return {name: stated[name] for name in names if name in stated}


def _plain(detail: type[Model], *states: str) -> "_Build":
    """Return a builder that takes the stated fields as they are and, given `states`, the latest of them as `state`."""
    names = [name for name in detail.model_fields if name not in {"kind", "state"}]

    def build(form: Form, _: Sequence[Any], stated: Stated, entries: Sequence[Entry]) -> Any:
        chosen = _pick(stated, names)
        last = _latest(entries, *states) if states else None
        if last is not None:
            chosen["state"] = last.kind
        return form(detail)(**chosen)

    return build


_Build = Callable[[Form, Sequence[Any], Stated, Sequence[Entry]], Any]
_DETAILS: Mapping[Kind, _Build] = {
    Kind.MAIL: _mail,
    Kind.CALL: _call,
    Kind.TICKET: _ticket,
    Kind.ORDER: _order,
    Kind.CONTRACT: _contract,
    Kind.MEETING: _plain(details.MeetingDetail),
    Kind.NOTE: _plain(details.NoteDetail),
    Kind.CHAT: _plain(details.ChatDetail),
    Kind.COMMENT: _plain(details.CommentDetail),
    Kind.REFUND: _plain(details.RefundDetail),
    Kind.DELIVERY: _plain(details.DeliveryDetail),
    Kind.PROMISE: _plain(details.PromiseDetail, "made", "kept", "broken"),
    Kind.INVOICE: _plain(details.InvoiceDetail, "overdue", "payment_failed", "paid"),
    Kind.SURVEY: _plain(details.SurveyDetail),
    Kind.USAGE: _plain(details.UsageDetail),
    Kind.PROGRAMME: _plain(details.ProgrammeDetail),
    Kind.REFERRAL: _plain(details.ReferralDetail, "lead_given", "won"),
    Kind.PARTNERSHIP: _plain(details.PartnershipDetail, "started", "ended"),
    Kind.CONTACT: _plain(details.ContactDetail, "joined", "bounced", "left"),
}
