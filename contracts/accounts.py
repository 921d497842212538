"""Accounts, users and teams on `tenure.accounts`: whole states with dated intervals, compacted by key.

Days are days of the company's time zone; ownership changes at midnight.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.activity import Version
from contracts.values import Currency, Dated, Id, Instant, Line, Model, Name

AccountClass = Literal["A", "B", "C"]
Stage = Literal["prospect", "onboarding", "active", "at_risk", "renewing", "lost", "won_back"]
GroupRole = Literal[
    "decision_maker",
    "economic_buyer",
    "executive_sponsor",
    "champion",
    "influencer",
    "recommender",
    "technical_evaluator",
    "user",
    "procurement",
    "legal",
    "blocker",
    "point_of_contact",
]


class RoleInGroup(Model):
    """A role of a contact in one buying centre."""

    buying_centre: Line
    role: GroupRole


class AccountContact(Model):
    """Somebody at the customer. `name` is for the text of alerts; it never becomes a label, key or span attribute."""

    contact_id: Id
    name: Line
    roles: tuple[Dated[RoleInGroup], ...] = ()
    since: date
    until: date | None = None
    """The day from which the contact is no longer at this account."""


class TeamMember(Model):
    """A user who works on an account beside its owner."""

    user_id: Id
    role: Line


class Deputy(Model):
    """Who stands in for a user on given days: gets alerts and access."""

    user_id: Id
    for_user_id: Id
    since: date
    until: date | None = None


class Account(Model):
    """An account as it is.

    A merged account is published under its old id with `merged_into` and without owners, team, stages, parents and
    contacts: it is an alias of the account that stayed, which has taken over all of these. Every interaction that it
    had is withdrawn from it and said to the other, on `tenure.activity`, by a job; so its figures become empty and its
    alerts lose their causes without anybody doing anything for it. Merges of merges form chains. An account that is
    unmerged is published again without `merged_into`, with everything that it had.
    """

    TYPE: ClassVar[str] = "tenure.account.v1"

    account_id: Id
    version: Version
    name: Name
    created_at: Instant
    account_class: AccountClass = "C"
    currency: Currency | None = None
    history_complete_at: Instant | None = None
    """When the import of its history was declared finished; None: its rules sleep."""
    stages: tuple[Dated[Stage], ...] = ()
    key: tuple[Dated[bool], ...] = ()
    """Days on which it was named a key account."""
    owners: tuple[Dated[Id], ...] = ()
    team: tuple[Dated[TeamMember], ...] = ()
    parents: tuple[Dated[Id], ...] = ()
    contacts: tuple[AccountContact, ...] = ()
    merged_into: Id | None = None
    """The account for which this id is an alias from now on; it may itself be merged into another."""


class WorkingHours(Model):
    """Business time of a person: local hours on weekdays, holidays of a region left out."""

    time_zone: Name
    weekdays: Annotated[tuple[Annotated[int, Field(ge=0, le=6)], ...], Field(max_length=7)] = (0, 1, 2, 3, 4)
    """0 is Monday."""
    start_minute: Annotated[int, Field(ge=0, le=1440)] = 540
    end_minute: Annotated[int, Field(ge=0, le=1440)] = 1020
    holidays: Line | None = None
    """ISO 3166 country, with an optional subdivision: "DE" or "DE-BY"; None: no holidays."""


class User(Model):
    """Somebody of ours."""

    TYPE: ClassVar[str] = "tenure.user.v1"

    user_id: Id
    version: Version
    name: Line
    email: Line
    role: Literal["manager", "lead", "operator", "admin"]
    team_id: Id | None = None
    issuer: Line | None = None
    subject: Line | None = None
    """Of the OpenID Connect identity that is this user."""
    working_hours: WorkingHours
    mailboxes: tuple[Name, ...] = ()
    """Names of the mail and telephony sources that carry this user's own traffic: silence waits for their horizon."""
    deputies: tuple[Deputy, ...] = ()
    active: bool = True


class Team(Model):
    """A team and who leads it."""

    TYPE: ClassVar[str] = "tenure.team.v1"

    team_id: Id
    version: Version
    name: Line
    lead_id: Id | None = None
