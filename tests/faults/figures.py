"""KPIs from attributions, computed anew for every window; nothing is kept, slid or taken away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from tests.faults.attributing import automatic
from tests.faults.directory import day_of
from tests.faults.folding import Thing
from tests.faults.history import ExpectedAttribution, ExpectedKpis, KpiKey, Scope

WINDOWS = (7, 30, 90, 365)
_ASKERS = frozenset({"from", "caller", "requester", "customer"})
_SILENT = frozenset({"cc", "bcc", "from", "caller"})


@dataclass(frozen=True, slots=True)
class Seen:
    """An interaction as one account sees it."""

    thing: Thing
    said: ExpectedAttribution

    @property
    def at(self) -> datetime:
        """When it happened."""
        return self.thing.occurred_at

    @property
    def real(self) -> bool:
        """Whether somebody wrote or spoke, to or from somebody who was meant."""
        return not automatic(self.thing) and not self.said.cc_only

    @property
    def counts_as(self) -> str | None:
        """touches_out, touches_in or nothing."""
        kind, direction = self.thing.kind, self.thing.direction
        if not self.real:
            return None
        if kind == "meeting":
            return "touches_out"
        if kind == "mail" or (kind == "call" and self.thing.talked):
            return {"in": "touches_in", "out": "touches_out"}.get(direction or "")
        return None

    @property
    def ours(self) -> bool:
        """Whether it is a touch of ours, which may answer a question: chats and comments are."""
        kind, direction = self.thing.kind, self.thing.direction
        if not self.real or (kind == "call" and not self.thing.talked):
            return False
        return kind == "meeting" or (kind in {"mail", "chat", "comment", "call"} and direction == "out")

    @property
    def asks(self) -> bool:
        """Whether it waits for our answer: a mail of theirs, or a call that nobody took."""
        kind = self.thing.kind
        missed = kind == "call" and self.thing.talked is False
        return self.real and self.thing.direction == "in" and (kind == "mail" or missed)

    @property
    def asks_for_help(self) -> bool:
        """A mail or call of theirs about support that is not part of a ticket of theirs."""
        over = self.thing.kind == "mail" or (self.thing.kind == "call" and self.thing.talked is not None)
        inbound = self.real and over and self.thing.direction == "in"
        return inbound and self.said.touch_class == "support" and self.said.ticket_id is None

    @property
    def people(self) -> frozenset[str]:
        """Their contacts who spoke or were spoken to."""
        chosen = self.said.contacts
        if self.thing.kind == "meeting":
            return frozenset(contact for contact, _ in chosen)
        if self.thing.direction == "in":
            return frozenset(contact for contact, role in chosen if role in _ASKERS)
        return frozenset(contact for contact, role in chosen if role not in _SILENT)


def kpis(account: str, as_of: date, seen: Sequence[Seen], void: frozenset[str], currency: str) -> ExpectedKpis:
    """One account's figures as of the end of a day. `void`: orders that are cancelled or taken back."""
    standing = [each for each in seen if each.said.present]
    now = {window: _window(standing, as_of, window, void) for window in WINDOWS}
    before = {window: _window(standing, as_of - timedelta(days=window), window, void) for window in WINDOWS}
    values: dict[KpiKey, tuple[Decimal | None, Decimal | None]] = {}
    for window in WINDOWS:
        for name, code in now[window].keys() | before[window].keys() | {("net_revenue", currency)}:
            nothing = Decimal(0) if name == "net_revenue" else None
            values[name, window, code] = (
                now[window].get((name, code), nothing),
                before[window].get((name, code), nothing),
            )
    return ExpectedKpis(account, as_of, values, frozenset(open_items(standing, as_of)))


_Figures = dict[tuple[str, str | None], Decimal | None]


def _window(seen: Sequence[Seen], last: date, days: int, void: frozenset[str]) -> _Figures:
    first = last - timedelta(days=days - 1)

    def inside(moment: datetime | None) -> bool:
        return moment is not None and first <= day_of(moment) <= last

    tickets = [each.thing for each in seen if each.thing.kind == "ticket"]
    orders = [each.thing for each in seen if each.thing.kind == "order" and each.thing.placed_at is not None]
    placed = [order for order in orders if inside(order.placed_at)]
    opened = sum(inside(ticket.opened_at) for ticket in tickets)
    resolved = [ticket for ticket in tickets if inside(ticket.resolved_at)]
    hours = sorted(_hours(ticket) for ticket in resolved if ticket.opened_at is not None)
    figures: _Figures = {
        ("touches_out", None): Decimal(sum(each.counts_as == "touches_out" and inside(each.at) for each in seen)),
        ("touches_in", None): Decimal(sum(each.counts_as == "touches_in" and inside(each.at) for each in seen)),
        ("tickets_opened", None): Decimal(opened),
        ("support_requests", None): Decimal(opened + sum(each.asks_for_help and inside(each.at) for each in seen)),
        ("tickets_resolved", None): Decimal(len(resolved)),
        ("orders", None): Decimal(len(placed)),
        ("resolution_hours_mean", None): _four(sum(hours, Fraction(0)) / len(hours)) if hours else None,
        ("resolution_hours_median", None): percentile(hours, Fraction(1, 2)),
        ("resolution_hours_p90", None): percentile(hours, Fraction(9, 10)),
        ("repeat_purchase_rate", None): _repeat(orders, placed),
    }
    for code, amount in _revenue(seen, placed, inside, void).items():
        figures["net_revenue", code] = amount
    return figures


