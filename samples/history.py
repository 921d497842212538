"""Fourteen months of ordinary business, told once for every customer; what is special to one stands in `characters.py`.

Every customer has a random generator of their own, seeded by their key: changing the story of one leaves the others as
they are. Everything is answered and resolved by the end of history unless `characters.py` says otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from samples import words
from samples.calendar import HISTORY_BEGINS, IMPORTED_AT, moment, next_working_day, working_moment
from samples.company import Company, Customer, Person
from samples.facts import (
    Call,
    Comment,
    ContractStep,
    Fact,
    Mail,
    Meeting,
    OrderLine,
    OrderStep,
    Refund,
    TicketStep,
    TouchClass,
)

SEED = 2026
_REOPENED = 0.2
_HOURS_TO_RESOLVE = ("1.5", "3", "4.25", "6", "9.5", "20", "26.75", "48", "70")


@dataclass(frozen=True, slots=True)
class Pace:
    """How busy a customer is. Days are days between two of the same; None: never."""

    exchange: float
    ticket: float | None
    order: float | None
    last_exchange: date
    last_order: date = date(2026, 2, 18)
    last_ticket: date = date(2026, 2, 20)
    meeting: float | None = None
    clockwork: bool = False
    """Orders come at exactly the same distance, at ten o'clock, and are all kept."""


PACES = {
    "key": Pace(exchange=7, ticket=40, order=21, last_exchange=date(2026, 2, 24), meeting=90),
    "A": Pace(exchange=10, ticket=60, order=30, last_exchange=date(2026, 2, 23), meeting=150),
    "B": Pace(exchange=14, ticket=75, order=35, last_exchange=date(2026, 2, 19)),
    "C": Pace(exchange=24, ticket=120, order=60, last_exchange=date(2026, 2, 12)),
}


