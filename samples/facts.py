"""What happened, as the people of the story would tell it: neither a provider's payload nor one of Tenure's events.

Each fact knows when it happened (`at`) and when Tenure is told (`told`; history: the import). Payloads are made from
facts (`samples/history_lines.py`, `samples/webhooks.py`), and so is what the tests expect (`tests/e2e/oracle.py`): the
two never meet in between. All moments are aware.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from samples.company import Person

TouchClass = Literal["support", "billing", "strategic", "routine"]
Automatic = Literal["auto_reply", "out_of_office", "newsletter", "bounce", "calendar", "notification"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened."""

    at: datetime
    told: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail(Fact):
    """One mail, whoever saw it. `mailboxes` are the sources that report it: it stays one mail."""

    message_id: str
    """With its angle brackets."""
    sender: Person
    to: tuple[Person, ...]
    cc: tuple[Person, ...] = ()
    subject: str
    body: str
    mailboxes: tuple[str, ...]
    thread: tuple[str, ...] = ()
    """Message-IDs that it answers, the first of the thread first."""
    automatic: Automatic | None = None
    touch: TouchClass = "routine"
    wants_answer: bool = True

    @property
    def inbound(self) -> bool:
        """Whether it came to us."""
        return not self.sender.ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Fact):
    """One call; `talked` None: nobody answered."""

    number: str
    """The phone system's number of the call."""
    inbound: bool
    other: Person
    """Who calls us, or whom we call; a stranger has no account."""
    colleague: Person | None
    """Who of ours spoke, or called."""
    rang_seconds: int
    talked_seconds: int | None
    tags: tuple[str, ...] = ()
    touch: TouchClass = "routine"


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketStep(Fact):
    """One dated step in a ticket's life."""

    ticket: str
    step: Literal["opened", "updated", "resolved", "reopened", "closed"]
    audit: int
    """The desk's own running number: orders the steps."""
    requester: Person
    subject: str
    priority: Literal["low", "normal", "high", "urgent"]
    opened_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLine:
    """Part of an order; `amount` is the whole line's, net."""

    product: str
    quantity: int
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStep(Fact):
    """An order as it is from `at` on."""

    order: str
    step: Literal["placed", "changed", "cancelled"]
    placed_at: datetime
    buyer: Person
    lines: tuple[OrderLine, ...]

    @property
    def net(self) -> Decimal:
        """Without tax and shipping."""
        return sum((line.amount for line in self.lines), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(Fact):
    """Money given back."""

    refund: str
    order: str
    buyer: Person
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting(Fact):
    """A visit or video meeting."""

    number: str
    form: Literal["on_site", "remote", "business_review"]
    minutes: int
    guests: tuple[Person, ...]
    colleague: Person
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractStep(Fact):
    """One dated step in a contract's life."""

    contract: str
    account: str
    step: Literal["signed", "renewed"]
    signatory: Person
    recurring: Decimal
    starts_on: date
    due_on: date
    notice_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure(Fact):
    """Somebody left the customer."""

    number: str
    person: Person
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment(Fact):
    """A public comment on a ticket."""

    number: str
    ticket: str
    author: Person
    text: str
