"""What must come out of the sample company's story, folded from its facts alone: no service's code, no payload.

A second, deliberately plain reading of `domain.md`: lists and loops, everything from scratch for every question.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Literal

from samples.calendar import ZONE
from samples.company import Company, Customer, Person
from samples.facts import Call, Comment, Departure, Fact, Mail, Meeting, OrderStep, Refund, TicketStep

CADENCES = {"onboarding": (7, 14), "key": (14, 30), "B": (30, 90), "C": (60, 120)}
OPENS_AT, CLOSES_AT = time(9), time(17)


@dataclass(frozen=True, kw_only=True)
class Touch:
    """One way in which somebody of an account and we were in touch, or tried to be."""

    label: str
    account: str
    contact: str | None
    at: datetime
    inbound: bool
    kind: Literal["mail", "call", "comment", "meeting"]
    touch: str = "routine"
    counts: bool = False
    """For touches in and out: written by hand and to them, connected, held."""
    answers: bool = False
    """A mail that answers one of the other side."""
    waits: bool = False
    """Wants to be answered."""


@dataclass(frozen=True)
class Ticket:
    """A ticket as known now."""

    number: str
    account: str
    opened: datetime
    resolved: datetime | None


@dataclass(frozen=True)
class Order:
    """An order as known now that was not cancelled."""

    number: str
    account: str
    placed: datetime
    net: Decimal


@dataclass(frozen=True, order=True)
class Finding:
    """An alert that is on at some moment."""

    rule: str
    account: str
    severity: str
    evidence: tuple[str, ...] = ()
    """Labels of the interactions that it rests on."""


@dataclass(frozen=True)
class World:
    """What is known from the facts told so far. `entered`: addresses that somebody entered meanwhile, with whose."""

    company: Company
    facts: tuple[Fact, ...]
    entered: tuple[Person, ...] = ()

    @classmethod
    def at(cls, company: Company, facts: Iterable[Fact], now: datetime, entered: Iterable[Person] = ()) -> World:
        """What is known at `now`: a fact told twice is one fact."""
        return cls(company, tuple(dict.fromkeys(fact for fact in facts if fact.told <= now)), tuple(entered))

    def known(self, person: Person) -> Person:
        """Somebody as they have been entered by now."""
        return next((entered for entered in self.entered if entered.address == person.address != ""), person)

    def account_of(self, person: Person) -> str | None:
        """Whose somebody is: that of a known contact, else of the company's domain."""
        known = self.known(person)
        return known.account or self._domains.get(person.address.partition("@")[2])

    @cached_property
    def _domains(self) -> dict[str, str]:
        return {customer.domain: customer.key for customer in self.company.customers if customer.domain}

    @cached_property
    def touches(self) -> list[Touch]:
        """All touches, oldest first; a mail to people of two accounts is a touch of each."""
        found = [touch for fact in self.facts for touch in self._touches_of(fact)]
        return sorted(found, key=lambda touch: (touch.at, touch.label))

    def _touches_of(self, fact: Fact) -> list[Touch]:
        if isinstance(fact, Mail):
            return self._mail(fact)
        if isinstance(fact, Call):
            return self._call(fact)
        if isinstance(fact, Comment) and not fact.author.ours:
            return [
                Touch(
                    label=f"comment {fact.number}",
                    account=fact.author.account or "",
                    contact=fact.author.key,
                    at=fact.at,
                    inbound=True,
                    kind="comment",
                    touch="support",
                )
            ]
        if isinstance(fact, Meeting):
            guests = {guest.account: guest for guest in fact.guests if guest.account}
            return [
                Touch(
                    label=f"meeting {fact.number}",
                    account=account,
                    contact=guest.key,
                    at=fact.at,
                    inbound=False,
                    kind="meeting",
                    counts=True,
                )
                for account, guest in guests.items()
            ]
        return []

    def _call(self, call: Call) -> list[Touch]:
        account = self.account_of(call.other) if call.other.address else None
        if account is None:
            return []
        connected = call.talked_seconds is not None
        return [
            Touch(
                label=f"call {call.number}",
                account=account,
                contact=call.other.key,
                at=call.at,
                inbound=call.inbound,
                kind="call",
                touch=call.touch,
                counts=connected,
                waits=call.inbound and not connected,
            )
        ]

    def _mail(self, mail: Mail) -> list[Touch]:
        theirs = (mail.sender,) if mail.inbound else (*mail.to, *mail.cc)
        by_account: dict[str, Person] = {}
        for person in theirs:
            account = self.account_of(person)
            if account:
                by_account.setdefault(account, person)
        by_hand = mail.automatic is None
        return [
            Touch(
                label=f"mail {mail.message_id}",
                account=account,
                contact=self.known(person).key,
                at=mail.at,
                inbound=mail.inbound,
                kind="mail",
                touch=mail.touch,
                # outbound mail on which all of theirs are only copied is no touch
                counts=by_hand and (mail.inbound or any(self.account_of(to) == account for to in mail.to)),
                answers=bool(mail.thread) and by_hand,
                waits=mail.inbound and by_hand and mail.wants_answer,
            )
            for account, person in by_account.items()
        ]

    @cached_property
    def tickets(self) -> list[Ticket]:
        """All tickets; a reopened one is not resolved until it is again."""
        steps: dict[str, list[TicketStep]] = {}
        for fact in self.facts:
            if isinstance(fact, TicketStep):
                steps.setdefault(fact.ticket, []).append(fact)
        tickets = []
        for number, known in steps.items():
            resolved = None
            for step in sorted(known, key=lambda step: step.at):
                if step.step == "resolved":
                    resolved = step.at
                elif step.step == "reopened":
                    resolved = None
            tickets.append(Ticket(number, known[0].requester.account or "", known[0].opened_at, resolved))
        return tickets

    @cached_property
    def orders(self) -> list[Order]:
        """All orders that stand, with their latest amount."""
        steps: dict[str, list[OrderStep]] = {}
        for fact in self.facts:
            if isinstance(fact, OrderStep):
                steps.setdefault(fact.order, []).append(fact)
        orders = []
        for number, known in steps.items():
            latest = max(known, key=lambda step: step.at)
            if all(step.step != "cancelled" for step in known):
                orders.append(Order(number, latest.buyer.account or "", latest.placed_at, latest.net))
        return orders

    def kpis(self, accounts: Iterable[str], last: date, days: int) -> dict[str, Decimal | None]:
        """Every KPI of `accounts` together over the `days` days that end with `last`."""
        keys = set(accounts)
        first = last - timedelta(days=days - 1)

        def inside(moment: datetime) -> bool:
            return first <= moment.astimezone(ZONE).date() <= last

        touches = [touch for touch in self.touches if touch.account in keys and inside(touch.at)]
        tickets = [ticket for ticket in self.tickets if ticket.account in keys]
        opened = sum(inside(ticket.opened) for ticket in tickets)
        asked = {t.label for t in touches if t.inbound and t.touch == "support" and t.kind in {"mail", "call"}}
        hours = sorted(
            Decimal(elapsed(ticket.opened, ticket.resolved) // timedelta(seconds=1)) / 3600
            for ticket in tickets
            if ticket.resolved and inside(ticket.resolved)
        )
        orders = [order for order in self.orders if order.account in keys]
        placed = [order for order in orders if inside(order.placed)]
        given_back = sum(
            (
                fact.amount
                for fact in self.facts
                if isinstance(fact, Refund) and fact.buyer.account in keys and inside(fact.at)
            ),
            Decimal(0),
        )
        buyers = {order.account for order in placed}
        again = {
            order.account
            for order in placed
            if any(o.account == order.account and o.placed < order.placed for o in orders)
        }
        return {
            # a mail to two accounts is one touch of whoever looks after both
            "touches_out": Decimal(len({t.label for t in touches if t.counts and not t.inbound})),
            "touches_in": Decimal(len({t.label for t in touches if t.counts and t.inbound and t.kind != "comment"})),
            "tickets_opened": Decimal(opened),
            "support_requests": Decimal(opened + len(asked)),
            "tickets_resolved": Decimal(len(hours)),
            "resolution_hours_mean": sum(hours, Decimal(0)) / len(hours) if hours else None,
            "resolution_hours_median": _percentile(hours, Decimal("0.5")),
            "resolution_hours_p90": _percentile(hours, Decimal("0.9")),
            "orders": Decimal(len(placed)),
            "net_revenue": sum((order.net for order in placed), Decimal(0)) - given_back,
            "repeat_purchase_rate": Decimal(100) * len(again) / len(buyers) if buyers else None,
        }

    def previous_kpis(self, accounts: Iterable[str], last: date, days: int) -> dict[str, Decimal | None]:
        """The same over the `days` days before."""
        return self.kpis(accounts, last - timedelta(days=days), days)

    def findings(self, now: datetime) -> list[Finding]:
        """Every alert whose cause is there at `now`."""
        found: list[Finding] = []
        for customer in self.company.customers:
            by_time = (self._stale(customer, now), self._storm(customer, now), self._order_gap(customer, now))
            found += [finding for finding in by_time if finding]
            found += self._unanswered(customer, now)
        found += [
            Finding("champion_left", fact.person.account or "", "alert", (f"contact {fact.number}",))
            for fact in self.facts
            # contacts 1 and 2 of a key account are its decision maker and its champion
            if isinstance(fact, Departure) and (fact.person.key or "").endswith(("-1", "-2"))
        ]
        return sorted(found)

    def last_real_touch(self, customer: Customer) -> Touch | None:
        """The touch at which the silence clock begins."""
        real = [
            touch
            for touch in self.touches
            if touch.account == customer.key
            and (touch.counts or touch.kind == "comment")
            and (touch.inbound or touch.answers or touch.kind in {"call", "meeting"})
            and not (customer.is_key and touch.touch in {"support", "billing"})
        ]
        return real[-1] if real else None

    def _stale(self, customer: Customer, now: datetime) -> Finding | None:
        last = self.last_real_touch(customer)
        if last is None:
            raise AssertionError(f"{customer.key} was never in touch")
        warn, alert = CADENCES[customer.cadence]
        if elapsed(last.at, now) > timedelta(days=alert):
            return Finding("stale_touch", customer.key, "alert", (last.label,))
        return (
            Finding("stale_touch", customer.key, "warn", (last.label,))
            if elapsed(last.at, now) > timedelta(days=warn)
            else None
        )

    def _storm(self, customer: Customer, now: datetime) -> Finding | None:
        today = now.astimezone(ZONE).date()
        own = [
            (ticket.opened.astimezone(ZONE).date(), ticket) for ticket in self.tickets if ticket.account == customer.key
        ]
        month = [ticket for day, ticket in own if today - timedelta(days=29) <= day <= today]
        year = [day for day, _ in own if today - timedelta(days=394) <= day <= today - timedelta(days=30)]
        norm = Decimal(len(year)) * 30 / 365
        if len(month) < 5 or len(month) < 2 * norm:
            return None
        evidence = tuple(sorted(f"ticket {ticket.number}" for ticket in month))
        return Finding("ticket_volume", customer.key, "alert" if len(month) > 10 else "warn", evidence)

    def _order_gap(self, customer: Customer, now: datetime) -> Finding | None:
        orders = sorted(
            (order for order in self.orders if order.account == customer.key), key=lambda order: order.placed
        )
        days = sorted({order.placed.astimezone(ZONE).date() for order in orders})
        gaps = sorted(Decimal((later - earlier).days) for earlier, later in pairwise(days))
        if len(gaps) < 5:
            return None
        allowed = float((_percentile(gaps, Decimal("0.9")) or 0) * Decimal("1.5"))
        late = elapsed(orders[-1].placed, now) > timedelta(days=allowed)
        return Finding("order_gap", customer.key, "warn", (f"order {orders[-1].number}",)) if late else None

    def _unanswered(self, customer: Customer, now: datetime) -> list[Finding]:
        touches = [touch for touch in self.touches if touch.account == customer.key]
        found = []
        for waiting in (touch for touch in touches if touch.waits):
            answers = [
                touch
                for touch in touches
                if not touch.inbound and touch.counts and touch.kind in {"mail", "call"} and touch.at > waiting.at
                and (touch.contact is None or waiting.contact is None or touch.contact == waiting.contact)
            ]  # fmt: skip
            due = business_days_after(waiting.at, 1 if customer.is_key else 2)
            if not answers and now > due:
                severity = "alert" if customer.is_key else "warn"
                found.append(Finding("unanswered_mail", customer.key, severity, (waiting.label,)))
        return found

    def strangers(self) -> dict[str, int]:
        """Addresses and numbers of mails and calls that are nobody's, with how many of these they have part in."""
        seen: dict[str, int] = {}
        for fact in self.facts:
            if isinstance(fact, Mail):
                people = [person for person in (fact.sender, *fact.to, *fact.cc) if not person.ours]
            elif isinstance(fact, Call) and not fact.other.address:
                seen[fact.other.phone or ""] = seen.get(fact.other.phone or "", 0) + 1
                continue
            else:
                continue
            if any(self.account_of(person) for person in people):
                continue
            for person in people:
                seen[person.address] = seen.get(person.address, 0) + 1
        return seen


def elapsed(since: datetime, until: datetime) -> timedelta:
    """Real time between two moments. Python subtracts wall times within a zone: wrong when clocks change between."""
    return until.astimezone(UTC) - since.astimezone(UTC)


def business_days_after(start: datetime, days: int) -> datetime:
    """`start` plus so many days of nine to five, Monday to Friday."""
    minutes_left = days * 8 * 60
    moment = start.astimezone(ZONE).replace(tzinfo=None)
    while True:
        opens, closes = datetime.combine(moment.date(), OPENS_AT), datetime.combine(moment.date(), CLOSES_AT)
        begins = max(moment, opens)
        if moment.weekday() < 5 and begins < closes:
            room = (closes - begins) / timedelta(minutes=1)
            if room >= minutes_left:
                return (begins + timedelta(minutes=minutes_left)).replace(tzinfo=ZONE)
            minutes_left -= int(room)
        moment = datetime.combine(moment.date() + timedelta(days=1), time())


def _percentile(values: list[Decimal], part: Decimal) -> Decimal | None:
    """By linear interpolation between the two nearest; `values` sorted."""
    if not values:
        return None
    place = part * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)
