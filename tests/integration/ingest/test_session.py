"""A session with the broker may end at any moment: what waits in the middle of it goes on with the next one."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from contracts.topics import INTERACTIONS
from deploy.topics import create_topics
from services.ingest import publisher
from services.ingest.domain.schemes import SchemeName
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import SOLVED

PROMPT_MS = 400


async def deliver(ingest: Ingest) -> int:
    response = await ingest.post("/v1/webhooks/desk", orjson.dumps(SOLVED), SchemeName.ZENDESK, "desk.secret")
    return response.status_code


async def test_a_topic_that_is_created_late_is_written_to_as_soon_as_it_is_there(
    start_ingest: StartIngest, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends is told no while the topic is missing; a session that ends over it takes nobody with it."""
    monkeypatch.setattr(publisher, "_REQUEST_MS", PROMPT_MS)
    prefix = f"{topic_prefix}late-"
    ingest = await start_ingest(wait=False, topic_prefix=prefix)
    for _ in range(4):
        answers = set()
        for _ in range(3):
            answers |= set(await asyncio.gather(*(deliver(ingest) for _ in range(3))))
        assert answers == {503}
    await create_topics(
        ingest.settings.kafka_bootstrap, prefix=prefix, topics=(INTERACTIONS,), embedded=True, partitions=3
    )
    async with asyncio.timeout(20):
        while await deliver(ingest) != 200:
            await asyncio.sleep(0.1)


async def test_a_session_that_cannot_begin_is_begun_again_whatever_it_was(
    start_ingest: StartIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not every fault of the client is one of the broker: names are looked up in a thread, and there may be none."""
    begun = 0

    class Faulty(AIOKafkaProducer):  # type: ignore[misc] # aiokafka has no types
        async def start(self) -> None:
            nonlocal begun
            begun += 1
            if begun == 1:
                raise RuntimeError("can't start new thread")
            await super().start()

    monkeypatch.setattr(publisher, "AIOKafkaProducer", Faulty)
    ingest = await start_ingest(wait=False)
    async with asyncio.timeout(20):
        while await deliver(ingest) != 200:
            await asyncio.sleep(0.1)
    assert begun == 2
