"""The slim row: what the figures need to know of one interaction as one account sees it, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, cast, get_args

from contracts.accounts import Account, GroupRole
from contracts.activity import Attribution
from contracts.details import OrderDetail, RefundDetail, TicketDetail
from contracts.values import Kind
from services.metrics.domain.days import CompanyDays

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""`answered_at` of a question that nobody has answered."""

TOUCH_OUT, TOUCH_IN, SUPPORT_REQUEST, TICKET_OPENED, ORDER = 1, 2, 4, 8, 16
"""What an interaction counts as on its day; bits of `Fact.effects`."""

_SENDERS = frozenset({"from", "caller", "requester", "customer"})
_COPIED_OR_SENDING = frozenset({"cc", "bcc", "from", "caller"})
_WRITTEN = frozenset({Kind.MAIL, Kind.CHAT, Kind.COMMENT})
REPLIES = frozenset({Kind.MAIL.value, Kind.CHAT.value})
"""Kinds that make a two-way touch when one answers the other side's."""


class Fact(NamedTuple):
    """One slim row, in the order of its columns. A withdrawn one keeps its version and counts as nothing.

    Everything from `answered_at` on is derived from the account's other facts and from its contacts.
    """

    account_id: str
    interaction_id: str
    version: int
    present: bool
    kind: str
    at: datetime
    day: date | None = None
    """The day on which `effects` and `amount` count; None: on none."""
    effects: int = 0
    began_at: datetime | None = None
    """When a ticket was opened or an order placed."""
    resolved_at: datetime | None = None
    resolved_on: date | None = None
    cancelled: bool = False
    """An order that was cancelled: counts nowhere, and neither do its refunds."""
    amount: Decimal | None = None
    """Net of an order, minus what a refund gave back."""
    currency: str | None = None
    parent_id: str | None = None
    """The order of a refund."""
    priority: str | None = None
    """Of a ticket."""
    side: str | None = None
    """in: theirs, out: ours, None: no touch and no missed call."""
    sort: str | None = None
    """The sort of last touch that it is, apart from two_way."""
    touch_class: str | None = None
    contacts: tuple[str, ...] = ()
    """Whom it came from or went to; copied ones left out. Empty: unknown."""
    question: bool = False
    """Waits for our answer until one comes."""
    answered_at: datetime | None = None
    """Of a question: when the first later touch of ours answered it, else NEVER. None: no question."""
    counted_class: str | None = None
    """The touch class under which it counts: a routine touch that answers a support request counts as support."""
    two_way: bool = False
    roles: int = 0
    """Roles that `contacts` had on the day; bits in the order of `ROLES`."""
    voided: bool = False
    """A refund whose order was cancelled or withdrawn: counts nowhere."""

    @property
    def answers(self) -> bool:
        """Whether it is a touch of ours, and so may answer a question."""
        return self.side == "out" and self.sort is not None


def read(attribution: Attribution, days: CompanyDays) -> Fact:
    """Return the slim row of `attribution`, with what is derived from other rows still at its start."""
    more = _NOTHING
    if attribution.present:
        # Asked for its kind, not for its class: it may be a stand-in.
        more = _READ.get(attribution.detail.kind, _touch)(attribution, days)
    return Fact(
        attribution.account_id,
        attribution.interaction_id,
        attribution.version,
        attribution.present,
        attribution.kind.value,
        attribution.occurred_at,
        **more,
    )


_Fields = Mapping[str, Any]
"""Of a slim row, by name."""
_NOTHING: _Fields = {}


def _ticket(attribution: Attribution, days: CompanyDays) -> _Fields:
    detail = cast("TicketDetail", attribution.detail)
    opened, resolved = detail.opened_at, detail.resolved_at
    return dict(  # noqa: C408 - fields of a slim row, as they are named there
        day=None if opened is None else days.day(opened),
        effects=0 if opened is None else TICKET_OPENED | SUPPORT_REQUEST,
        began_at=opened,
        resolved_at=resolved,
        resolved_on=None if resolved is None else days.day(resolved),
        priority=detail.priority,
    )


def _order(attribution: Attribution, days: CompanyDays) -> _Fields:
    detail = cast("OrderDetail", attribution.detail)
    cancelled = detail.cancelled_at is not None
    placed = detail.placed_at
    if placed is None or cancelled:
        return {"cancelled": cancelled}
    net = detail.net
    return dict(  # noqa: C408 - fields of a slim row, as they are named there
        day=days.day(placed),
        effects=ORDER,
        began_at=placed,
        amount=None if net is None else net.amount,
        currency=None if net is None else net.currency,
    )


