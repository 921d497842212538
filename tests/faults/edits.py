"""What people change over the accounts API while reports come in, and what each change means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from urllib.parse import quote

from tests.faults.history import Company, Contact, Edit
from tests.faults.said import (
    AttributionSaid,
    ClassSaid,
    KeySaid,
    LinkSaid,
    Merged,
    OwnerSaid,
    ServingSaid,
    TouchClassSaid,
)

_REPEATED = (404, 409)
_ALWAYS = date(1990, 1, 1)
_SORTS = (
    *("claim", "claim", "domain", "move", "correct", "identity", "identity"),
    *("owner", "key", "class", "hand", "touch", "merge", "merge"),
)


@dataclass(slots=True)
class Office:
    """Draws edits that are possible one after the other: no two fight over the same identity."""

    random: Random
    company: Company
    strangers: Sequence[tuple[str, str]]
    touched: set[str] = field(default_factory=set)
    merged: dict[str, str] = field(default_factory=dict)
    """By merged account the one that it was merged into."""
    number: int = 0

    def draw(self, now: datetime, touches: Sequence[str], others: Sequence[tuple[str, bool]]) -> Edit | None:
        """One edit. `touches` are interactions known to be touches, `others` any with whether several may have it."""
        self.number += 1
        name = f"edit{self.number}"
        day = now.date()
        choice = self.random.choice(_SORTS)
        drawn = {
            "claim": lambda: self._claim(name, day),
            "domain": lambda: self._domain(name, day),
            "move": lambda: self._move(name, day),
            "correct": lambda: self._correct(name),
            "identity": lambda: self._identity(name, day),
            "owner": lambda: self._account(name, day, "owner"),
            "key": lambda: self._account(name, day, "key"),
            "class": lambda: self._account(name, day, "class"),
            "hand": lambda: self._hand(name, others),
            "touch": lambda: self._touch(name, touches),
            "merge": lambda: self._merge(name),
        }[choice]()
        return next(iter(drawn), None)

    def _key(self) -> str:
        return self.random.choice(self.company.customers).key

    def _past(self, day: date) -> date:
        return day - timedelta(days=self.random.randint(0, 60))

    def _once(self, what: str) -> bool:
        if what in self.touched:
            return False
        self.touched.add(what)
        return True

    def _contact(self) -> Contact:
        return self.random.choice(self.company.contacts)

    def _claim(self, name: str, day: date) -> Iterator[Edit]:
        """Somebody unknown becomes a contact, since ever or since a day."""
        address, phone = self.random.choice(self.strangers)
        if not self._once(address):
            return
        since = self._past(day) if self.random.random() < 0.5 else None
        account, key = self._key(), f"N-{address.partition('@')[0]}"
        body = {"name": "Claimed Person", "key": key, "addresses": [address], "phones": [phone]}
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/accounts/key:{account}/contacts",
            body=body | ({"since": str(since)} if since else {}),
            said=(
                ServingSaid(key, account, "new", since),
                LinkSaid("address", address, None, key, "assign", since),
                LinkSaid("phone", phone, None, key, "assign", since),
            ),
            done_when=_REPEATED,
        )

    def _domain(self, name: str, day: date) -> Iterator[Edit]:
        """An unknown company's domain becomes an account's."""
        domain = self.random.choice(self.strangers)[0].partition("@")[2]
        if domain == "gmail.com" or not self._once(domain):
            return
        since = self._past(day) if self.random.random() < 0.5 else None
        account = self._key()
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/accounts/key:{account}/domains",
            body={"domain": domain} | ({"since": str(since)} if since else {}),
            said=(LinkSaid("domain", domain, account, None, "assign", since),),
        )

    def _move(self, name: str, day: date) -> Iterator[Edit]:
        """A contact changes accounts on a day."""
        contact, account, since = self._contact(), self._key(), self._past(day)
        if account == contact.account or not self._once(f"where {contact.key}"):
            return
        yield Edit(
            name=name,
            method="PATCH",
            path=f"/v1/contacts/key:{contact.key}",
            body={"account": f"key:{account}", "change": "move", "since": str(since)},
            said=(ServingSaid(contact.key, account, "move", since),),
        )

    def _correct(self, name: str) -> Iterator[Edit]:
        """A contact never was where we thought."""
        contact, account = self._contact(), self._key()
        if not self._once(f"where {contact.key}"):
            return
        yield Edit(
            name=name,
            method="PATCH",
            path=f"/v1/contacts/key:{contact.key}",
            body={"account": f"key:{account}", "change": "correction", "since": str(_ALWAYS)},
            said=(ServingSaid(contact.key, account, "correction", _ALWAYS),),
        )

    def _identity(self, name: str, day: date) -> Iterator[Edit]:
        """An address is given up, taken away, moved on from a day, or was never that person's."""
        holder, taker = self._contact(), self._contact()
        address = holder.addresses[0]
        if holder.key == taker.key or not self._once(address):
            return
        since = self._past(day)
        how = self.random.choice(("end", "erase", "move", "correction"))
        if how in {"end", "erase"}:
            until = f"&until={since}" if how == "end" else ""
            yield Edit(
                name=name,
                method="DELETE",
                path=f"/v1/contacts/key:{holder.key}/identities/address?value={quote(address, safe='')}{until}",
                body=None,
                said=(LinkSaid("address", address, None, holder.key, how, since if until else None),),  # type: ignore[arg-type]
                done_when=_REPEATED,
            )
            return
        body = {"kind": "address", "value": address, "change": how}
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/contacts/key:{taker.key}/identities",
            body=body | ({"since": str(since)} if how == "move" else {}),
            said=(LinkSaid("address", address, None, taker.key, how, since if how == "move" else None),),  # type: ignore[arg-type]
        )

    def _account(self, name: str, day: date, what: str) -> Iterator[Edit]:
        """Another owner, named key or no longer, another class."""
        account, since = self._key(), self._past(day)
        # The same day twice would say two things of one day.
        if what != "class" and not self._once(f"{what} {account} {since}"):
            return
        managers = [person.email for person in self.company.people if person.role == "manager"]
        if what == "owner":
            owner = self.random.choice(managers)
            body = {"owner": {"user": owner, "since": str(since)}}
            yield self._patch(name, account, body, OwnerSaid(account, owner, since))
        elif what == "key":
            named = self.random.random() < 0.5
            yield self._patch(
                name, account, {"key_named": {"named": named, "since": str(since)}}, KeySaid(account, named, since)
            )
        else:
            letter = self.random.choice("ABC")
            yield self._patch(name, account, {"account_class": letter}, ClassSaid(account, letter))  # type: ignore[arg-type]

    def _patch(self, name: str, account: str, body: Mapping[str, Any], said: OwnerSaid | KeySaid | ClassSaid) -> Edit:
        return Edit(name=name, method="PATCH", path=f"/v1/accounts/key:{account}", body=body, said=(said,))

    def _hand(self, name: str, others: Sequence[tuple[str, bool]]) -> Iterator[Edit]:
        """Somebody says whose an interaction is, that it is nobody's, or takes that back."""
        if not others:
            return
        interaction, several = self.random.choice(others)
        accounts: tuple[str, ...] | None = (self._key(),)
        chance = self.random.random()
        if chance < 0.2:
            accounts = ()
        elif chance < 0.35:
            accounts = None
        elif several and chance < 0.6:
            accounts = tuple(sorted({self._key(), self._key()}))
        stated = None if accounts is None else [f"key:{account}" for account in accounts]
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/interactions/{interaction}/attribution",
            body={"accounts": stated},
            said=(AttributionSaid(interaction, accounts),),
            not_yet=(404,),
        )

    def _touch(self, name: str, touches: Sequence[str]) -> Iterator[Edit]:
        """Somebody says how a touch is to be read."""
        if not touches:
            return
        interaction = self.random.choice(touches)
        letter = self.random.choice(("support", "billing", "strategic", "routine"))
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/interactions/{interaction}/touch-class",
            body={"touch_class": letter},
            said=(TouchClassSaid(interaction, letter),),
            not_yet=(404,),
        )

    def _merge(self, name: str) -> Iterator[Edit]:
        """Two accounts are one, or no longer."""
        if self.merged and self.random.random() < 0.4:
            account = self.random.choice(sorted(self.merged))
            into = self.merged.pop(account)
            yield Edit(
                name=name,
                method="POST",
                path=f"/v1/accounts/key:{account}/unmerge",
                body=None,
                said=(Merged(account, into, undone=True),),
            )
            return
        account, into = self._key(), self._key()
        if account in self.merged or into in self.merged or account == into:
            return
        self.merged[account] = into
        yield Edit(
            name=name,
            method="POST",
            path=f"/v1/accounts/key:{account}/merge",
            body={"into": f"key:{into}"},
            said=(Merged(account, into),),
        )
