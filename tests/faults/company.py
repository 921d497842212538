"""The company of a seeded history: people, customers, contacts, strangers, and the sources that ingest is given."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Literal

from tests.faults.history import Company, Contact, Customer, Person, Sizes

OWN_DOMAIN = "meridian.example"
HUB = "hub:meridian"
DESK = "zendesk:meridian"
BRANCH = "hub:branch"
TIME_ZONE = "Europe/Berlin"
CURRENCY = "EUR"
OPERATOR = "olga.petrov"
PUBLISHER = "/erp"
INBOUND_SYSTEM = f"inbound:{PUBLISHER}"
EPOCH_DAY = date(2025, 1, 1)

CUSTOMERS: dict[Sizes, int] = {"small": 10, "medium": 16, "large": 60}
_NAMES = (
    "Alder Birch Cedar Dogwood Elm Fir Ginkgo Hazel Ivy Juniper Karri Larch Maple Nut Oak Pine Quince Rowan Ash Yew"
)
_FIRST = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ida Jon Kim Leo Mia Nia Oto Pia Quin Rui Sol Tia"
_LAST = (
    "Abel Bauer Costa Diaz Evans Frey Gomes Horn Ito Jansen Klein Lopes Moor Nagy Olsen Pires Roth Silva Torres Vogel"
)


def draw_company(random: Random, size: Sizes) -> Company:
    """Draw people, customers and contacts."""
    people = _people()
    managers = [person for person in people if person.role == "manager"]
    customers = tuple(_customer(random, number, managers) for number in range(CUSTOMERS[size]))
    contacts = tuple(contact for customer in customers for contact in _contacts(random, customer))
    return Company(own_domain=OWN_DOMAIN, people=people, customers=customers, contacts=contacts, operator=OPERATOR)


def _people() -> tuple[Person, ...]:
    def one(email: str, name: str, role: Literal["manager", "lead", "operator"], team: str) -> Person:
        box = f"mail-{email.partition('.')[0]}"
        return Person(email=f"{email}@{OWN_DOMAIN}", name=name, role=role, team=team, mailbox=box)

    return (
        one("anna.maas", "Anna Maas", "manager", "north"),
        one("bela.kiss", "Bela Kiss", "manager", "north"),
        one("carl.nord", "Carl Nord", "manager", "south"),
        one("dora.lind", "Dora Lind", "lead", "north"),
        one("emil.sand", "Emil Sand", "lead", "south"),
        one(OPERATOR, "Olga Petrov", "operator", "north"),
    )


def _customer(random: Random, number: int, managers: Sequence[Person]) -> Customer:
    word = _NAMES.split()[number % 20].lower()
    key = f"K{number:03d}"
    named = random.random() < 0.4
    # Some are known by nothing but their people.
    domains = () if number % 7 == 6 else (f"{word}{number}.example",)
    return Customer(
        key=key,
        name=f"{word.title()} {number}",
        account_class=random.choice("ABC"),  # type: ignore[arg-type]
        owner=random.choice(managers).email,
        owner_since=EPOCH_DAY,
        created_at=datetime(2025, 1, 1, 8, tzinfo=UTC),
        key_since=EPOCH_DAY if named else None,
        domains=domains,
        organisations=(f"{HUB}:org-{number}", f"{DESK}:8{number:03d}") if number % 3 else (),
    )


def _contacts(random: Random, customer: Customer) -> Iterable[Contact]:
    number = int(customer.key[1:])
    for place in range(random.randint(1, 3)):
        first = _FIRST.split()[(number + place * 7) % 20].lower()
        last = _LAST.split()[(number * 3 + place) % 20].lower()
        domain = customer.domains[0] if customer.domains and random.random() < 0.85 else "gmail.com"
        native = f"{number}-{place}"
        yield Contact(
            key=f"C{native}",
            account=customer.key,
            name=f"{first.title()} {last.title()}",
            addresses=(f"{first}.{last}.{native}@{domain}",),
            phones=(f"+4930{1000000 + number * 100 + place}",),
            persons=(f"{HUB}:person-{native}", f"{DESK}:7{number:03d}{place}") if random.random() < 0.7 else (),
            roles=("decision_maker", "champion", "user")[place : place + 1],
        )


def strangers(size: Sizes) -> list[tuple[str, str]]:
    """(address, phone) of people whom nobody knows at first; some are claimed by edits."""
    count = {"small": 4, "medium": 8, "large": 24}[size]
    return [
        (f"guest{number}@{'gmail.com' if number % 3 == 0 else f'unknown{number}.example'}", f"+4989{5000000 + number}")
        for number in range(count)
    ]


def sources_toml(company: Company) -> str:
    """What ingest reads. Two hubs sign their own reports, mailboxes push, imports speak for either hub."""
    boxes = "".join(
        f"""
[sources.{person.mailbox}]
provider = "mail"
mailbox = "{person.email}"
secret_files = ["mail.secret"]
"""
        for person in company.people
    )
    return f"""\
own_domains = ["{OWN_DOMAIN}"]
default_region = "DE"

[sources.hub]
provider = "cloudevents"
system = "{HUB}"
secret_files = ["hub.secret"]

[sources.branch]
provider = "cloudevents"
system = "{BRANCH}"
secret_files = ["branch.secret"]

[sources.desk]
provider = "zendesk"
system = "{DESK}"
secret_files = ["desk.secret"]

[sources.erp]
provider = "inbound"

[sources.history]
provider = "import"
system = "{HUB}"
{boxes}"""


SECRET_FILES = ("hub.secret", "branch.secret", "mail.secret", "desk.secret")


def csv_of(table: str, company: Company) -> bytes:
    """`users`, `accounts` or `contacts` as they are imported."""
    rows = {"users": _user_rows, "accounts": _account_rows, "contacts": _contact_rows}[table](company)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _user_rows(company: Company) -> list[dict[str, str]]:
    return [
        {
            "email": person.email,
            "name": person.name,
            "role": person.role,
            "team": person.team,
            "issuer": "https://login.tenure.invalid",
            "subject": person.subject,
            "time_zone": TIME_ZONE,
            "mailboxes": person.mailbox,
        }
        for person in company.people
    ]


def _account_rows(company: Company) -> list[dict[str, str]]:
    return [
        {
            "account": customer.key,
            "name": customer.name,
            "class": customer.account_class,
            "key_since": str(customer.key_since or ""),
            "stage": customer.stage or "",
            "stage_since": str(customer.stage_since or ""),
            "owner_email": customer.owner,
            "owner_since": str(customer.owner_since),
            "team_emails": "|".join(customer.team),
            "created_at": customer.created_at.isoformat(),
            "domains": "|".join(customer.domains),
            "organisations": "|".join(customer.organisations),
        }
        for customer in company.customers
    ]


def _contact_rows(company: Company) -> list[dict[str, str]]:
    return [
        {
            "contact": contact.key,
            "account": contact.account,
            "name": contact.name,
            "addresses": "|".join(contact.addresses),
            "phones": "|".join(contact.phones),
            "persons": "|".join(contact.persons),
            "buying_centre": "purchasing" if contact.roles else "",
            "roles": "|".join(contact.roles),
            "role_since": str(EPOCH_DAY) if contact.roles else "",
        }
        for contact in company.contacts
    ]


def day_after(day: date, days: int) -> date:
    """The day so many days later."""
    return day + timedelta(days=days)
