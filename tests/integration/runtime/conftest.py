"""A rig for each test: its own database and topics on the session's servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from deploy.databases import DatabaseAccess
from tests.conftest import CreateTopics
from tests.integration.runtime.harness import REPORTS, RESULTS, Rig, rig


@pytest.fixture
async def one_rig(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics, database: Callable[[str], DatabaseAccess]
) -> AsyncIterator[Rig]:
    """Topics `REPORTS` and `RESULTS` with three partitions, and a database with runtime's tables."""
    make_topics((REPORTS, RESULTS), partitions=3)
    async with rig(kafka_bootstrap, database("ingest"), topic_prefix) as ready:
        yield ready
