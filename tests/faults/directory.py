"""Who is who on which day: every statement in the order in which it was made, asked again for each day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from tests.faults.company import TIME_ZONE
from tests.faults.history import Company
from tests.faults.said import (
    AttributionSaid,
    ClassSaid,
    KeySaid,
    LinkSaid,
    Merged,
    OwnerSaid,
    ServingSaid,
    Statement,
    TouchClassSaid,
)

T = TypeVar("T")
ZONE = ZoneInfo(TIME_ZONE)


def day_of(moment: datetime) -> date:
    """The company's day."""
    return moment.astimezone(ZONE).date()


@dataclass(frozen=True, slots=True)
class Named:
    """What an identity names: an account or a contact."""

    account: str | None = None
    contact: str | None = None


class Directory:
    """The company as imported, and everything that was said about it since."""

    def __init__(self, company: Company, statements: Iterable[Statement]) -> None:
        self.company = company
        self._links: dict[str, list[LinkSaid]] = defaultdict(list)
        self._servings: dict[str, list[ServingSaid]] = defaultdict(list)
        self._owners: dict[str, list[OwnerSaid]] = defaultdict(list)
        self._keys: dict[str, list[KeySaid]] = defaultdict(list)
        self.classes: dict[str, str] = {}
        self.hand_accounts: dict[str, tuple[str, ...] | None] = {}
        self.hand_classes: dict[str, str] = {}
        self.alias: dict[str, str] = {}
        for statement in (*_imported(company), *statements):
            self._hear(statement)

    def _hear(self, said: Statement) -> None:  # noqa: C901 - one case for each thing that can be said
        # Whatever is said of a merged account is said of the one that it lives on in, and stays with that.
        match said:
            case LinkSaid() | ServingSaid() | OwnerSaid() | KeySaid() | ClassSaid() if said.account is not None:
                said = replace(said, account=self.account(said.account))
        match said:
            case LinkSaid():
                self._links[f"{said.kind}:{said.value}"].append(said)
            case ServingSaid():
                self._servings[said.contact].append(said)
            case OwnerSaid():
                self._owners[said.account].append(said)
            case KeySaid():
                self._keys[said.account].append(said)
            case ClassSaid():
                self.classes[said.account] = said.account_class
            case AttributionSaid():
                named = None if said.accounts is None else tuple(self.account(each) for each in said.accounts)
                self.hand_accounts[said.interaction] = named
            case TouchClassSaid():
                self.hand_classes[said.interaction] = said.touch_class
            case Merged():
                if said.undone:
                    self.alias.pop(said.account, None)
                else:
                    self.alias[said.account] = said.into

    def account(self, key: str) -> str:
        """What an account is called now: a merged one by the one that it lives on in."""
        while key in self.alias:
            key = self.alias[key]
        return key

    def named(self, key: str, day: date) -> Named | None:
        """What `kind:value` names on `day`."""
        found: Named | None = None
        for said in self._links.get(key, ()):
            target = Named(said.account, said.contact)
            begun = said.since is None or said.since <= day
            match said.how:
                case "assign":
                    found = target if begun and found is None else found
                case "correction":
                    found = target if begun else None
                case "move":
                    found = target if begun else found
                case "end":
                    found = None if begun and found == target else found
                case "erase":
                    found = None if found == target else found
        return found

    def where(self, contact: str, day: date) -> str | None:
        """The account at which a contact is on `day`."""
        found: str | None = None
        for said in self._servings.get(contact, ()):
            begun = said.since is None or said.since <= day
            if said.how == "correction":
                found = said.account if begun else None
            elif begun:
                found = said.account
        return None if found is None else self.account(found)

    def account_of(self, named: Named, day: date) -> str | None:
        """The account that an identity stands for."""
        if named.account is not None:
            return self.account(named.account)
        return self.where(named.contact, day) if named.contact is not None else None

    def owner(self, account: str, day: date) -> str | None:
        """Who looks after an account on `day`: what was said last about that day."""
        spoken = [said.owner for said in self._owners.get(account, ()) if said.since <= day]
        return spoken[-1] if spoken else self._of_merged(account, lambda merged: self.owner(merged, day))

    def is_key(self, account: str, day: date) -> bool:
        """Whether it is named key on `day`."""
        return bool(self._named_key(account, day))

    def _named_key(self, account: str, day: date) -> bool | None:
        spoken = [said.named for said in self._keys.get(account, ()) if said.since <= day]
        return spoken[-1] if spoken else self._of_merged(account, lambda merged: self._named_key(merged, day))

    def _of_merged(self, account: str, ask: Callable[[str], T | None]) -> T | None:
        """Where an account says nothing, those that were merged into it speak, the first one first."""
        answers = (ask(merged) for merged, into in self.alias.items() if into == account)
        return next((answer for answer in answers if answer is not None), None)


def _imported(company: Company) -> Iterable[Statement]:
    for customer in company.customers:
        yield OwnerSaid(customer.key, customer.owner, customer.owner_since)
        yield ClassSaid(customer.key, customer.account_class)
        if customer.key_since:
            yield KeySaid(customer.key, named=True, since=customer.key_since)
        for kind, values in (("domain", customer.domains), ("organisation", customer.organisations)):
            for value in values:
                yield LinkSaid(kind, value, customer.key, None, "assign")
    for contact in company.contacts:
        yield ServingSaid(contact.key, contact.account, "new", None)
        for kind, values in (
            ("address", contact.addresses),
            ("phone", contact.phones),
            ("person", contact.persons),
        ):
            for value in values:
                yield LinkSaid(kind, value, None, contact.key, "assign")
