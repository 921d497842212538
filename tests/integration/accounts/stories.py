"""An office that receives events and edits, and shows what it has said about them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import asyncpg
import orjson
from uuid6 import uuid7

from contracts.activity import Attribution
from contracts.events import Event
from services.accounts.domain.ports import Report
from services.accounts.handlers.fold import Fold
from services.accounts.handlers.jobs import JobRunner
from services.runtime.faults import Fault, judge
from services.runtime.postgres import transaction
from tests.unit.accounts.events import report

EARLY = date(2020, 1, 1)


class Office:
    """Delivers events batch by batch, and folds the outbox as a reader would: the greatest version counts."""

    def __init__(self, pool: asyncpg.Pool, fold: Fold, runner: JobRunner) -> None:
        self.pool = pool
        self._fold = fold
        self._runner = runner

    async def receive(self, *events: Event) -> None:
        """One batch in one transaction, then the jobs that it left."""
        await self.receive_only(*events)
        await self._runner.run_until_done()

    async def receive_only(self, *events: Event) -> None:
        """One batch in one transaction, without the jobs."""
        await self.receive_reports(*(report(one) for one in events))

    async def receive_reports(self, *reports: Report) -> None:
        """One batch of reports as they came, in one transaction."""
        async with transaction(self.pool) as connection:
            await self._fold.apply(connection, reports)

    async def run_jobs(self) -> None:
        """Everything that is due."""
        await self._runner.run_until_done()

    async def account(self, name: str, *, domains: Sequence[str] = (), organisations: Sequence[str] = ()) -> str:
        """An account that was always there."""
        account = str(uuid7())
        async with self.pool.acquire() as connection:
            await connection.execute(
                "insert into account (id, external_key, name, created_at) values ($1, $2, $2, $3)",
                account,
                name,
                datetime(2020, 1, 1, tzinfo=UTC),
            )
            for kind, values in (("domain", domains), ("organisation", organisations)):
                for value in values:
                    await connection.execute(
                        "insert into identity (kind, identity_key, account_id) values ($1, $2, $3)",
                        kind,
                        f"{kind}:{value}",
                        account,
                    )
        return account

    async def contact(self, account: str, address: str, *, since: date = EARLY, **identities: str) -> str:
        """A contact at an account, with an address and more identities."""
        contact = str(uuid7())
        async with self.pool.acquire() as connection:
            await connection.execute(
                "insert into contact (id, name, created_at) values ($1, $2, $3)",
                contact,
                address,
                datetime(2020, 1, 1, tzinfo=UTC),
            )
            await connection.execute(
                "insert into contact_account (contact_id, account_id, since) values ($1, $2, $3)",
                contact,
                account,
                since,
            )
            for kind, value in {"address": address, **identities}.items():
                await connection.execute(
                    "insert into identity (kind, identity_key, contact_id) values ($1, $2, $3)",
                    kind,
                    f"{kind}:{value}",
                    contact,
                )
        return contact

    async def user(self, email: str) -> str:
        """A manager of ours."""
        user = str(uuid7())
        async with self.pool.acquire() as connection:
            await connection.execute(
                "insert into app_user (id, email, name, user_role, time_zone, issuer, subject) values ($1, $2,"
                " $2, 'manager', 'Europe/Berlin', 'test', $2)",
                user,
                email,
            )
        return user

    async def said(self) -> list[Attribution]:
        """Every attribution in the outbox, in order."""
        async with self.pool.acquire() as connection:
            rows = await connection.fetch(
                "select payload from outbox where aggregatetype = 'tenure.activity' order by id"
            )
        return [Attribution.model_validate_json(row["payload"]) for row in rows]

    async def known(self) -> dict[tuple[str, str], Attribution]:
        """What a reader knows: the greatest version per (account, interaction), tombstones included."""
        known: dict[tuple[str, str], Attribution] = {}
        for attribution in await self.said():
            key = (attribution.account_id, attribution.interaction_id)
            if key not in known or known[key].version < attribution.version:
                known[key] = attribution
        return known

    async def standing(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What stands, versions apart."""
        return {
            key: orjson.loads(attribution.model_dump_json(exclude={"version", "account_version"}))
            for key, attribution in (await self.known()).items()
            if attribution.present
        }

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Rows of a query of the test's own."""
        async with self.pool.acquire() as connection:
            return await connection.fetch(query, *arguments)


async def consume(office: Office, fold: Fold, events: Sequence[Event], seed: int, linger: float = 0) -> None:
    """One consumer: batches in order, each repeated until no fault of the infrastructure is in its way.

    It commits up to `linger` seconds after it has folded: what others do meanwhile is what locks are there for.
    """
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    waiting = list(events)
    while waiting:
        size = chance.randint(1, 12)
        batch, waiting = waiting[:size], waiting[size:]
        while True:
            try:
                async with transaction(office.pool) as connection:
                    await fold.apply(connection, [report(one) for one in batch])
                    await asyncio.sleep(chance.random() * linger)
            except Exception as error:
                # A pool that is closed belongs to a test that is over.
                if judge(error) is not Fault.TRANSIENT or isinstance(error, asyncpg.InterfaceError):
                    raise
                continue
            break


async def forget_everything_said(office: Office) -> None:
    """Events and what came of them go; accounts, people and identities stay."""
    async with transaction(office.pool) as connection:
        for table in (
            "ledger",
            "interaction",
            "interaction_party",
            "conversation",
            "conversation_ref",
            "attribution",
            "outbox",
        ):
            await connection.execute(f"delete from {table}")  # noqa: S608 - one of the names above
