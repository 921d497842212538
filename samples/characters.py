"""What is special about some customers before the live day: the threads that the live day picks up.

Everything that is not here is ordinary (`history.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import count

from samples import words
from samples.calendar import IMPORTED_AT, moment
from samples.company import Company, Customer, Person
from samples.facts import Call, Comment, Fact, Mail, TicketStep
from samples.history import PACES, Pace, Teller

RECRUITER = Person("Tom Vermittler", "tom@talente.example")
STUDENT = Person("Lea Anfrage", "example.lea.anfrage@gmail.com")
FORWARDER = Person("Dispatch", "dispatch@spedition.example")
UNKNOWN_CALLER = Person("", "", phone="+493023125900")


def tell_history(company: Company) -> Iterator[Fact]:
    """Everything that happened before the live day, customer by customer, in no order of time."""
    for customer in company.customers:
        yield from _STORIES.get(customer.key, _ordinary)(Teller(company, customer))
    yield from _mail_to_two_customers(company)
    yield from _strangers(company)


def _ordinary(teller: Teller) -> Iterator[Fact]:
    return teller.ordinary(_pace(teller.customer))


def _pace(customer: Customer) -> Pace:
    if customer.is_key:
        return PACES["key"]
    return PACES[customer.account_class]


def _goes_quiet(teller: Teller) -> Iterator[Fact]:
    """Nordlicht: weekly until December, then every third week, the last real answer on Monday 16 February, 09:30.

    What comes after is traffic, but no touch of a key account: tickets, an invoice, mail of ours that nobody answers.
    """
    decides = teller.customer.contacts[0]
    pace = replace(
        PACES["key"], last_exchange=date(2025, 12, 16), last_order=date(2026, 2, 5), last_ticket=date(2026, 1, 20)
    )
    for fact in teller.ordinary(replace(pace, meeting=None)):
        # Katrin Vogel helps on this account and is copied: the same mail in two mailboxes is one mail
        if isinstance(fact, Mail) and fact.inbound:
            yield replace(fact, mailboxes=(*fact.mailboxes, "mail-katrin"))
        else:
            yield fact
    for day, asks, answers in ((date(2026, 1, 8), "11:05", "13:20"), (date(2026, 1, 29), "14:00", "15:40"),
                               (date(2026, 2, 16), "08:40", "09:30")):  # fmt: skip
        subject, text = words.ASKS[day.day % len(words.ASKS)]
        asked = teller.mail(moment(day, asks), decides, teller.owner, subject, text)
        yield replace(asked, mailboxes=(*asked.mailboxes, "mail-katrin"))
        yield teller.mail(
            moment(day, answers), teller.owner, decides, f"Re: {subject}", words.ANSWERS[0], thread=(asked.message_id,)
        )
    for day in (date(2026, 2, 18), date(2026, 2, 25)):
        ticket = list(teller.ticket(moment(day, "10:30"), reopened=False))
        yield from ticket
        opened = next(fact for fact in ticket if isinstance(fact, TicketStep))
        yield Comment(
            at=moment(day, "11:50"), told=IMPORTED_AT, number=f"{opened.ticket}2", ticket=opened.ticket,
            author=opened.requester, text="It still happens.",
        )  # fmt: skip
    yield teller.told_unasked(moment(date(2026, 2, 20), "11:00"), decides, "billing")
    yield teller.told_unasked(moment(date(2026, 2, 24), "15:00"), decides, "routine")


def _storm_gathers(teller: Teller) -> Iterator[Fact]:
    """Hansepumpen: few tickets in a year, three in February: two below the threshold when the live day begins."""
    yield from teller.ordinary(replace(PACES["B"], last_ticket=date(2026, 1, 20)))
    for day in (date(2026, 2, 9), date(2026, 2, 17), date(2026, 2, 24)):
        yield from teller.ticket(moment(day, "09:40"), reopened=False)


def _orders_like_clockwork(teller: Teller) -> Iterator[Fact]:
    """Lindenhof: an order every fourth Monday at ten, the last on 19 January: the next two did not come."""
    return teller.ordinary(replace(PACES["B"], order=28, last_order=date(2026, 1, 19), clockwork=True))


def _noisy_but_well(teller: Teller) -> Iterator[Fact]:
    """Vierlanden: newsletters, absence notes, copies for information, bounces. None of it is a touch."""
    yield from teller.ordinary(PACES["B"])
    assistant, owner = teller.customer.contacts[3], teller.owner
    for week in range(50):
        day = date(2025, 3, 3) + timedelta(weeks=week)
        letter = teller.mail(
            moment(day, "06:15"), assistant, owner, "Vierlanden news", "this is our weekly newsletter."
        )
        yield replace(letter, automatic="newsletter", wants_answer=False)
    for month in range(1, 13):
        day = date(2025, month, 12)
        away = teller.mail(moment(day, "12:00"), assistant, owner, "Out of office", "I am away until Monday.")
        yield replace(away, automatic="out_of_office", wants_answer=False)
        # to somebody else; their assistant is only copied
        copied = teller.mail(moment(day, "14:00"), owner, FORWARDER, "Pallets for Vierlanden", "the pallets are ready.")
        yield replace(copied, cc=(assistant,))


def _forgotten(teller: Teller) -> Iterator[Fact]:
    """Alte Mühle: nothing since 20 October 2025. Overdue as soon as its history is complete."""
    pace = replace(PACES["C"], last_exchange=date(2025, 10, 20), last_ticket=date(2025, 9, 1))
    return teller.ordinary(replace(pace, order=90, last_order=date(2025, 7, 14)))


def _many_tickets_always(teller: Teller) -> Iterator[Fact]:
    """Fjordline: five or six tickets in any 30 days. Above the threshold, but it is how they are."""
    yield from teller.ordinary(replace(PACES["key"], ticket=None, last_exchange=date(2026, 2, 26)))
    for step in count():
        day = date(2025, 1, 6) + timedelta(days=step * 11 // 2)
        if day > date(2026, 2, 26):
            return
        yield from teller.ticket(moment(day, "13:30"), reopened=step % 9 == 0, commented=False)


def _onboarding(teller: Teller) -> Iterator[Fact]:
    """Brandung: a customer since January, still being onboarded: a touch every few days."""
    for day in range(0, 50, 4):
        yield from teller.exchange(date(2026, 1, 7) + timedelta(days=day))
    yield from teller.asked_and_answered(moment(date(2026, 2, 27), "11:10"), teller.customer.contacts[0])
    yield from teller.order(moment(date(2026, 1, 28), "10:00"))


def _contract_falls_due(teller: Teller) -> Iterator[Fact]:
    """Rheinwerk: the service contract of last April falls due at the end of March; notice was possible in 2025."""
    yield from teller.ordinary(PACES["key"])
    yield teller.contract(
        moment(date(2025, 3, 24), "15:00"), recurring=Decimal(48_000), starts_on=date(2025, 4, 1),
        due_on=date(2026, 3, 31), notice_on=date(2025, 12, 31),
    )  # fmt: skip


def _writes_for_help(teller: Teller) -> Iterator[Fact]:
    """Elbmetall: asks for help by mail and by phone instead of opening tickets; both count as support requests."""
    yield from teller.ordinary(PACES["B"])
    contact = teller.customer.contacts[1]
    asked = teller.mail(
        moment(date(2026, 2, 10), "09:15"), contact, Person("Support", "support@brightwell.example"),
        "Support request: gauge shows nothing", "our surface gauge shows nothing since this morning. Can you help?",
        touch="support",
    )  # fmt: skip
    yield replace(asked, mailboxes=("mail-support",))
    yield teller.mail(
        moment(date(2026, 2, 10), "10:45"), teller.owner, contact, f"Re: {asked.subject}",
        "please take the battery out for a minute. That usually does it.", thread=(asked.message_id,), touch="support",
    )  # fmt: skip
    rang = teller.call(moment(date(2026, 2, 12), "13:40"), contact, inbound=True, talked=260)
    yield replace(rang, tags=("support",), touch="support")


def _mail_to_two_customers(company: Company) -> Iterator[Fact]:
    """Clara Neumann brings people of two customers together: one mail, a touch of both."""
    clara = company.colleague("clara")
    yield Mail(
        at=moment(date(2026, 2, 18), "16:05"),
        told=IMPORTED_AT,
        message_id="<two-customers.1@brightwell.example>",
        sender=clara,
        to=(company.contact("rheinwerk-2"), company.contact("lindenhof-1")),
        subject="You should meet",
        body=words.letter("both", "you work on the same thing from two ends. I leave you to it.", clara.name),
        mailboxes=("mail-clara",),
    )


def _strangers(company: Company) -> Iterator[Fact]:
    """Mail and a call from people whom nobody knows."""
    anna, david = company.colleague("anna"), company.colleague("david")
    for number, (day, stranger, to) in enumerate(
        (
            (date(2025, 9, 4), RECRUITER, anna),
            (date(2026, 1, 15), RECRUITER, david),
            (date(2026, 2, 11), STUDENT, anna),
        ),
        1,
    ):
        yield Mail(
            at=moment(day, "10:00"),
            told=IMPORTED_AT,
            message_id=f"<stranger.{number}@{stranger.address.partition('@')[2]}>",
            sender=stranger,
            to=(to,),
            subject="A question",
            body=words.letter(to.first_name, "may I ask you something?", stranger.name),
            mailboxes=(f"mail-{to.key}",),
        )
    yield Call(
        at=moment(date(2026, 2, 12), "15:20"), told=IMPORTED_AT, number="990001", inbound=True, other=UNKNOWN_CALLER,
        colleague=david, rang_seconds=9, talked_seconds=74,
    )  # fmt: skip


_STORIES = {
    "nordlicht": _goes_quiet,
    "hansepumpen": _storm_gathers,
    "lindenhof": _orders_like_clockwork,
    "vierlanden": _noisy_but_well,
    "muehle": _forgotten,
    "fjordline": _many_tickets_always,
    "brandung": _onboarding,
    "rheinwerk": _contract_falls_due,
    "elbmetall": _writes_for_help,
}
