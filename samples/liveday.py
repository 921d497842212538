"""Monday 2 March 2026 and the morning after, step by step: what happens, and what each step is there to show.

A step sets the clock and delivers facts; a fact that stands twice is delivered twice. What must come out of each step
is written down in EXPECTED.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from samples import words
from samples.calendar import LIVE_DAY, moment
from samples.characters import RECRUITER, STUDENT, UNKNOWN_CALLER
from samples.company import Company, Person
from samples.facts import Call, Departure, Fact, Mail, OrderLine, OrderStep, Refund, TicketStep

TUESDAY = LIVE_DAY + timedelta(days=1)
FRIDAY = LIVE_DAY - timedelta(days=3)

NEWCOMER = Person("Nele Frisch", "nele.frisch@kupferberg.example")
"""Works at Kupferberg, but nobody has entered her yet: known by the company's domain only."""

ENTERED = replace(STUDENT, key="quellwasser-5", account="quellwasser")
"""The answer to the question who wrote from a free-mail address: somebody of Quellwasser, entered by hand at 15:00."""

ENTERED_CSV = (
    "contact,account,name,addresses,phones,persons,buying_centre,roles,role_since,influence,attitude,since,until\n"
    f"{ENTERED.key},{ENTERED.account},{ENTERED.name},{ENTERED.address},,,,,,,,,\n"
).encode()


@dataclass(frozen=True, slots=True)
class LiveStep:
    """The clock goes to `clock`, then the facts are told in this order. `name` is stable: tests refer to it."""

    name: str
    clock: datetime
    title: str
    facts: tuple[Fact, ...] = ()
    forged: tuple[Fact, ...] = ()
    """Never happened: delivered with a bad signature, must be refused and change nothing."""
    entered: tuple[Person, ...] = ()
    """Contacts that somebody of ours enters before the facts come (ENTERED_CSV)."""


def live_steps(company: Company, history: Iterable[Fact]) -> tuple[LiveStep, ...]:
    """The whole live part. `history` is what it picks up: a ticket, an order."""
    day = _Day(company, tuple(history))
    return (
        _step("champion", "08:05", "Alpenglas loses its champion", day.champion_leaves()),
        _step("post", "08:30", "The mail of the weekend comes in late", day.post_of_the_weekend()),
        _step("quiet", "09:35", "Nordlicht has been quiet for two weeks"),
        _step("storm begins", "10:05", "Lindenhof's order is overdue; tickets from Hansepumpen", day.storm()[:2]),
        _step(
            "storm", "11:20", "The storm: six more tickets, out of order and twice; a spoof",
            day.rest_of_the_storm(), forged=(day.storm_ticket(99, "09:59"),),
        ),
        _step("shop", "12:10", "Orders: placed, changed, cancelled, refunded, one a week late", day.orders()),
        _step("phones", "13:30", "Calls: connected, missed, in vain, from nobody we know", day.calls()),
        _step("unanswered", "14:20", "Friday's mail from Rheinwerk is still unanswered", day.called_back()),
        _step(
            "answers", "15:00", "A stranger gets a name; one mail to two customers; a ticket comes back",
            day.afternoon(), entered=(ENTERED,),
        ),
        _step("back in touch", "16:10", "Nordlicht writes again", day.nordlicht_writes()),
        _step("answered", "09:10", "Rheinwerk gets its answer", day.rheinwerk_answered(), on=TUESDAY),
        _step("next morning", "10:20", "Alpenglas still waits for an answer to Monday's mail", on=TUESDAY),
    )  # fmt: skip


def _step(
    name: str,
    time: str,
    title: str,
    facts: tuple[Fact, ...] = (),
    *,
    on: date = LIVE_DAY,
    forged: tuple[Fact, ...] = (),
    entered: tuple[Person, ...] = (),
) -> LiveStep:
    clock = moment(on, time)
    return LiveStep(
        name, clock, title, tuple(replace(fact, told=clock) for fact in facts), forged, entered
    )  # fmt: skip


