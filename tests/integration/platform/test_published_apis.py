"""What accounts, metrics and notifier say about themselves in their OpenAPI documents is how they behave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis

from deploy.databases import DatabaseAccess
from services.accounts.app import build as build_accounts
from services.accounts.settings import AccountsSettings
from services.metrics.app import build as build_metrics
from services.metrics.settings import MetricsSettings
from services.notifier.app import build as build_notifier
from services.notifier.settings import NotifierSettings
from services.runtime.auth import Issuer
from services.runtime.openapi import URL
from services.runtime.service import Service
from services.runtime.settings import load
from tests.conftest import CreateTopics
from tests.integration.ingest.test_published_api import operations, try_out
from tests.unit.docs.apis import environ

SERVICES: dict[str, tuple[type[Any], Callable[[Any], Awaitable[Service]]]] = {
    "accounts": (AccountsSettings, build_accounts),
    "metrics": (MetricsSettings, build_metrics),
    "notifier": (NotifierSettings, build_notifier),
}


@pytest.mark.parametrize("name", SERVICES)
# The service beside it draws random numbers, which the strategies are blamed for.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
async def test_every_operation_answers_as_the_published_document_says(  # noqa: PLR0917 - fixtures
    name: str,
    kafka_bootstrap: str,
    topic_prefix: str,
    make_topics: CreateTopics,
    database: Callable[[str], DatabaseAccess],
    tmp_path: Path,
) -> None:
    make_topics()
    kind, build = SERVICES[name]
    access = database(name)
    settings = load(
        kind,
        {
            **environ(tmp_path),
            "TENURE_KAFKA_BOOTSTRAP": kafka_bootstrap,
            "TENURE_TOPIC_PREFIX": topic_prefix,
            "TENURE_DATABASE_URL": access.worker,
            "TENURE_API_DATABASE_URL": access.api,
        },
    )
    service = await build(settings)
    issuer = Issuer(tmp_path / "issuer", settings.auth_issuer, settings.auth_audience)
    headers = {"authorization": f"Bearer {issuer.issue('olga', ['operator', 'admin'])}"}
    async with service.running():
        url = f"http://127.0.0.1:{service.http_port}"
        async with httpx2.AsyncClient(base_url=url) as client:
            told = (await client.get(URL)).json()
        schema = schemathesis.openapi.from_dict(told)
        tried = await asyncio.to_thread(lambda: [try_out(url, headers, one) for one in operations(schema)])
    assert len(tried) == sum(len(item) for item in told["paths"].values())
