"""What the handlers ask of the tables; `store` is one answer."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import asyncpg

from contracts.accounts import Account, Team, User
from services.metrics.domain.facts import Fact, RoleSpans
from services.metrics.domain.rhythm import Neighbours
from services.metrics.domain.state import AccountState, Item, Rhythm, Ticket, Touch, TouchKey
from services.metrics.domain.windows import Bucket

Connection = asyncpg.Connection
Buckets = dict[str, dict[date, Bucket]]
"""By account and day."""


class FactTable(Protocol):
    """Slim rows. Accounts are locked by the caller."""

    async def load(self, connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Fact]:
        """Return the rows of (account, interaction)."""
        ...

    async def versions(self, connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return the versions of (account, interaction)."""
        ...

    async def load_touches(
        self, connection: Connection, windows: Sequence[tuple[str, datetime, datetime]]
    ) -> dict[str, list[Fact]]:
        """Return touches from a moment on, and older questions answered from another on."""
        ...

    async def load_refunds(self, connection: Connection, orders: Sequence[tuple[str, str]]) -> list[Fact]:
        """Return the refunds of (account, order)."""
        ...

    async def save(self, connection: Connection, new: Sequence[Fact], known: Sequence[Fact]) -> None:
        """Insert new rows, replace known ones."""
        ...

    async def touches_of(self, connection: Connection, accounts: Sequence[str]) -> list[Fact]:
        """Return all touches of accounts."""
        ...

    async def last_touches(
        self, connection: Connection, wanted: Iterable[tuple[str, TouchKey, date]]
    ) -> list[tuple[str, TouchKey, Touch]]:
        """Return the last touch of each (account, key) on or before a day."""
        ...

    async def open_items(self, connection: Connection, ends: Mapping[str, datetime]) -> dict[str, list[Item]]:
        """Return what waits at the end of a day."""
        ...

    async def tickets(self, connection: Connection, horizon: Mapping[str, date]) -> dict[str, list[Ticket]]:
        """Return tickets opened or resolved after a day."""
        ...

    async def rhythms(self, connection: Connection, as_of: Mapping[str, date]) -> dict[str, Rhythm]:
        """Return the rhythm of orders up to a day, from scratch."""
        ...

    async def last_orders(self, connection: Connection, as_of: Mapping[str, date]) -> dict[str, tuple[datetime, str]]:
        """Return the last order up to a day."""
        ...

    async def first_moments(self, connection: Connection, accounts: Sequence[str]) -> dict[str, datetime]:
        """Return when the first interaction happened."""
        ...

    async def have_future(self, connection: Connection, accounts: Mapping[str, tuple[date, datetime]]) -> set[str]:
        """Return which accounts have facts after a day."""
        ...


class StateTable(Protocol):
    """Account states, whose rows are the accounts' locks, and day buckets."""

    async def lock(
        self, connection: Connection, accounts: Sequence[str], today: date, currency: str
    ) -> dict[str, AccountState]:
        """Lock accounts in order, creating what is missing."""
        ...

    async def lock_due(self, connection: Connection, today: date, limit: int, currency: str) -> dict[str, AccountState]:
        """Lock accounts that are due and that nobody else holds."""
        ...

    async def lock_after(
        self, connection: Connection, account: str, limit: int, currency: str
    ) -> dict[str, AccountState]:
        """Lock accounts that follow another by id."""
        ...

    async def count_due(self, connection: Connection, today: date) -> int:
        """Return how many accounts are due."""
        ...

    async def epoch(self, connection: Connection) -> int:
        """Return the epoch of versions."""
        ...

    async def save(self, connection: Connection, states: Iterable[AccountState]) -> None:
        """Write back locked states."""
        ...

    async def load_buckets(self, connection: Connection, days: Iterable[tuple[str, date]]) -> Buckets:
        """Return buckets of (account, day)."""
        ...

    async def order_days_around(
        self, connection: Connection, wanted: Sequence[tuple[str, date, date]]
    ) -> Mapping[str, Neighbours]:
        """Return the order days before and after days."""
        ...

    async def load_bucket_ranges(self, connection: Connection, after: Mapping[str, date]) -> Buckets:
        """Return all buckets after a day."""
        ...

    async def save_buckets(
        self,
        connection: Connection,
        new: Sequence[tuple[str, date, Bucket]],
        known: Sequence[tuple[str, date, Bucket]],
    ) -> None:
        """Insert new buckets, replace known ones."""
        ...

    async def next_changes(self, connection: Connection, as_of: Mapping[str, date]) -> dict[str, date]:
        """Return the first day on which a bucket enters or leaves a sum."""
        ...


class AccountTable(Protocol):
    """Copies of accounts, users and teams."""

    async def known(self, connection: Connection, accounts: Sequence[str]) -> dict[str, tuple[int, RoleSpans]]:
        """Return version and roles of the copies that we have."""
        ...

    async def save(self, connection: Connection, accounts: Sequence[Account]) -> list[date]:
        """Replace copies; return the days whose credit changed."""
        ...

    async def save_users(self, connection: Connection, users: Sequence[User]) -> list[date]:
        """Replace older copies; return the days whose roll-ups changed."""
        ...

    async def save_teams(self, connection: Connection, teams: Sequence[Team]) -> None:
        """Replace older copies."""
        ...


class RollUpTable(Protocol):
    """Roll-ups and the notes of dirty days."""

    async def mark(self, connection: Connection, days: Collection[date]) -> None:
        """Note days."""
        ...

    async def hold_off(self, connection: Connection) -> None:
        """Let nobody compute until the transaction ends."""
        ...

    async def dirty(self, connection: Connection) -> int:
        """Return how many notes wait."""
        ...

    async def take_dirty(self, connection: Connection) -> list[date]:
        """Take notes away and return their days."""
        ...

    async def recompute(self, connection: Connection, days: Collection[date]) -> None:
        """Compute the roll-ups of days."""
        ...


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of metrics, by family."""

    facts: FactTable
    states: StateTable
    accounts: AccountTable
    rollups: RollUpTable