class Teller:
    """Tells about one customer. Every method returns facts; numbers run on from one to the next."""

    def __init__(self, company: Company, customer: Customer) -> None:
        self.customer = customer
        self.chance = random.Random(f"{SEED}:{customer.key}")  # noqa: S311 - a story, not a secret
        self.owner = company.colleague(customer.owner)
        self._running = 0

    def number(self) -> int:
        """A number that nothing else in the story has; it lies in the customer's own range."""
        self._running += 1
        return self.customer.number * 10_000 + self._running

    def mail(
        self,
        at: datetime,
        sender: Person,
        to: Person,
        subject: str,
        text: str,
        *,
        thread: tuple[str, ...] = (),
        touch: TouchClass = "routine",
    ) -> Mail:
        """One mail between one of theirs and one of ours."""
        domain = sender.address.partition("@")[2]
        return Mail(
            at=at,
            told=IMPORTED_AT,
            message_id=f"<{self.customer.key}.{self.number()}@{domain}>",
            sender=sender,
            to=(to,),
            subject=subject,
            body=words.letter(to.first_name, text, sender.name),
            mailboxes=(f"mail-{self.customer.owner}",),
            thread=thread,
            touch=touch,
        )

    def asked_and_answered(self, at: datetime, contact: Person, *, rounds: int = 1) -> Iterator[Fact]:
        """A customer asks by mail and gets an answer within hours, `rounds` times in one thread."""
        subject, text = self.chance.choice(words.ASKS)
        thread: tuple[str, ...] = ()
        for turn in range(rounds):
            asked = self.mail(at, contact, self.owner, subject, text, thread=thread)
            subject = subject if subject.startswith("Re: ") else f"Re: {subject}"
            thread = (*thread, asked.message_id)
            at += timedelta(minutes=self.chance.randrange(20, 100))
            answer = self.chance.choice(words.ANSWERS)
            answered = self.mail(at, self.owner, contact, subject, answer, thread=thread)
            thread = (*thread, answered.message_id)
            yield asked
            yield answered
            text = words.FOLLOW_UPS[turn % len(words.FOLLOW_UPS)]
            at = working_moment(self.chance, next_working_day(at.date() + timedelta(days=1)))

    def told_unasked(self, at: datetime, contact: Person, touch: TouchClass) -> Mail:
        """The manager writes without being asked."""
        subject, text = self.chance.choice(words.UNASKED[touch])
        number = f"RE-{at.year}-{self.number()}"
        return self.mail(
            at, self.owner, contact, subject.format(number=number), text.format(number=number), touch=touch
        )

    def call(self, at: datetime, contact: Person, *, inbound: bool, talked: int | None) -> Call:
        """One call; `talked` seconds, None: nobody answered."""
        return Call(
            at=at,
            told=IMPORTED_AT,
            number=str(self.number()),
            inbound=inbound,
            other=contact,
            colleague=self.owner,
            rang_seconds=self.chance.randrange(4, 25),
            talked_seconds=talked,
        )

    def missed_and_called_back(self, at: datetime, contact: Person) -> Iterator[Fact]:
        """We miss a call and ring back within the hour: once in vain, then with success."""
        yield self.call(at, contact, inbound=True, talked=None)
        yield self.call(at + timedelta(minutes=25), contact, inbound=False, talked=None)
        yield self.call(at + timedelta(minutes=50), contact, inbound=False, talked=self.chance.randrange(60, 900))

    def ticket(
        self, opened: datetime, *, reopened: bool, resolved: bool = True, commented: bool = True
    ) -> Iterator[Fact]:
        """A ticket from its opening to its end."""
        number, audit = str(self.number()), self.number() * 100
        requester = self.chance.choice(self.customer.contacts)
        subject = self.chance.choice(words.TICKETS)
        priority = self.chance.choices(("low", "normal", "high"), (2, 6, 1))[0]

        def step(name: str, at: datetime, place: int) -> TicketStep:
            return TicketStep(
                at=at,
                told=IMPORTED_AT,
                ticket=number,
                step=name,  # type: ignore[arg-type]  # one of the literals below
                audit=audit + place,
                requester=requester,
                subject=subject,
                priority=priority,  # type: ignore[arg-type]  # one of the three above
                opened_at=opened,
            )

        yield step("opened", opened, 1)
        if commented:
            yield Comment(
                at=opened + timedelta(minutes=40), told=IMPORTED_AT, number=f"{number}1", ticket=number,
                author=self.owner, text="We look into it.",
            )  # fmt: skip
        if not resolved:
            return
        at = opened + timedelta(hours=float(self.chance.choice(_HOURS_TO_RESOLVE)))
        yield step("resolved", at, 2)
        if reopened:
            yield step("reopened", at + timedelta(hours=5), 3)
            at += timedelta(hours=12)
            yield step("resolved", at, 4)
        yield step("closed", at + timedelta(hours=24), 5)

    def order(self, at: datetime, *, fate: str = "kept") -> Iterator[Fact]:
        """An order that is kept, changed, cancelled or partly refunded."""
        number = str(self.number())
        buyer = self.customer.contacts[-1]
        lines = tuple(
            OrderLine(product=product, quantity=quantity, amount=Decimal(words.PRODUCTS[product] * quantity))
            for product, quantity in (
                (product, self.chance.randrange(1, 6))
                for product in self.chance.sample(sorted(words.PRODUCTS), self.chance.randrange(1, 4))
            )
        )

        def step(name: str, when: datetime, of: tuple[OrderLine, ...]) -> OrderStep:
            return OrderStep(
                at=when, told=IMPORTED_AT, order=number, step=name,  # type: ignore[arg-type]  # a literal below
                placed_at=at, buyer=buyer, lines=of,
            )  # fmt: skip

        yield step("placed", at, lines)
        if fate == "changed":
            more = OrderLine(product="Probe holder PH-5", quantity=2, amount=Decimal(290))
            yield step("changed", at + timedelta(hours=3), (*lines, more))
        elif fate == "cancelled":
            yield step("cancelled", at + timedelta(hours=20), lines)
        elif fate == "refunded":
            yield Refund(
                at=at + timedelta(days=6, hours=1), told=IMPORTED_AT, refund=str(self.number()), order=number,
                buyer=buyer, amount=(lines[0].amount / 10).quantize(Decimal("0.01")),
            )  # fmt: skip

    def meeting(self, at: datetime) -> Meeting:
        """A visit or video meeting with two of theirs."""
        form = self.chance.choice(("on_site", "remote", "business_review"))
        return Meeting(
            at=at,
            told=IMPORTED_AT,
            number=str(self.number()),
            form=form,  # type: ignore[arg-type]  # one of the three above
            minutes=90,
            guests=self.customer.contacts[:2],
            colleague=self.owner,
            subject=words.MEETINGS[form],
        )

    def exchange(self, day: date) -> Iterator[Fact]:
        """One ordinary contact with the customer. It never leaves anything open."""
        at, contact = working_moment(self.chance, day), self.chance.choice(self.customer.contacts)
        match self.chance.choices(("asked", "asked twice", "news", "invoice", "advice", "called", "rang", "missed"),
                                  (30, 14, 8, 8, 6, 14, 10, 8))[0]:  # fmt: skip
            case "asked":
                yield from self.asked_and_answered(at, contact)
            case "asked twice":
                yield from self.asked_and_answered(at, contact, rounds=2)
            case "news":
                yield self.told_unasked(at, contact, "routine")
            case "invoice":
                yield self.told_unasked(at, contact, "billing")
            case "advice":
                yield self.told_unasked(at, contact, "strategic")
            case "called":
                yield self.call(at, contact, inbound=False, talked=self.chance.randrange(60, 1200))
            case "rang":
                yield self.call(at, contact, inbound=True, talked=self.chance.randrange(60, 1200))
            case _:
                yield from self.missed_and_called_back(at, contact)

    def ordinary(self, pace: Pace) -> Iterator[Fact]:
        """The fourteen months of a customer of whom nothing special is to be told."""
        for day in self._days(pace.exchange, pace.last_exchange - timedelta(days=4)):
            yield from self.exchange(day)
        # the last contact is the same for all of a kind, with the person who decides: nothing is overdue by chance
        yield from self.asked_and_answered(moment(pace.last_exchange, "10:20"), self.customer.contacts[0])
        for day in self._days(pace.ticket, pace.last_ticket):
            yield from self.ticket(working_moment(self.chance, day), reopened=self.chance.random() < _REOPENED)
        for day in self.order_days(pace):
            if pace.clockwork:
                yield from self.order(moment(day, "10:00"))
            else:
                fates = ("kept", "changed", "refunded", "cancelled")
                fate = "kept" if day == pace.last_order else self.chance.choices(fates, (70, 14, 10, 6))[0]
                yield from self.order(working_moment(self.chance, day), fate=fate)
        for day in self._days(pace.meeting, pace.last_exchange - timedelta(days=9)):
            yield self.meeting(working_moment(self.chance, day))

    def order_days(self, pace: Pace) -> list[date]:
        """Backwards from the last one, so that this is where the pace wants it."""
        days, day = [], pace.last_order
        while pace.order and day > HISTORY_BEGINS:
            days.append(day)
            stretch = 1.0 if pace.clockwork else self.chance.uniform(0.8, 1.2)
            day = next_working_day(day - timedelta(days=round(pace.order * stretch)))
        return days[::-1]

    def _days(self, every: float | None, until: date) -> list[date]:
        """Irregular days of history, `every` so many on average, the last before `until`."""
        days: list[date] = []
        if not every:
            return days
        day = HISTORY_BEGINS + timedelta(days=round(every * self.chance.uniform(0.2, 1)))
        while day < until:
            days.append(day)
            day += timedelta(days=max(2, round(every * self.chance.uniform(0.6, 1.4))))
        return days

    def contract(
        self, at: datetime, *, recurring: Decimal, starts_on: date, due_on: date, notice_on: date
    ) -> ContractStep:
        """A service contract is signed."""
        return ContractStep(
            at=at, told=IMPORTED_AT, contract=f"SC-{self.number()}", account=self.customer.key, step="signed",
            signatory=self.customer.contacts[0], recurring=recurring, starts_on=starts_on, due_on=due_on,
            notice_on=notice_on,
        )  # fmt: skip
