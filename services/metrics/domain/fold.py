"""The same figures computed from scratch: no buckets, no running sums, no pairing by neighbourhood.

Slow and plain on purpose. The tests hold everything else against it, and a figure that somebody doubts can be
computed with it from the attributions alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import pairwise

from contracts.accounts import Account
from contracts.activity import Attribution
from contracts.details import CallDetail, OrderDetail, RefundDetail, TicketDetail
from contracts.values import Kind
from services.metrics.domain.days import CompanyDays

Key = tuple[str, int, str | None]
"""KPI, window in days, currency."""
Value = int | Decimal | None
Credited = Callable[[str, date], bool]
"""Says whether an account's day counts for whom the figures are."""

_WINDOWS = (7, 30, 90, 365)
_COUNTS = ("touches_out", "touches_in", "support_requests", "tickets_opened", "tickets_resolved", "orders")
_UNKNOWN: frozenset[str | None] = frozenset({None})
_HISTORY_NEEDED = 90
_WIDE = Context(prec=100, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class AccountFold:
    """What an account's attributions say as of the end of a day."""

    values: Mapping[Key, tuple[Value, Value]]
    """Of the window, of the one before it."""
    last_touches: Mapping[tuple[str, str, str | None], tuple[datetime, str]]
    """By sort, touch class, role."""
    open_items: Sequence[tuple[datetime, str, str, str | None]]
    """(since, interaction, kind, contact or priority), the oldest first."""
    orders: int
    last_order: str | None
    gaps: int
    p90_gap_days: Decimal | None
    tickets_norm: Decimal | None
    history_since: date | None


def fold_account(
    attributions: Iterable[Attribution], as_of: date, days: CompanyDays, currency: str, account: Account | None = None
) -> AccountFold:
    """Compute one account from all of its attributions, in any order and with repetitions."""
    greatest = _greatest(attributions)
    states = [state for state in greatest if state.present]
    end = days.end(as_of)
    known = [state for state in states if state.occurred_at < end]
    since = min((days.day(state.occurred_at) for state in known), default=None)
    orders = sorted((at, order.interaction_id) for order, at in _orders(states) if at < end)
    order_days = sorted({days.day(at) for at, _ in orders})
    spans = [Fraction((later - earlier).days) for earlier, later in pairwise(order_days)]
    return AccountFold(
        values=_values(greatest, as_of, days, (account and account.currency) or currency, lambda _account, _day: True),
        last_touches=_last_touches(states, end, days, account),
        open_items=_open_items(states, end),
        orders=len(orders),
        last_order=orders[-1][1] if orders else None,
        gaps=len(spans),
        p90_gap_days=_percentile(spans, Fraction(9, 10)),
        tickets_norm=_norm(states, as_of, days, since),
        history_since=since,
    )


def fold_scope(
    attributions: Iterable[Attribution], as_of: date, days: CompanyDays, currency: str, credited: Credited
) -> Mapping[Key, tuple[Value, Value]]:
    """Compute a roll-up: each interaction once, on the days on which an account that it concerns is credited."""
    return _values(_greatest(attributions), as_of, days, currency, credited)


def _greatest(attributions: Iterable[Attribution]) -> list[Attribution]:
    greatest: dict[tuple[str, str], Attribution] = {}
    for state in attributions:
        key = state.account_id, state.interaction_id
        if key not in greatest or state.version > greatest[key].version:
            greatest[key] = state
    return list(greatest.values())


def _values(
    greatest: Sequence[Attribution], as_of: date, days: CompanyDays, currency: str, credited: Credited
) -> dict[Key, tuple[Value, Value]]:
    values: dict[Key, tuple[Value, Value]] = {}
    for window in _WINDOWS:
        now = _Window(greatest, as_of, window, days, credited).figures()
        before = _Window(greatest, as_of - timedelta(days=window), window, days, credited).figures()
        for name, code in now.keys() | before.keys():
            nothing = Decimal("0.00") if name == "net_revenue" else None
            values[name, window, code] = now.get((name, code), nothing), before.get((name, code), nothing)
    revenue = [key for key in values if key[0] == "net_revenue"]
    matter = {key[2] for key in revenue if any(values[key])} or {currency}
    for key in revenue:
        if key[2] not in matter:
            del values[key]
    for code in matter:
        for window in _WINDOWS:
            values.setdefault(("net_revenue", window, code), (Decimal("0.00"), Decimal("0.00")))
    return values


class _Window:
    """Everything that counts in `window` days that end with `last`."""

    def __init__(
        self, greatest: Sequence[Attribution], last: date, window: int, days: CompanyDays, credited: Credited
    ) -> None:
        self.counted: dict[str, set[str]] = {name: set() for name in _COUNTS}
        self.durations: dict[str, Fraction] = {}
        self.money: dict[str, dict[str, Decimal]] = {}
        customers: set[str] = set()
        followed: set[str] = set()
        states = [state for state in greatest if state.present]
        void = _void_orders(greatest)
        first_orders: dict[str, tuple[datetime, str]] = {}
        for order, at in _orders(states):
            first_orders[order.account_id] = min(
                (at, order.interaction_id), first_orders.get(order.account_id, (at, order.interaction_id))
            )
        for state in states:
            for name, at in _counts(state):
                day = days.day(at)
                if not (last - timedelta(days=window) < day <= last and credited(state.account_id, day)):
                    continue
                self.counted.get(name, set()).add(state.interaction_id)
                detail = state.detail
                if name == "tickets_resolved" and isinstance(detail, TicketDetail) and detail.opened_at is not None:
                    self.durations[state.interaction_id] = max(_hours(at - detail.opened_at), Fraction(0))
                if name == "orders" and isinstance(detail, OrderDetail):
                    customers.add(state.account_id)
                    if first_orders[state.account_id][1] != state.interaction_id:
                        followed.add(state.account_id)
                    if detail.net is not None:
                        self.money.setdefault(detail.net.currency, {})[state.interaction_id] = detail.net.amount
                if isinstance(detail, RefundDetail) and (state.account_id, state.parent_id) not in void:
                    self.money.setdefault(detail.refunded.currency, {})[state.interaction_id] = -detail.refunded.amount
        self.rate = _four(Fraction(100 * len(followed), len(customers))) if customers else None

    def figures(self) -> dict[tuple[str, str | None], Value]:
        """Return the values by KPI and currency."""
        found: dict[tuple[str, str | None], Value] = {(name, None): len(ids) for name, ids in self.counted.items()}
        spans = sorted(self.durations.values())
        found["resolution_hours_mean", None] = _four(sum(spans, Fraction(0)) / len(spans)) if spans else None
        found["resolution_hours_median", None] = _percentile(spans, Fraction(1, 2))
        found["resolution_hours_p90", None] = _percentile(spans, Fraction(9, 10))
        found["repeat_purchase_rate", None] = self.rate
        for currency, amounts in self.money.items():
            total = Decimal(0)
            for amount in amounts.values():
                total = _WIDE.add(total, amount)
            found["net_revenue", currency] = total
        return found


def _counts(state: Attribution) -> Iterator[tuple[str, datetime]]:
    """Yield what an interaction counts as, and when."""
    detail, at = state.detail, state.occurred_at
    if isinstance(detail, TicketDetail):
        if detail.opened_at is not None:
            yield "tickets_opened", detail.opened_at
            yield "support_requests", detail.opened_at
        if detail.resolved_at is not None:
            yield "tickets_resolved", detail.resolved_at
    elif isinstance(detail, OrderDetail):
        if detail.placed_at is not None and detail.cancelled_at is None:
            yield "orders", detail.placed_at
    elif isinstance(detail, RefundDetail):
        yield "refunds", at
    elif _real(state):
        yield from ((name, at) for name in _touch_counts(state))


def _touch_counts(state: Attribution) -> Iterator[str]:
    """Yield what a mail, call or meeting counts as."""
    outcome = state.detail.outcome if isinstance(state.detail, CallDetail) else "completed"
    written_or_spoken = state.kind in {Kind.MAIL, Kind.CALL}
    if state.kind is Kind.MEETING or (written_or_spoken and state.direction == "out" and outcome == "completed"):
        yield "touches_out"
    if written_or_spoken and state.direction == "in" and outcome != "running":
        if outcome == "completed":
            yield "touches_in"
        if state.touch_class == "support" and state.ticket_id is None:
            yield "support_requests"


def _real(state: Attribution) -> bool:
    return state.automatic is None and not state.cc_only


def _sort(state: Attribution) -> str | None:
    """Return the sort of last touch that an interaction is, or None."""
    if not _real(state):
        return None
    if state.kind in {Kind.MAIL, Kind.CHAT, Kind.COMMENT}:
        return {"in": "inbound", "out": "outbound"}.get(state.direction or "")
    if isinstance(state.detail, CallDetail) and state.detail.outcome == "completed":
        return {"in": "inbound", "out": "connected_call"}.get(state.direction or "")
    return "meeting" if state.kind is Kind.MEETING else None


def _side(state: Attribution) -> str:
    return "in" if _sort(state) == "inbound" else "out"


def _people(state: Attribution) -> set[str]:
    """Return the contacts who spoke or were spoken to."""
    if state.kind is Kind.MEETING:
        return {contact.contact_id for contact in state.contacts}
    if state.direction == "in":
        spoke = {"from", "caller", "requester", "customer"}
        return {contact.contact_id for contact in state.contacts if contact.role in spoke}
    return {contact.contact_id for contact in state.contacts if contact.role not in {"cc", "bcc", "from", "caller"}}


def _questions(states: Iterable[Attribution]) -> Iterator[tuple[Attribution, str | None]]:
    """Yield what waits for our answer, with the contact who asks."""
    for state in states:
        missed = isinstance(state.detail, CallDetail) and state.detail.outcome == "missed"
        if _real(state) and state.direction == "in" and state.reply_expected and (state.kind is Kind.MAIL or missed):
            yield state, min(_people(state), default=None)


def _answers(states: Sequence[Attribution], asked: Attribution, contact: str | None) -> list[Attribution]:
    """Return the first later touch of ours to the contact (several when simultaneous)."""
    later = [
        state
        for state in states
        if _sort(state) is not None
        and _side(state) == "out"
        and state.occurred_at > asked.occurred_at
        and (contact is None or not _people(state) or contact in _people(state))
    ]
    first = min((state.occurred_at for state in later), default=None)
    return [state for state in later if state.occurred_at == first]


def _is_two_way(states: Sequence[Attribution], touch: Attribution) -> bool:
    """Say whether `touch` is, for some contact, the first of its side after the other side's, within 14 days."""
    written = [state for state in states if state.kind in {Kind.MAIL, Kind.CHAT} and _sort(state) is not None]

    def reaches(state: Attribution, contact: str | None) -> bool:
        return contact is None or not _people(state) or contact in _people(state)

    for before in written:
        if _side(before) == _side(touch) or not timedelta(0) < touch.occurred_at - before.occurred_at <= timedelta(
            days=14
        ):
            continue
        for contact in _people(before) or _UNKNOWN:
            forestalled = any(
                _side(state) == _side(touch)
                and before.occurred_at < state.occurred_at < touch.occurred_at
                and reaches(state, contact)
                for state in written
            )
            if reaches(touch, contact) and not forestalled:
                return True
    return False


def _last_touches(
    states: Sequence[Attribution], end: datetime, days: CompanyDays, account: Account | None
) -> dict[tuple[str, str, str | None], tuple[datetime, str]]:
    supporting = {
        answer.interaction_id
        for asked, contact in _questions(states)
        if asked.touch_class == "support"
        for answer in _answers(states, asked, contact)
    }
    found: dict[tuple[str, str, str | None], tuple[datetime, str]] = {}
    for state in states:
        sort = _sort(state)
        if sort is None or state.occurred_at >= end:
            continue
        touch_class = state.touch_class or "routine"
        if touch_class == "routine" and state.interaction_id in supporting:
            touch_class = "support"
        sorts = [sort]
        if state.kind in {Kind.MAIL, Kind.CHAT} and _is_two_way(states, state):
            sorts.append("two_way")
        for role in (None, *_roles(account, _people(state), days.day(state.occurred_at))):
            for each in sorts:
                touch = state.occurred_at, state.interaction_id
                found[each, touch_class, role] = max(touch, found.get((each, touch_class, role), touch))
    return found


def _roles(account: Account | None, people: set[str], day: date) -> set[str]:
    """Return the roles that somebody of `people` had on `day`."""
    return {
        held.value.role
        for contact in (account.contacts if account is not None else ())
        if contact.contact_id in people and contact.since <= day and (contact.until is None or day < contact.until)
        for held in contact.roles
        if held.holds_on(day)
    }


def _open_items(states: Sequence[Attribution], end: datetime) -> list[tuple[datetime, str, str, str | None]]:
    items: list[tuple[datetime, str, str, str | None]] = []
    for asked, contact in _questions(states):
        answered = any(answer.occurred_at < end for answer in _answers(states, asked, contact))
        if asked.occurred_at < end and not answered:
            kind = "unanswered_mail" if asked.kind is Kind.MAIL else "missed_call"
            items.append((asked.occurred_at, asked.interaction_id, kind, contact))
    for state in states:
        if (
            isinstance(state.detail, TicketDetail)
            and state.detail.opened_at is not None
            and state.detail.opened_at < end
        ):
            resolved = state.detail.resolved_at
            if resolved is None or resolved >= end:
                items.append((state.detail.opened_at, state.interaction_id, "open_ticket", state.detail.priority))
    return sorted(items, key=lambda item: item[:2])


def _norm(states: Iterable[Attribution], as_of: date, days: CompanyDays, since: date | None) -> Decimal | None:
    if since is None or (as_of - since).days + 1 < _HISTORY_NEEDED:
        return None
    last = as_of - timedelta(days=30)
    begin = max(as_of - timedelta(days=394), since)
    opened = sum(
        as_of - timedelta(days=395) < days.day(state.detail.opened_at) <= last
        for state in states
        if isinstance(state.detail, TicketDetail) and state.detail.opened_at is not None
    )
    return _four(Fraction(30 * opened, (last - begin).days + 1))


def _orders(states: Iterable[Attribution]) -> list[tuple[Attribution, datetime]]:
    """Return the orders that stand, with the moment of placing."""
    return [
        (state, state.detail.placed_at)
        for state in states
        if isinstance(state.detail, OrderDetail)
        and state.detail.placed_at is not None
        and state.detail.cancelled_at is None
    ]


def _void_orders(greatest: Iterable[Attribution]) -> set[tuple[str, str | None]]:
    """Return orders that are cancelled or withdrawn: their refunds count nowhere."""
    return {
        (state.account_id, state.interaction_id)
        for state in greatest
        if state.kind is Kind.ORDER
        and (not state.present or (isinstance(state.detail, OrderDetail) and state.detail.cancelled_at is not None))
    }


def _hours(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 3_600_000_000)


def _percentile(spans: Iterable[Fraction], share: Fraction) -> Decimal | None:
    ordered = sorted(spans)
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return _four(ordered[low] + (place - low) * (ordered[high] - ordered[low]))


def _four(exact: Fraction) -> Decimal:
    """Round half to even at four decimals: Python rounds fractions so."""
    return Decimal(round(exact * 10_000)).scaleb(-4)
