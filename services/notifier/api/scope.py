"""What endpoints work with: the tables, and transactions in which a caller sees what is theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import asyncpg

from services.notifier.domain.ports import (
    AccountTables,
    AlertTables,
    DeliveryLog,
    DestinationTables,
    RuleTables,
    Taking,
)
from services.runtime.auth import Caller, TokenVerifier
from services.runtime.clock import Clock
from services.runtime.freshness import Freshness
from services.runtime.postgres import scoped


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables of the notifier."""

    accounts: AccountTables
    alerts: AlertTables
    taking: Taking
    rules: RuleTables
    deliveries: DeliveryLog
    destinations: DestinationTables


@dataclass(frozen=True, slots=True)
class Scope:
    """`pool` writes as the worker, `api_pool` reads under row-level security; the clock says what today is."""

    verifier: TokenVerifier
    pool: asyncpg.Pool
    api_pool: asyncpg.Pool
    clock: Clock
    zone: ZoneInfo
    fresh: Freshness

    @asynccontextmanager
    async def reading(self, caller: Caller) -> AsyncIterator[asyncpg.Connection]:
        """A transaction under row-level security; 503 when what we know of owners is too old."""
        await self.fresh.require()
        today = self.clock.now().astimezone(self.zone).date().isoformat()
        async with scoped(self.api_pool, caller, readonly=True) as connection:
            # Intervals of owners and deputies are days of the company, by its clock.
            await connection.execute("select set_config('tenure.today', $1, true)", today)
            yield connection
