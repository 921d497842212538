"""Where a storyline plays: at which customer, with whom, told by whom, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.faults.drafts import Draft, Route, party
from tests.faults.history import Company, Contact, Customer, Person

TEXTS = ("Please have a look and tell me.", "Here is what we talked about.", "When can you deliver it?")


@dataclass
class Scene:
    """Where a storyline plays. `takes` moments so that no two are the same."""

    random: Random
    company: Company
    strangers: Sequence[tuple[str, str]]
    number: int
    at: datetime
    route: Route
    taken: set[datetime] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.customer: Customer = self.random.choice(self.company.customers)
        own = [contact for contact in self.company.contacts if contact.account == self.customer.key]
        self.contact: Contact = self.random.choice(own)
        self.unknown = self.random.random() < 0.12
        self.stranger = self.random.choice(self.strangers)
        self.manager: Person = next(person for person in self.company.people if person.email == self.customer.owner)
        self.address = self.stranger[0] if self.unknown else self.contact.addresses[0]
        self.phone = self.stranger[1] if self.unknown else self.contact.phones[0]

    def moment(self, hours: float = 0) -> datetime:
        """Move on by about `hours` and return a second that nothing else has."""
        self.at += timedelta(seconds=int(hours * 3600 * self.random.uniform(0.5, 1.5)) + 1)
        while self.at in self.taken:
            self.at += timedelta(seconds=1)
        self.taken.add(self.at)
        return self.at

    def native(self, word: str) -> str:
        """A native id."""
        return f"{word}-{self.number}"

    def sequence(self) -> int | None:
        """Some sources number what they say."""
        return None

    def draft(self, type_: str, subject: str, at: datetime, data: Mapping[str, Any], step: object = "") -> Draft:
        """One report about `subject`."""
        word = type_.split(".")[-2]
        return Draft(
            type=type_, subject=subject, report=f"{subject}/{word}{step}", at=at, data=dict(data), route=self.route
        )

    def theirs(self, role: str, *, business: bool = False) -> dict[str, Any]:
        """The customer's somebody as this storyline names him or her."""
        if self.unknown:
            return party(role, address=self.address)
        person = self.contact.persons[0] if self.contact.persons and self.random.random() < 0.5 else ""
        organisation = ""
        if business and self.customer.organisations and self.random.random() < 0.6:
            organisation = self.customer.organisations[0]
        return party(role, address=self.address, person=person, organisation=organisation)

    def another(self) -> Contact:
        """Somebody of another customer."""
        others = [contact for contact in self.company.contacts if contact.account != self.customer.key]
        return self.random.choice(others)

    def ours(self, role: str) -> dict[str, Any]:
        """The manager."""
        return party(role, address=self.manager.email)