class _Day:
    """Tells the facts of each step. When they are told is the step's to say."""

    def __init__(self, company: Company, past: tuple[Fact, ...]) -> None:
        self.company = company
        self.past = past
        self.unsaid = moment(LIVE_DAY, "00:00")

    def mail(
        self,
        name: str,
        at: datetime,
        sender: Person,
        to: Person | tuple[Person, ...],
        said: tuple[str, str],
        *,
        thread: tuple[str, ...] = (),
    ) -> Mail:
        subject, text = said
        people = to if isinstance(to, tuple) else (to,)
        ours = sender if sender.ours else next(person for person in people if person.ours)
        return Mail(
            at=at, told=self.unsaid, message_id=f"<live.{name}@{sender.address.partition('@')[2]}>",
            sender=sender, to=people, subject=subject, body=words.letter(people[0].first_name, text, sender.name),
            mailboxes=(f"mail-{ours.key}",), thread=thread,
        )  # fmt: skip

    def champion_leaves(self) -> tuple[Fact, ...]:
        left = Departure(
            at=moment(LIVE_DAY, "08:00"), told=self.unsaid, number="departure-1",
            person=self.company.contact("alpenglas-2"), reason="left the company",
        )  # fmt: skip
        return (left, left)

    def friday_mail(self) -> Mail:
        sender, clara = self.company.contact("rheinwerk-1"), self.company.colleague("clara")
        said = ("Terms for the extension", "before we extend in April we would like to talk about the terms. When?")
        return self.mail("friday", moment(FRIDAY, "14:10"), sender, clara, said)

    def post_of_the_weekend(self) -> tuple[Fact, ...]:
        company, morning = self.company, moment(LIVE_DAY, "08:10")
        anna, david, eva = (company.colleague(name) for name in ("anna", "david", "eva"))
        letter = self.mail(
            "news", moment(LIVE_DAY, "06:15"), company.contact("vierlanden-4"), david, ("Vierlanden news", "our week.")
        )
        away = self.mail(
            "away",
            morning,
            company.contact("polarstern-1"),
            anna,
            ("Out of office: Re: Spring", "I am away until Friday."),
        )
        friday = self.friday_mail()
        return (
            friday,
            replace(letter, automatic="newsletter", wants_answer=False),
            replace(away, automatic="out_of_office", wants_answer=False),
            self.mail("recruiter", morning, RECRUITER, anna, ("A question", "may I ask you something?")),
            self.mail(
                "student",
                moment(LIVE_DAY, "08:20"),
                STUDENT,
                anna,
                ("My question of February", "did you find the time?"),
            ),
            self.mail(
                "newcomer",
                moment(LIVE_DAY, "08:25"),
                NEWCOMER,
                eva,
                ("I am new here", "I take over purchasing at Kupferberg."),
            ),
            friday,
        )

    def storm_ticket(self, number: int, time: str) -> TicketStep:
        opened = moment(LIVE_DAY, time)
        contacts = self.company.customer("hansepumpen").contacts
        return TicketStep(
            at=opened, told=self.unsaid, ticket=str(880_000 + number), step="opened", audit=88_000_000 + number * 100,
            requester=contacts[number % len(contacts)], subject=words.TICKETS[number % len(words.TICKETS)],
            priority="high", opened_at=opened,
        )  # fmt: skip

    def storm(self) -> tuple[TicketStep, ...]:
        times = ("09:20", "09:35", "10:10", "10:20", "10:30", "10:45", "10:55", "11:05")
        return tuple(self.storm_ticket(number, time) for number, time in enumerate(times))

    def rest_of_the_storm(self) -> tuple[Fact, ...]:
        opened = self.storm()[2:]
        solved = replace(opened[0], step="resolved", at=moment(LIVE_DAY, "11:10"), audit=opened[0].audit + 1)
        waiting = self.mail(
            "waiting", moment(LIVE_DAY, "10:15"), self.company.contact("alpenglas-1"), self.company.colleague("bruno"),
            ("Who is our contact now?", "with Monday everything changes here. Can we talk this week?"),
        )  # fmt: skip
        # the desk's deliveries overtake one another: the resolution comes before the opening, the last ticket first
        return (solved, *opened[::-1], waiting, opened[3])

    def orders(self) -> tuple[Fact, ...]:
        placed = self._order("elbmetall-4", 770_001, moment(LIVE_DAY, "10:40"), "Flow meter FM-300", 2)
        larger = replace(
            placed, step="changed", at=moment(LIVE_DAY, "11:30"), lines=(*placed.lines, _line("Probe holder PH-5", 4))
        )
        largest = replace(
            placed, step="changed", at=moment(LIVE_DAY, "11:55"), lines=(*placed.lines, _line("Probe holder PH-5", 6))
        )
        late = self._order("tessin-4", 770_002, moment(date(2026, 2, 23), "16:00"), "Torque sensor TQ-90", 3)
        given_up = self._order("waldkirch-4", 770_003, moment(LIVE_DAY, "11:00"), "Laser micrometer LM-40", 1)
        refunded = _last_order(self.past, "sonnenfeld")
        return (
            largest,
            placed,
            larger,
            late,
            given_up,
            replace(given_up, step="cancelled", at=moment(LIVE_DAY, "11:45")),
            Refund(
                at=moment(LIVE_DAY, "11:50"), told=self.unsaid, refund="770900", order=refunded.order,
                buyer=refunded.buyer, amount=Decimal("123.45"),
            ),
            placed,
        )  # fmt: skip

    def _order(self, buyer: str, number: int, at: datetime, product: str, quantity: int) -> OrderStep:
        return OrderStep(
            at=at, told=self.unsaid, order=str(number), step="placed", placed_at=at, buyer=self.company.contact(buyer),
            lines=(_line(product, quantity),),
        )  # fmt: skip

    def call(self, number: int, time: str, other: Person, colleague: str, *, inbound: bool, talked: int | None) -> Call:
        return Call(
            at=moment(LIVE_DAY, time), told=self.unsaid, number=str(660_000 + number), inbound=inbound, other=other,
            colleague=self.company.colleague(colleague), rang_seconds=12, talked_seconds=talked,
        )  # fmt: skip

    def calls(self) -> tuple[Fact, ...]:
        contact = self.company.contact
        return (
            self.call(1, "12:40", contact("stromtal-1"), "anna", inbound=False, talked=640),
            self.call(2, "12:55", contact("kaltenbach-2"), "eva", inbound=True, talked=None),
            self.call(3, "13:05", contact("windrose-1"), "david", inbound=False, talked=None),
            self.call(4, "13:15", UNKNOWN_CALLER, "david", inbound=True, talked=95),
            self.call(2, "12:55", contact("kaltenbach-2"), "eva", inbound=True, talked=None),
        )

    def called_back(self) -> tuple[Fact, ...]:
        return (self.call(5, "14:00", self.company.contact("kaltenbach-2"), "eva", inbound=False, talked=300),)

    def afternoon(self) -> tuple[Fact, ...]:
        bruno, contact = self.company.colleague("bruno"), self.company.contact
        solved = max(
            (fact for fact in self.past if isinstance(fact, TicketStep) and _is_solved(fact, "lechfeld")),
            key=lambda step: step.at,
        )  # fmt: skip
        return (
            self.mail(
                "two", moment(LIVE_DAY, "14:40"), bruno, (contact("sonnenfeld-1"), contact("tideland-1")),
                ("You should meet", "you work on the same thing from two ends. I leave you to it."),
            ),
            replace(solved, step="reopened", at=moment(LIVE_DAY, "14:50"), told=self.unsaid, audit=solved.audit + 50),
        )  # fmt: skip

    def nordlicht_writes(self) -> tuple[Fact, ...]:
        decides, anna = self.company.contact("nordlicht-1"), self.company.colleague("anna")
        said = ("Sorry for the silence", "we moved into the new hall. Now we have time for your proposal again.")
        return (self.mail("back", moment(LIVE_DAY, "16:00"), decides, anna, said),)

    def rheinwerk_answered(self) -> tuple[Fact, ...]:
        asked = self.friday_mail()
        clara = self.company.colleague("clara")
        said = (f"Re: {asked.subject}", "tomorrow at two? I ring you.")
        at = moment(TUESDAY, "09:05")
        return (self.mail("answer", at, clara, asked.sender, said, thread=(asked.message_id,)),)


def _is_solved(step: TicketStep, account: str) -> bool:
    return step.step == "resolved" and step.requester.account == account


def _line(product: str, quantity: int) -> OrderLine:
    return OrderLine(product=product, quantity=quantity, amount=Decimal(words.PRODUCTS[product] * quantity))


def _last_order(past: tuple[Fact, ...], account: str) -> OrderStep:
    steps = [fact for fact in past if isinstance(fact, OrderStep) and fact.buyer.account == account]
    return max(steps, key=lambda step: step.placed_at)