def _revenue(seen: Sequence[Seen], placed: Sequence[Thing], inside: object, void: frozenset[str]) -> dict[str, Decimal]:
    assert callable(inside)
    money: dict[str, Decimal] = defaultdict(Decimal)
    for order in placed:
        if order.fields.get("net") is not None:
            money[order.fields["net"].currency] += order.fields["net"].amount
    for each in seen:
        refunded = each.thing.fields.get("refunded") if each.thing.kind == "refund" else None
        if refunded is not None and inside(each.at) and each.thing.parent_id not in void:
            money[refunded.currency] -= refunded.amount
    return money


def _repeat(orders: Sequence[Thing], placed: Sequence[Thing]) -> Decimal | None:
    """100 where some order of the window is not the customer's first, else 0; None without an order."""
    if not placed:
        return None
    first = min(orders, key=lambda order: (order.placed_at or order.occurred_at, order.id))
    return Decimal(100 if any(order.id != first.id for order in placed) else 0)


def _hours(ticket: Thing) -> Fraction:
    opened, resolved = ticket.opened_at, ticket.resolved_at
    if opened is None or resolved is None:
        return Fraction(0)
    return max(Fraction((resolved - opened) // timedelta(microseconds=1), 3_600_000_000), Fraction(0))


def percentile(hours: Sequence[Fraction], part: Fraction) -> Decimal | None:
    """By linear interpolation; `hours` sorted."""
    if not hours:
        return None
    place = part * (len(hours) - 1)
    low = int(place)
    high = min(low + 1, len(hours) - 1)
    return _four(hours[low] + (place - low) * (hours[high] - hours[low]))


def _four(exact: Fraction) -> Decimal:
    """Four decimals, half to even."""
    return Decimal(round(exact * 10_000)) / 10_000


def open_items(seen: Sequence[Seen], as_of: date) -> Iterator[tuple[str, str]]:
    """What waits for us at the end of the day."""
    known = [each for each in seen if day_of(each.at) <= as_of]
    for asked in (each for each in known if each.asks):
        who = min(asked.people, default=None)
        answered = any(
            each.ours and each.at > asked.at and (who is None or not each.people or who in each.people)
            for each in known
        )
        if not answered:
            yield ("unanswered_mail" if asked.thing.kind == "mail" else "missed_call"), asked.thing.id
    for each in seen:
        if each.thing.kind != "ticket" or each.thing.opened_at is None or day_of(each.thing.opened_at) > as_of:
            continue
        if each.thing.resolved_at is None or day_of(each.thing.resolved_at) > as_of:
            yield "open_ticket", each.thing.id


def by_account(attributions: Iterable[ExpectedAttribution], things: Mapping[str, Thing]) -> dict[str, list[Seen]]:
    """Everything that each account sees, withdrawn things included."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for said in attributions:
        found[said.account].append(Seen(things[said.interaction_id], said))
    return found


def void_orders(seen: Sequence[Seen]) -> frozenset[str]:
    """Orders whose refunds count nowhere."""
    return frozenset(
        each.thing.id
        for each in seen
        if each.thing.kind == "order" and (not each.said.present or each.thing.first("cancelled"))
    )


# ---------------------------------------------------------------------------------------------- roll-ups

COUNTED = ("touches_out", "touches_in", "support_requests", "tickets_opened", "tickets_resolved", "orders")


def effects(each: Seen, void: frozenset[str]) -> Iterator[tuple[str, date, Decimal]]:
    """What an interaction counts as, on which day, and how much: counts as in `COUNTED`, money under its currency."""
    thing, day = each.thing, day_of(each.at)
    if each.counts_as is not None:
        yield each.counts_as, day, Decimal(1)
    if each.asks_for_help:
        yield "support_requests", day, Decimal(1)
    if thing.kind == "ticket":
        if thing.opened_at is not None:
            yield "tickets_opened", day_of(thing.opened_at), Decimal(1)
            yield "support_requests", day_of(thing.opened_at), Decimal(1)
        if thing.resolved_at is not None:
            yield "tickets_resolved", day_of(thing.resolved_at), Decimal(1)
    if thing.kind == "order" and thing.placed_at is not None:
        yield "orders", day_of(thing.placed_at), Decimal(1)
        if thing.fields.get("net") is not None:
            yield thing.fields["net"].currency, day_of(thing.placed_at), thing.fields["net"].amount
    if thing.kind == "refund" and thing.fields.get("refunded") is not None and thing.parent_id not in void:
        yield thing.fields["refunded"].currency, day, -thing.fields["refunded"].amount


def roll_up(
    seen: Mapping[str, Sequence[Seen]], scopes_of: Callable[[str, date], Iterable[Scope]]
) -> dict[tuple[Scope, date], dict[str, Decimal]]:
    """Per scope and day what happened; what concerns several accounts of a scope counts there once."""
    once: dict[tuple[Scope, date], dict[tuple[str, str], Decimal]] = defaultdict(dict)
    for account, own in seen.items():
        void = void_orders(own)
        for each in own:
            for name, day, amount in effects(each, void) if each.said.present else ():
                for scope in scopes_of(account, day):
                    once[scope, day][name, each.thing.id] = amount
    found: dict[tuple[Scope, date], dict[str, Decimal]] = {}
    for place, amounts in once.items():
        summed: dict[str, Decimal] = defaultdict(Decimal)
        for (name, _), amount in amounts.items():
            summed[name] += amount
        found[place] = {name: amount for name, amount in summed.items() if amount}
    return {place: amounts for place, amounts in found.items() if amounts}
