"""What one partition, or one session with the broker, must not do to all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka.errors import OutOfOrderSequenceNumber
from aiokafka.producer.message_accumulator import BatchBuilder

from services.ingest import publisher
from services.ingest.publisher import Outgoing, Publisher, Unavailable
from services.ingest.settings import IngestSettings
from services.runtime.partitioning import partitions_of
from services.runtime.settings import load

PARTITIONS = 4
KEYS = {
    place: next(b"%d" % n for n in range(999) if partitions_of([b"%d" % n], PARTITIONS) == [place]) for place in (0, 1)
}


class Client:
    """A client of Kafka's whose broker leads all partitions, and which answers when it is told to."""

    sessions: list[Client]

    def __init__(self, **_options: object) -> None:
        self.sent: dict[int, list[asyncio.Future[None]]] = {}
        self.records = 0
        self.ill: set[int] = set()
        cluster = SimpleNamespace(
            leader_for_partition=lambda _place: 1, partitions_for_topic=lambda _topic: set(range(PARTITIONS))
        )
        self.client = SimpleNamespace(cluster=cluster)

    async def start(self) -> None:
        """A session begins."""
        self.sessions.append(self)

    async def stop(self) -> None:
        """It ends; what is on its way never lands."""

    def create_batch(self) -> BatchBuilder:
        """Return what the real one would."""
        return BatchBuilder(1_000_000, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Take a batch; a partition that is not ill acknowledges it at once."""
        assert topic == "t"
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.setdefault(partition, []).append(answer)
        self.records += batch.record_count()
        if partition not in self.ill:
            answer.set_result(None)
        return answer


@pytest.fixture
async def door(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Publisher]:
    """A publisher with a session."""
    Client.sessions = []
    monkeypatch.setattr(publisher, "AIOKafkaProducer", Client)
    environ = {
        "TENURE_KAFKA_BOOTSTRAP": "127.0.0.1:9",
        "TENURE_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "TENURE_SOURCES_FILE": str(tmp_path),
    }
    async with running(Publisher("t", load(IngestSettings, environ))) as started:
        yield started


@asynccontextmanager
async def running(one: Publisher) -> AsyncIterator[Publisher]:
    await one.start()
    async with asyncio.timeout(10):
        while not one.connected:
            await asyncio.sleep(0)
    yield one
    await one.stop()


def record(partition: int) -> Outgoing:
    return Outgoing(KEYS[partition], b"x", [])


async def test_a_partition_that_takes_nothing_keeps_nobody_from_the_others_of_its_broker(door: Publisher) -> None:
    """One whose replicas are away is asked again and again for as long as that lasts."""
    [session] = Client.sessions
    session.ill.add(0)
    waits = asyncio.create_task(door.publish([record(0)]))
    await asyncio.sleep(0.05)
    assert session.records == 1
    await door.publish([record(1)])
    with pytest.raises(Unavailable):
        await waits
    for _ in range(3):
        await door.publish([record(1)])
    assert session.records == 5

    # In the order of its records: what waits for it does so until it has landed.
    later = asyncio.create_task(door.publish([record(0)]))
    await asyncio.sleep(0.05)
    assert len(session.sent[0]) == 1
    session.ill.clear()
    session.sent[0][0].set_result(None)
    await later
    assert len(session.sent[0]) == 2


async def test_what_was_on_its_way_in_a_session_that_ended_holds_nothing_back_in_the_next(door: Publisher) -> None:
    [first] = Client.sessions
    first.ill |= {0, 1}
    lost = [asyncio.create_task(door.publish([record(place)])) for place in (0, 1)]
    await asyncio.sleep(0.05)
    first.sent[0][0].set_exception(OutOfOrderSequenceNumber())
    assert [type(one) for one in await asyncio.gather(*lost, return_exceptions=True)] == [Unavailable, Unavailable]
    async with asyncio.timeout(10):
        while len(Client.sessions) < 2:
            await asyncio.sleep(0.01)
    await asyncio.gather(door.publish([record(0)]), door.publish([record(1)]))

    # It says after all what became of it: that is nobody's business any more.
    first.sent[1][0].set_result(None)
    await asyncio.sleep(0)
    Client.sessions[1].ill.add(1)
    held = asyncio.create_task(door.publish([record(1)]))
    await asyncio.sleep(0.05)
    Client.sessions[1].sent[1][-1].set_result(None)
    await held
    await door.publish([record(0)])
