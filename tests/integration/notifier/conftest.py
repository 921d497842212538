"""A running notifier for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pytest_httpserver import HTTPServer

from contracts.topics import ACCOUNTS, ACTIVITY, ALERTS, KPIS
from deploy.databases import DatabaseAccess
from tests.integration.notifier.house import PARTITIONS, House, a_house


@pytest.fixture(scope="session")
def make_httpserver() -> Iterator[HTTPServer]:
    """In threads: a replica that stands still in the middle of a request must not keep the others from an answer."""
    with HTTPServer(host="127.0.0.1", threaded=True) as server:
        yield server


@pytest_asyncio.fixture
async def house(  # noqa: PLR0917 - fixtures
    tmp_path: Path,
    kafka_bootstrap: str,
    topic_prefix: str,
    make_topics: Any,
    database: Callable[[str], DatabaseAccess],
    httpserver: HTTPServer,
) -> AsyncIterator[House]:
    make_topics((ACCOUNTS, ACTIVITY, KPIS, ALERTS), partitions=PARTITIONS)
    async with a_house(
        folder=tmp_path,
        bootstrap=kafka_bootstrap,
        prefix=topic_prefix,
        dsn=database("notifier"),
        httpserver=httpserver,
    ) as running:
        yield running
