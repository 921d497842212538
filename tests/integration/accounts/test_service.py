"""The whole service on real Kafka and PostgreSQL: from tenure.interactions to tenure.activity and tenure.accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.activity import Attribution
from contracts.codec import decode
from contracts.envelope import Envelope
from contracts.events import UNMAPPED_TYPE
from contracts.topics import ACCOUNTS, ACTIVITY, INTERACTIONS
from deploy.databases import DatabaseAccess
from services.accounts.app import build
from services.accounts.settings import AccountsSettings
from services.accounts.store.accounts import publish
from services.runtime.auth import Issuer
from services.runtime.postgres import transaction
from services.runtime.service import Service
from tests.conftest import CreateTopics
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import MONDAY, order, record

_GENEROUS = 60


@pytest.fixture
async def service(
    kafka_bootstrap: str, topic_prefix: str, make_topics: CreateTopics, access: DatabaseAccess, tmp_path: Path
) -> AsyncIterator[Service]:
    """Accounts as a running service."""
    make_topics((INTERACTIONS, ACTIVITY, ACCOUNTS), partitions=3)
    issuer = Issuer(tmp_path, "test", "tenure")
    settings = AccountsSettings(
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        database_url=access.worker,
        api_database_url=access.api,
        http_port=0,
        operations_port=0,
        auth_jwks_file=issuer.jwks_file,
        auth_issuer="test",
        auth_audience="tenure",
        time_zone="Europe/Berlin",
    )
    built = await build(settings)
    async with built.running():
        yield built


async def _drained(service: Service) -> dict[str, object]:
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.operations_port}") as operations,
        asyncio.timeout(_GENEROUS),
    ):
        while True:
            answer = await operations.get("/flow", timeout=_GENEROUS)
            if answer.status_code == 200 and answer.json()["drained"]:
                return dict(answer.json())
            await asyncio.sleep(0.1)


async def _all(bootstrap: str, topic: str, count: int) -> list[Attribution]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(_GENEROUS):
            found: list[Attribution] = []
            while len(found) < count:
                one = await consumer.getone()
                found.append(decode(Envelope.from_headers(one.headers), one.value))  # type: ignore[arg-type]
            return found
    finally:
        await consumer.stop()


async def test_an_event_on_interactions_comes_out_as_an_attribution_on_activity(
    service: Service, office: Office, kafka_bootstrap: str, topic_prefix: str
) -> None:
    acme = await office.account("acme")
    await office.contact(acme, "maria@acme.example")
    async with transaction(office.pool) as connection:
        assert await publish(connection, MONDAY, accounts=[acme]) == 1
        assert await publish(connection, MONDAY, accounts=[acme]) == 0
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
    await producer.start()
    placed = record(order("1", "maria@acme.example"))
    raw = Envelope("raw", "/sources/shop", UNMAPPED_TYPE, "digest", MONDAY, datetime.now(UTC))
    await producer.send_and_wait(topic_prefix + INTERACTIONS.name, b"raw bytes", key=b"digest", headers=raw.headers())
    await producer.send_and_wait(
        topic_prefix + INTERACTIONS.name, placed.value, key=placed.key, headers=list(placed.headers)
    )
    await producer.stop()
    [said] = await _all(kafka_bootstrap, topic_prefix + ACTIVITY.name, 1)
    assert (said.account_id, said.kind.value, said.present) == (acme, "order", True)
    [account] = await _all(kafka_bootstrap, topic_prefix + ACCOUNTS.name, 1)
    assert (account.account_id, account.version) == (acme, said.account_version)
    assert said.version > said.account_version
    flow = await _drained(service)
    assert flow["dead_letters_waiting"] == 1
    [letter] = await office.rows("select reason, value from dead_letter")
    assert (letter["reason"], letter["value"]) == ("unmapped", b"raw bytes")