def _refund(attribution: Attribution, days: CompanyDays) -> _Fields:
    refunded = cast("RefundDetail", attribution.detail).refunded
    return dict(  # noqa: C408 - fields of a slim row, as they are named there
        day=days.day(attribution.occurred_at),
        amount=refunded.amount.copy_negate(),
        currency=refunded.currency,
        parent_id=attribution.parent_id,
    )


_READ: Mapping[str, Callable[[Attribution, CompanyDays], _Fields]] = {
    "ticket": _ticket,
    "order": _order,
    "refund": _refund,
}


def _touch(attribution: Attribution, days: CompanyDays) -> _Fields:
    """Read a mail, chat, comment, call or meeting; what is automatic or only copied to them is no touch."""
    if attribution.automatic is not None or attribution.cc_only:
        return _NOTHING
    kind, detail = attribution.kind, attribution.detail
    side = attribution.direction
    connected = missed = False
    if detail.kind == "call":
        side = side or detail.direction
        connected, missed = detail.outcome == "completed", detail.outcome == "missed"
    elif kind is Kind.MEETING:
        side = "out"
    sort = _sort(kind, side, connected=connected)
    asked = missed and side == "in"
    if side not in ("in", "out") or (sort is None and not asked):
        return _NOTHING
    touch_class = attribution.touch_class or "routine"
    effects = 0
    if kind not in (Kind.CHAT, Kind.COMMENT):
        if sort is not None:
            effects = TOUCH_OUT if side == "out" else TOUCH_IN
        if side == "in" and touch_class == "support" and attribution.ticket_id is None:
            effects |= SUPPORT_REQUEST
    question = attribution.reply_expected and side == "in" and (kind is Kind.MAIL or asked)
    return dict(  # noqa: C408 - fields of a slim row, as they are named there
        day=days.day(attribution.occurred_at),
        effects=effects,
        side=side,
        sort=sort,
        touch_class=touch_class,
        contacts=_counterpart(attribution, side),
        question=question,
        answered_at=NEVER if question else None,
        counted_class=touch_class,
    )


def _sort(kind: Kind, side: str | None, *, connected: bool) -> str | None:
    if kind in _WRITTEN:
        return {"in": "inbound", "out": "outbound"}.get(side or "")
    if kind is Kind.CALL and connected:
        return {"in": "inbound", "out": "connected_call"}.get(side or "")
    return "meeting" if kind is Kind.MEETING else None


def _counterpart(attribution: Attribution, side: str) -> tuple[str, ...]:
    """Return the contacts who spoke (inbound) or were spoken to, sorted; a copy to somebody says nothing to them."""
    if attribution.kind is Kind.MEETING:
        chosen = {contact.contact_id for contact in attribution.contacts}
    elif side == "in":
        chosen = {contact.contact_id for contact in attribution.contacts if contact.role in _SENDERS}
    else:
        chosen = {contact.contact_id for contact in attribution.contacts if contact.role not in _COPIED_OR_SENDING}
    return tuple(sorted(chosen)) if len(chosen) > 1 else tuple(chosen)


RoleSpans = Mapping[str, Sequence[tuple[int, date, date | None]]]
"""By contact: (role's bit number, since, until) in days; `until` is the first day without it."""

ROLES: tuple[str, ...] = get_args(GroupRole)
"""Bit number ↔ role."""
_BIT = {role: bit for bit, role in enumerate(ROLES)}


def role_spans(account: Account) -> RoleSpans:
    """Return when which contact had which role, cut to the contact's time at the account."""
    spans: dict[str, list[tuple[int, date, date | None]]] = {}
    for contact in account.contacts:
        for held in contact.roles:
            since = max(held.since, contact.since)
            until = min((end for end in (held.until, contact.until) if end is not None), default=None)
            if until is None or since < until:
                spans.setdefault(contact.contact_id, []).append((_BIT[held.value.role], since, until))
    for held_by in spans.values():
        held_by.sort(key=lambda span: span[:2])
    return spans


def roles_on(spans: RoleSpans, contacts: Sequence[str], day: date | None) -> int:
    """Return the bits of the roles that `contacts` had on `day`."""
    bits = 0
    if day is not None:
        for contact in contacts:
            for bit, since, until in spans.get(contact, ()):
                if since <= day and (until is None or day < until):
                    bits |= 1 << bit
    return bits
