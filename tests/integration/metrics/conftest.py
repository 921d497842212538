"""A metrics database and what turns records into figures, without the broker."""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import orjson
import pytest
from hypothesis import Phase

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.codec import encode
from contracts.envelope import Envelope
from contracts.kpis import AccountKpis
from contracts.standins import encode_sorted, stand_in
from deploy.databases import DatabaseAccess
from services.metrics.handlers import Handlers, Tables
from services.metrics.handlers.restate import Restatement
from services.metrics.store import accounts, facts, rollups, states
from services.runtime.consumer import Record
from services.runtime.postgres import create_pool, transaction
from tests.conftest import CreateTopics
from tests.integration.metrics.running import TOPICS, Running
from tests.unit.metrics.builders import BERLIN, at

TABLES = (
    "fact",
    "bucket",
    "account_state",
    "account",
    "account_owner",
    "account_member",
    "app_user",
    "user_deputy",
    "team",
    "account_member",
    "rollup",
    "rollup_dirty",
    "outbox",
)
"""What property tests empty between examples."""
METRICS_TABLES = Tables(facts, states, accounts, rollups)
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""Every example plays on a database: shrinking one takes minutes, and the examples are small as they are."""
State = Attribution | Account | User | Team


class Desk:
    """Applies states to a database as the consumer does, one transaction per call."""

    def __init__(self, pool: asyncpg.Pool, access: DatabaseAccess) -> None:
        self.pool = pool
        self.access = access
        self.handlers = Handlers(METRICS_TABLES, BERLIN, "EUR")
        self.published: dict[str, AccountKpis] = {}

    async def apply(self, states: Iterable[State], now: datetime) -> list[AccountKpis]:
        """Handle one batch at `now` and return what it publishes."""
        await self.handle(states, now)
        return await self.collect()

    async def handle(self, states: Iterable[State], now: datetime) -> None:
        """Handle one batch at `now`."""
        batch = [self.handlers.decode(record(state)) for state in states]
        async with transaction(self.pool) as connection:
            await self.handlers.handle(connection, batch, now)

    async def slide(self, now: datetime) -> list[AccountKpis]:
        """Wake the accounts that are due at `now`."""
        async with transaction(self.pool) as connection:
            restatement = Restatement(connection, METRICS_TABLES, BERLIN, "EUR", now)
            while await restatement.begin_due(100):
                await rollups.mark(connection, await restatement.finish(now, {}))
        return await self.collect()

    async def roll_up(self) -> None:
        """Compute dirty roll-ups."""
        async with transaction(self.pool) as connection:
            await rollups.recompute(connection, await rollups.take_dirty(connection))

    async def collect(self) -> list[AccountKpis]:
        """Return what was published since the last time, in order."""
        rows = await self.pool.fetch("delete from outbox returning id, payload")
        states = [AccountKpis.model_validate_json(row["payload"]) for row in sorted(rows, key=lambda row: row["id"])]
        for state in states:
            known = self.published.get(state.account_id)
            assert known is None or state.version > known.version
            self.published[state.account_id] = state
        return states


def record(state: State) -> Record:
    """The record that accounts publishes."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    subject = next(iter(orjson.loads(encode(state)).values()))
    # What is said again for others must not differ from what is said for the first time.
    run = None if state.version % 3 else "run"
    envelope = Envelope("1", "/accounts", state.TYPE, subject, moment, moment, republished=run)
    return Record("tenure.activity", 0, 0, subject.encode(), written(state), envelope.headers())


def written(state: State) -> bytes:
    """As accounts writes it: attributions in the order of names; some as another producer might, field by field."""
    if isinstance(state, Attribution) and state.version % 2:
        return encode_sorted(stand_in(state))
    return encode(state)


@pytest.fixture
async def desk(database: Callable[[str], DatabaseAccess]) -> AsyncIterator[Desk]:
    """A fresh database of metrics."""
    access = database("metrics")
    pool = await create_pool(access.worker, max_size=4)
    yield Desk(pool, access)
    await pool.close()


@pytest.fixture
def stage(
    kafka_bootstrap: str,
    topic_prefix: str,
    make_topics: CreateTopics,
    database: Callable[[str], DatabaseAccess],
    tmp_path: Path,
) -> Running:
    """Everything that metrics needs, at 09:00 UTC of 2026-03-02; no replica runs yet."""
    make_topics(TOPICS, partitions=3)
    return Running(kafka_bootstrap, topic_prefix, database("metrics"), tmp_path, at("2026-03-02 09:00"))


@pytest.fixture
async def running(stage: Running) -> AsyncIterator[Running]:
    """Metrics as one running service on a clock that the test steps."""
    async with stage.replica():
        yield stage
