"""What the API asks of the tables; `store.reading` is one answer."""

from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

import asyncpg

from services.metrics.domain.days import CompanyDays
from services.metrics.domain.scope import EvidenceItem, Rates, Scope
from services.metrics.domain.state import AccountState, Hours
from services.metrics.domain.windows import Bucket


class ReadTable(Protocol):
    """What the API asks of the tables, in a transaction that carries the caller's scope."""

    async def set_today(self, connection: asyncpg.Connection, today: date) -> None:
        """Tell scope which day it is."""
        ...

    async def survivor(self, connection: asyncpg.Connection, account_id: str) -> str:
        """Return the account that another was merged into, else itself."""
        ...

    async def visible(self, connection: asyncpg.Connection, account_id: str) -> bool:
        """Say whether the caller may see an account."""
        ...

    async def account_as_of(
        self, connection: asyncpg.Connection, account_id: str, day: date, days: CompanyDays, currency: str
    ) -> AccountState | None:
        """Return an account's state as of a day; None: not visible."""
        ...

    async def has_money_beside(self, connection: asyncpg.Connection, account_id: str, day: date, currency: str) -> bool:
        """Say whether an account has days with money in another currency."""
        ...

    async def money_days(self, connection: asyncpg.Connection, account_id: str, day: date) -> list[tuple[date, Bucket]]:
        """Return an account's days with money."""
        ...

    async def may_see(self, connection: asyncpg.Connection, scope: Scope) -> bool:
        """Say whether the caller may see a roll-up that exists."""
        ...

    async def roll_up(self, connection: asyncpg.Connection, scope: Scope, day: date) -> list[tuple[date, Bucket]]:
        """Return a roll-up's days."""
        ...

    async def scope_hours(self, connection: asyncpg.Connection, scope: Scope, day: date) -> list[Hours | None]:
        """Return a roll-up's times to resolution."""
        ...

    async def scope_repeat_rates(self, connection: asyncpg.Connection, scope: Scope, day: date) -> list[Decimal | None]:
        """Return a roll-up's repeat-purchase rates."""
        ...

    async def evidence(
        self,
        connection: asyncpg.Connection,
        account_id: str,
        kpi: str,
        *,
        span: tuple[date, date],
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> tuple[int, list[EvidenceItem]]:
        """Return how many interactions are behind a value, and a page of them."""
        ...

    async def rates(self, connection: asyncpg.Connection) -> Rates:
        """Return the rates of each currency."""
        ...


class RateTable(Protocol):
    """Rates, edited by admins."""

    async def save_rate(self, connection: asyncpg.Connection, currency: str, since: date, rate: Decimal) -> None:
        """Set a rate."""
        ...

    async def delete_rate(self, connection: asyncpg.Connection, currency: str, since: date) -> bool:
        """Remove a rate; say whether there was one."""
        ...
