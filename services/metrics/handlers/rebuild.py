"""What a rebuild does to the tables of metrics; how it reads and when, `services.runtime.rebuild` says.

While the new tables are filled, nobody asks what the figures of an account say: that is noted once for every account
when everything is in, and from then on with every change. So the tables can be compared while the live ones are held.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import asyncpg

from services.metrics.domain.days import CompanyDays
from services.metrics.domain.rebuild import Differences
from services.metrics.handlers.batch import Handlers
from services.metrics.handlers.loops import DAYS_AT_ONCE
from services.metrics.handlers.restate import Outlet, Restatement
from services.metrics.handlers.tables import RollUpTable, Tables
from services.runtime.clock import Clock
from services.runtime.postgres import savepoint, transaction

_CHUNK = 500
_EXAMPLES = 20
_TRIES = 40
_TRY_SECONDS = 0.05
_FIRST_ID = "00000000-0000-0000-0000-000000000000"


class RebuildTable(Protocol):
    """What a rebuild asks of the database; `store.rebuilds` is one answer."""

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Make empty tables."""
        ...

    async def drop(self, connection: asyncpg.Connection) -> None:
        """Drop half-filled tables, and those that the last rebuild replaced."""
        ...

    async def carry_tombstones(self, connection: asyncpg.Connection) -> None:
        """Keep what is known to be withdrawn."""
        ...

    async def carry_versions(self, connection: asyncpg.Connection) -> None:
        """Take over the versions that were published."""
        ...

    async def hold(self, connection: asyncpg.Connection) -> None:
        """Keep others from the accounts."""
        ...

    async def differences(self, connection: asyncpg.Connection) -> Differences:
        """Compare."""
        ...

    async def swap(self, connection: asyncpg.Connection, *, patient: bool) -> None:
        """Put the new tables in the place of the old ones."""
        ...

    async def forget_digests(self, connection: asyncpg.Connection, accounts: Sequence[str]) -> None:
        """Make accounts be published again."""
        ...


class NewTables:
    """`services.runtime.rebuild.ShadowTables` of metrics. `shadow` is a pool that sees the new tables only."""

    def __init__(
        self,
        *,
        shadow: asyncpg.Pool,
        table: RebuildTable,
        tables: Tables,
        days: CompanyDays,
        currency: str,
        clock: Clock,
    ) -> None:
        self._shadow = shadow
        self._table = table
        self._tables = tables
        self._days = days
        self._currency = currency
        self._clock = clock
        self.begin, self.drop, self.hold = table.begin, table.drop, table.hold
        self.handler = Handlers(tables, days, currency, Outlet.NONE)
        self.following = Handlers(tables, days, currency, Outlet.NOTE)

    async def filled(self) -> None:
        """Bring every account to the present day and note what its figures say; carry over what nobody republishes."""
        async with transaction(self._shadow) as connection:
            await self._table.carry_tombstones(connection)
        account: str | None = _FIRST_ID
        while account is not None:
            async with transaction(self._shadow) as connection:
                now = self._clock.now()
                restatement = self._restatement(connection, now, Outlet.NOTE)
                account = await restatement.begin_after(account, _CHUNK)
                await self._tables.rollups.mark(connection, await restatement.finish(now, {}))
        async with transaction(self._shadow) as connection:
            await self._table.carry_versions(connection)
            await _recompute(connection, self._tables.rollups)

    async def swap(self, connection: asyncpg.Connection, now: datetime) -> Mapping[str, Any]:
        """Bring both sides to the same day, compare, swap, publish what was wrong until now."""
        async with transaction(self._shadow) as beside:
            await self._slide(beside, now, Outlet.NOTE)
        await self._slide(connection, now, Outlet.PUBLISH)
        await self._table.carry_versions(connection)
        found = await self._table.differences(connection)
        await self._swap_tables(connection)
        await self._publish(connection, found.different, now)
        return found.report(_EXAMPLES)

    def _restatement(self, connection: asyncpg.Connection, now: datetime, outlet: Outlet) -> Restatement:
        return Restatement(connection, self._tables, self._days, self._currency, now, outlet)

    async def _slide(self, connection: asyncpg.Connection, now: datetime, outlet: Outlet) -> None:
        """Do what the loops would do a little later: slide what is due, compute roll-ups that are dirty."""
        slid = 1
        while slid:
            restatement = self._restatement(connection, now, outlet)
            slid = await restatement.begin_due(_CHUNK)
            await self._tables.rollups.mark(connection, await restatement.finish(now, {}))
        await _recompute(connection, self._tables.rollups)

    async def _swap_tables(self, connection: asyncpg.Connection) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with savepoint(connection):
                    return await self._table.swap(connection, patient=attempt == _TRIES)
            except asyncpg.LockNotAvailableError:
                if attempt == _TRIES:
                    raise
                await asyncio.sleep(_TRY_SECONDS)
        return None

    async def _publish(self, connection: asyncpg.Connection, accounts: Sequence[str], now: datetime) -> None:
        """Publish what was found to differ; an account that nothing is known of any more with figures of nothing."""
        for place in range(0, len(accounts), _CHUNK):
            chunk = accounts[place : place + _CHUNK]
            await self._table.forget_digests(connection, chunk)
            restatement = self._restatement(connection, now, Outlet.PUBLISH)
            await restatement.begin(chunk)
            await restatement.finish(now, {})


async def _recompute(connection: asyncpg.Connection, rollups: RollUpTable) -> None:
    days = sorted(await rollups.take_dirty(connection))
    for place in range(0, len(days), DAYS_AT_ONCE):
        await rollups.recompute(connection, days[place : place + DAYS_AT_ONCE])
