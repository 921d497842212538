"""Who is who at Brightwell and its customers, read from the CSV files that are imported."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
OWN_DOMAIN = "brightwell.example"
TIME_ZONE = "Europe/Berlin"
CURRENCY = "EUR"

DESK = "zendesk:brightwell"
PHONES = "aircall:brightwell"
SHOP = "shopify:brightwell"
CRM = "crm:brightwell"
OWN_NUMBER = "+493023125999"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes or calls. `account` None: somebody of ours, or a stranger to us."""

    name: str
    address: str
    phone: str | None = None
    key: str | None = None
    account: str | None = None
    desk_id: str | None = None
    """The number under which the ticket desk knows them."""
    shop_id: str | None = None
    """The number under which the shop knows them."""

    @property
    def ours(self) -> bool:
        """Whether this is one of Brightwell's own people."""
        return self.address.endswith("@" + OWN_DOMAIN)

    @property
    def first_name(self) -> str:
        """The name by which a mail greets them."""
        return self.name.split()[0]


@dataclass(frozen=True, slots=True)
class Customer:
    """One row of accounts.csv, as the story needs it."""

    key: str
    name: str
    account_class: str
    is_key: bool
    onboarding: bool
    owner: str
    """First name of the manager, in lower case: mail-<owner> is their mailbox."""
    domain: str
    organisation: str
    """The number under which the ticket desk knows the company."""
    number: int
    """Place in accounts.csv: gives tickets, orders and calls their own range of numbers."""
    contacts: tuple[Person, ...]

    @property
    def cadence(self) -> str:
        """Which stale-touch thresholds hold: onboarding, key, B or C (an A that nobody named key has B's)."""
        if self.onboarding:
            return "onboarding"
        if self.is_key:
            return "key"
        return "B" if self.account_class == "A" else self.account_class


@dataclass(frozen=True, slots=True)
class Company:
    """Everybody."""

    customers: tuple[Customer, ...]
    people: tuple[Person, ...]
    """Brightwell's own."""

    def customer(self, key: str) -> Customer:
        """The customer with this external key; KeyError names one that is not in accounts.csv."""
        for customer in self.customers:
            if customer.key == key:
                return customer
        raise KeyError(key)

    def colleague(self, first_name: str) -> Person:
        """Brightwell's own person with this first name, in lower case."""
        for person in self.people:
            if person.key == first_name:
                return person
        raise KeyError(first_name)

    def contact(self, key: str) -> Person:
        """The contact with this external key, such as nordlicht-2."""
        for customer in self.customers:
            for person in customer.contacts:
                if person.key == key:
                    return person
        raise KeyError(key)


def csv_bytes(name: str) -> bytes:
    """One of the three import files: users, accounts or contacts."""
    return (FOLDER / f"{name}.csv").read_bytes()


@cache
def company() -> Company:
    """Read the three files; they are the one source of who is who."""
    people = tuple(
        Person(name=row["name"], address=row["email"], key=row["email"].split(".")[0]) for row in _rows("users")
    )
    contacts = [_contact(row) for row in _rows("contacts")]
    customers = tuple(
        _customer(number, row, tuple(contact for contact in contacts if contact.account == row["account"]))
        for number, row in enumerate(_rows("accounts"), start=1)
    )
    return Company(customers, people)


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(csv_bytes(name).decode().splitlines()))


def _native(listed: str, system: str) -> str | None:
    """The number behind `system:` in a list such as zendesk:brightwell:50001|shopify:brightwell:90001."""
    for item in listed.split("|"):
        if item.startswith(system + ":"):
            return item.removeprefix(system + ":")
    return None


def _contact(row: dict[str, str]) -> Person:
    return Person(
        name=row["name"],
        address=row["addresses"].split("|")[0],
        phone=row["phones"].split("|")[0] or None,
        key=row["contact"],
        account=row["account"],
        desk_id=_native(row["persons"], DESK),
        shop_id=_native(row["persons"], SHOP),
    )


def _customer(number: int, row: dict[str, str], contacts: tuple[Person, ...]) -> Customer:
    return Customer(
        key=row["account"],
        name=row["name"],
        account_class=row["class"],
        is_key=bool(row["key_since"]),
        onboarding=row["stage"] == "onboarding",
        owner=row["owner_email"].split(".")[0],
        domain=row["domains"].split("|")[0],
        organisation=_native(row["organisations"], DESK) or "",
        number=number,
        contacts=contacts,
    )
