"""While the broker is away the doors say so at once and lose nothing; when it comes back they open by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random

import orjson
import pytest

from contracts.topics import INTERACTIONS
from deploy.local.kafka import LocalKafka
from deploy.local.processes import kill
from deploy.topics import create_topics
from services.ingest.domain.schemes import SchemeName
from tests.faults.proxy import Proxy
from tests.integration.ingest.conftest import Ingest, StartIngest, ready
from tests.integration.ingest.test_acceptance import SOLVED


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """Stands before the broker of these tests."""
    before = Proxy(Random(1))  # noqa: S311 - nothing is drawn here
    yield before
    before.close()


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Iterator[LocalKafka]:
    """A broker that these tests may kill."""
    kafka = LocalKafka(tmp_path_factory.mktemp("own") / "kafka", through=proxy.before, short_lived=True)
    kafka.start()
    yield kafka
    kafka.stop()


async def deliver(ingest: Ingest) -> int:
    body = orjson.dumps(SOLVED)
    response = await ingest.post("/v1/webhooks/desk", body, SchemeName.ZENDESK, "desk.secret")
    if response.status_code == 503:
        assert int(response.headers["retry-after"]) >= 1
    return response.status_code


async def test_without_a_broker_a_delivery_is_503_and_can_be_sent_again(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(wait=False, kafka_bootstrap="127.0.0.1:9")
    assert await deliver(ingest) == 503
    assert (await ingest.operations.get("/readyz")).status_code == 503
    assert (await ingest.operations.get("/livez")).status_code == 200


async def test_a_killed_broker_is_503_until_it_is_back(start_ingest: StartIngest, own_kafka: LocalKafka) -> None:
    ingest = await start_ingest(wait=False, kafka_bootstrap=own_kafka.bootstrap)
    await create_topics(
        own_kafka.bootstrap, prefix=ingest.settings.topic_prefix, topics=(INTERACTIONS,), embedded=True, partitions=3
    )
    await ready(ingest)
    assert await deliver(ingest) == 200

    assert own_kafka.record is not None
    await asyncio.to_thread(kill, own_kafka.record)
    assert await deliver(ingest) == 503
    assert await asyncio.gather(*(deliver(ingest) for _ in range(20))) == [503] * 20
    async with asyncio.timeout(60):
        while (await ingest.operations.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.1)
    assert (await ingest.operations.get("/livez")).status_code == 200

    await asyncio.to_thread(own_kafka.start)
    async with asyncio.timeout(60):
        while await deliver(ingest) != 200:
            await asyncio.sleep(0.2)
    await ready(ingest)


async def test_connections_to_the_broker_that_lead_nowhere_are_given_up(
    start_ingest: StartIngest, own_kafka: LocalKafka, proxy: Proxy
) -> None:
    ingest = await start_ingest(wait=False, kafka_bootstrap=own_kafka.bootstrap_through)
    await create_topics(
        own_kafka.bootstrap, prefix=ingest.settings.topic_prefix, topics=(INTERACTIONS,), embedded=True, partitions=3
    )
    await ready(ingest)
    assert await deliver(ingest) == 200

    await asyncio.to_thread(proxy.leave_half_open)
    assert await deliver(ingest) == 503
    async with asyncio.timeout(60):
        while (await ingest.operations.get("/readyz")).status_code != 503:
            await asyncio.sleep(0.1)
    # nobody resets them: what waits for an answer has to notice by itself
    await ready(ingest)
    async with asyncio.timeout(60):
        while await deliver(ingest) != 200:
            await asyncio.sleep(0.2)
