"""What a seeded history is made of, what was told of it, what must come of it, and what is wrong.

`generate(seed, size)` gives a frozen `History`; a `Player` sends its actions to a running system and keeps as `Told`
exactly what the system accepted; `expect` folds what was told into `Expected`; a `Checker` compares and returns
`Violation`s. Accounts, contacts and users are named by their external keys and addresses: ids that Tenure gives are
never compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from contracts.events import Event
from tests.faults.said import Statement

Sizes = Literal["small", "medium", "large"]

# ---------------------------------------------------------------------------------------------- the company


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody of ours; known by the address."""

    email: str
    name: str
    role: Literal["manager", "lead", "operator"]
    team: str
    mailbox: str
    """The source that carries this person's mail."""

    @property
    def subject(self) -> str:
        """Of the person's token."""
        return self.email.partition("@")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """An account as it is imported; known by `key`."""

    key: str
    name: str
    account_class: Literal["A", "B", "C"]
    owner: str
    owner_since: date
    created_at: datetime
    key_since: date | None = None
    stage: str | None = None
    stage_since: date | None = None
    team: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    parent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Somebody at a customer as imported; known by `key`."""

    key: str
    account: str
    name: str
    addresses: tuple[str, ...] = ()
    phones: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """Everything that is imported before the first report."""

    own_domain: str
    people: tuple[Person, ...]
    customers: tuple[Customer, ...]
    contacts: tuple[Contact, ...]
    operator: str
    """Subject of the token under which imports and edits are made."""


# ---------------------------------------------------------------------------------------------- what is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One request to a door of ingest."""

    name: str
    """Unique within the history."""
    source: str
    path: str
    media: str
    body: bytes
    signature: Literal["standard", "bearer", "zendesk", "shopify", "token", "forged"]
    secret_file: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    events: tuple[Event, ...] = ()
    """What it reports, exactly as it must reach the ledger (where nothing greater was reported)."""
    refused: int | None = None
    """The status with which the door must refuse it; None: it must be taken."""
    partly: bool = False
    """Beside what it reports it holds something that the door must refuse, and nothing else."""
    unmapped: bool = False
    """Authentic, but nobody can map it: a dead letter of accounts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One record that somebody puts on a topic by himself: `tenure.inbound`, or poison anywhere."""

    name: str
    topic: str
    """Logical name."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    events: tuple[Event, ...] = ()
    dead_in: tuple[str, ...] = ()
    """Services that must keep it as a dead letter; empty: it is good."""
    poison: str = ""
    """What is wrong with it, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One call of the accounts API. `said` is what it means for the oracle."""

    name: str
    method: Literal["POST", "PATCH", "DELETE"]
    path: str
    body: Mapping[str, Any] | None
    said: tuple[Statement, ...]
    done_when: tuple[int, ...] = ()
    """Statuses which, when the call is repeated after an indeterminate answer, say that the first one did it."""
    not_yet: tuple[int, ...] = ()
    """Statuses that say that what the edit is about has not come so far: it is asked again."""


Action = Delivery | Publication | Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens at one reading of the clock. Drained between steps unless a nemesis wants otherwise."""

    number: int
    moment: datetime
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that will be told, in order. Pure: the same seed and size, the same history."""

    seed: int
    size: Sizes
    company: Company
    begins_at: datetime
    """The clock when the company is imported."""
    steps: tuple[Step, ...]
    sources_toml: str
    secret_files: tuple[str, ...]

    @property
    def reports(self) -> int:
        """How many reports are sent, repetitions included."""
        return sum(len(action.events) for step in self.steps for action in step.actions if not isinstance(action, Edit))


# ---------------------------------------------------------------------------------------------- what was told


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the broker put a record."""

    topic: str
    """Logical name."""
    partition: int
    offset: int


