"""One fresh accounts database for each test, and small stories to fill it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from contracts.topics import ACCOUNTS, ACTIVITY, INTERACTIONS
from deploy.databases import DatabaseAccess
from services.accounts.handlers.fold import Fold
from services.accounts.handlers.jobs import JobRunner
from services.accounts.store import jobs
from services.accounts.store.interactions import InteractionTables
from services.runtime.postgres import create_pool
from tests.conftest import CreateTopics
from tests.integration.accounts.desk import Company, opened
from tests.integration.accounts.running import Running
from tests.integration.accounts.stories import Office

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def access(database: Callable[[str], DatabaseAccess]) -> DatabaseAccess:
    """The migrated database of this test."""
    return database("accounts")


@pytest.fixture
async def pool(access: DatabaseAccess) -> AsyncIterator[asyncpg.Pool]:
    """Connections of the worker role."""
    pool = await create_pool(access.worker, max_size=4)
    yield pool
    await pool.close()


@pytest.fixture
def fold() -> Fold:
    """The fold of a company in Berlin."""
    return Fold(InteractionTables, BERLIN)


@pytest.fixture
def runner(pool: asyncpg.Pool, fold: Fold) -> JobRunner:
    """Runs jobs when a test asks it to."""
    return JobRunner(pool, fold, jobs)


@pytest.fixture
def stage(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics, access: DatabaseAccess, tmp_path: Path
) -> Running:
    """Everything that accounts needs; no replica runs yet."""
    make_topics((INTERACTIONS, ACTIVITY, ACCOUNTS), partitions=3)
    return Running(kafka_bootstrap, topic_prefix, access, tmp_path)


@pytest.fixture
def office(pool: asyncpg.Pool, fold: Fold, runner: JobRunner) -> Office:
    """Delivers events and looks at what came of them."""
    return Office(pool, fold, runner)


@pytest.fixture
async def company(access: DatabaseAccess, tmp_path: Path) -> AsyncIterator[Company]:
    """The API on this test's database."""
    async with opened(access, tmp_path) as company:
        yield company
