"""Accounts as a running service on real Kafka and PostgreSQL, in one or more replicas, and what a test does to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from contracts.events import Event
from contracts.topics import INTERACTIONS, Topic
from deploy.databases import DatabaseAccess
from services.accounts.app import build
from services.accounts.settings import AccountsSettings
from services.runtime.auth import Issuer
from services.runtime.service import Service
from tests import flowing
from tests.unit.accounts.events import record

GENEROUS = 60
"""Seconds within which anything that is waited for has long happened."""
PARTITIONS = 3
State = tuple[str, str, str]
"""Topic, key, and the interaction where there is one."""


@dataclass
class Running:
    """The service and what is around it; `access` is the database that replicas are started on."""

    bootstrap: str
    prefix: str
    access: DatabaseAccess
    directory: Path
    services: list[Service] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin a token issuer."""
        self.issuer = Issuer(self.directory, "test", "tenure")

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[Service]:
        """One process' worth of the service, until the block ends."""
        settings = AccountsSettings(
            kafka_bootstrap=self.bootstrap,
            topic_prefix=self.prefix,
            database_url=self.access.worker,
            api_database_url=self.access.api,
            http_port=0,
            operations_port=0,
            auth_jwks_file=self.issuer.jwks_file,
            auth_issuer="test",
            auth_audience="tenure",
            time_zone="Europe/Berlin",
        )
        service = await build(settings)
        async with service.running():
            self.services.append(service)
            try:
                yield service
            finally:
                self.services.remove(service)

    async def produce(self, events: Iterable[Event]) -> None:
        """Report as ingest does; each is acknowledged."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        try:
            records = [record(event) for event in events]
            topic = self.prefix + INTERACTIONS.name
            sent = [await producer.send(topic, one.value, key=one.key, headers=list(one.headers)) for one in records]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def flow(self) -> dict[str, Any]:
        """What /flow says now; nothing while something is away."""
        return await flowing.flow_of(self.services[-1].operations_port, GENEROUS)

    async def drained(self) -> dict[str, Any]:
        """Wait until everything has flowed."""
        return await flowing.drained(lambda: self.services[-1].operations_port, GENEROUS)

    async def ask(self, method: str, path: str, body: Any = None, replica: int = 0) -> httpx.Response:
        """Ask the API of a replica as an admin; an edit that had to wait too long is made again."""
        token = self.issuer.issue("root", ["admin", "operator"])
        base = f"http://127.0.0.1:{self.services[replica].http_port}"
        async with httpx.AsyncClient(base_url=base, timeout=GENEROUS) as client, asyncio.timeout(GENEROUS):
            while True:
                headers = {"Authorization": f"Bearer {token}"}
                try:
                    answer = await client.request(method, path, json=body, headers=headers)
                except httpx.ConnectError:  # it has only just been started
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer

    async def records(self, topic: Topic) -> list[ConsumerRecord[bytes, bytes]]:
        """Everything committed that is on a topic now, partition by partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed")
        await consumer.start()
        found: list[ConsumerRecord[bytes, bytes]] = []
        try:
            partitions = [TopicPartition(self.prefix + topic.name, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
        finally:
            await consumer.stop()
        return found


def states(topic: Topic, records: Iterable[ConsumerRecord[bytes, bytes]]) -> dict[State, list[dict[str, Any]]]:
    """By state what was said of it, in the order of its partition."""
    said: dict[State, list[dict[str, Any]]] = {}
    for one in records:
        assert one.key is not None
        assert one.value is not None
        body = orjson.loads(one.value)
        said.setdefault((topic.name, one.key.decode(), body.get("interaction_id", "")), []).append(body)
    return said


def greatest(said: dict[State, list[dict[str, Any]]]) -> dict[State, dict[str, Any]]:
    """What a reader knows, versions apart; what does not stand any more is left out."""
    known = {key: max(bodies, key=lambda body: body["version"]) for key, bodies in said.items()}
    return {
        key: {name: value for name, value in body.items() if name not in {"version", "account_version"}}
        for key, body in known.items()
        if body.get("present", True)
    }
