"""A rig for each test: its own database and topics on the session's servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from deploy.databases import DatabaseAccess
from services.runtime import logs
from tests.conftest import CreateTopics
from tests.integration.runtime.harness import REPORTS, RESULTS, Rig, rig


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """As in a service: one JSON line per event. structlog's default colours tracebacks, for seconds."""
    logs.configure("probe")


@pytest.fixture
async def one_rig(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics, database: Callable[[str], DatabaseAccess]
) -> AsyncIterator[Rig]:
    """Topics `REPORTS` and `RESULTS` with three partitions, and a database with runtime's tables."""
    make_topics((REPORTS, RESULTS), partitions=3)
    async with rig(kafka_bootstrap, database("ingest"), topic_prefix) as ready:
        yield ready