@dataclass(slots=True)
class Told:
    """Exactly what the system accepted, kept by the player; the oracle knows nothing else."""

    deliveries: list[Delivery] = field(default_factory=list)
    """Answered 2xx, in the order of the answers, repetitions included."""
    publications: list[tuple[Publication, Placed]] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    """In the order in which they were made."""
    complete_at: datetime | None = None
    """The clock when history was declared complete: rules watch from then on."""
    answers: dict[str, int] = field(default_factory=dict)
    """By status (0: no answer) how often the doors gave it: what was refused and taken up again included."""

    @property
    def events(self) -> list[Event]:
        """Every accepted report, repetitions included."""
        told = [event for delivery in self.deliveries for event in delivery.events]
        return told + [event for publication, _ in self.publications for event in publication.events]


# ---------------------------------------------------------------------------------------------- what must come of it


@dataclass(frozen=True, slots=True)
class ExpectedReport:
    """One row of the ledger: which report won."""

    event_id: str
    interaction_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class ExpectedAttribution:
    """One interaction as one account (external key) must see it. None: not derived, not compared."""

    account: str
    interaction_id: str
    present: bool
    kind: str
    occurred_at: datetime
    touch_class: str | None = None
    contacts: frozenset[tuple[str, str]] = frozenset()
    """(contact's external key, role)."""
    ticket_id: str | None = None
    cc_only: bool = False
    conversation_id: str | None = None
    """The first interaction of its conversation."""


@dataclass(frozen=True, slots=True)
class ExpectedDeadLetter:
    """A record that one service must keep as a dead letter. `placed` None: known by its bytes only."""

    service: str
    topic: str
    value: bytes | None
    placed: Placed | None
    why: str


Scope = tuple[str, str]
"""("manager", address), ("team", name) or ("portfolio", "")."""
KpiKey = tuple[str, int, str | None]
"""KPI, window in days, currency."""


@dataclass(frozen=True, slots=True)
class ExpectedKpis:
    """One account's figures as of the end of a day: (value, previous)."""

    account: str
    as_of: date
    values: Mapping[KpiKey, tuple[Decimal | None, Decimal | None]]
    open_items: frozenset[tuple[str, str]]
    """(kind, interaction id)."""


@dataclass(frozen=True, slots=True)
class ExpectedAlert:
    """An alert that must stand open."""

    account: str
    rule: str
    severity: str
    """warn or alert; one that was worse keeps its severity."""
    subject: str = "account"
    """The interaction, where the alert is about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Everything that must be so once the system is drained at `moment`."""

    seed: int
    moment: datetime
    ledger: Mapping[str, ExpectedReport]
    """By event id."""
    accepted_by_source: Mapping[str, int]
    """Distinct reports, by the configured source of the winning one."""
    interactions: Mapping[str, tuple[bool, datetime]]
    """By interaction whether it stands, and when it was."""
    conversations: Mapping[str, frozenset[str]]
    """By interaction, all interactions of its conversation."""
    attributions: Mapping[tuple[str, str], ExpectedAttribution]
    """By (interaction id, account)."""
    unmatched: frozenset[str]
    """Interactions that concern nobody known."""
    dead_letters: tuple[ExpectedDeadLetter, ...]
    owners: Mapping[str, str]
    """By account (external key) the owner's address on the day of `moment`."""
    kpis: Mapping[str, ExpectedKpis] = field(default_factory=dict)
    """By account."""
    rollups: Mapping[tuple[Scope, date], Mapping[str, Decimal]] = field(default_factory=dict)
    """Per scope and day what is not nothing: counts by name, money by currency."""
    alerts: frozenset[ExpectedAlert] | None = None
    """That must stand; None: rules sleep."""
    allowed_alerts: frozenset[ExpectedAlert] = frozenset()
    """That may stand: the same and those whose cause is too old to open one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One promise that was not kept."""

    seed: int
    invariant: str
    """A short name, such as conservation or kpi."""
    subject: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.invariant}: {self.subject}: expected {self.expected}, found {self.found}"
