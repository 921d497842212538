"""Metrics as a running service on real Kafka and PostgreSQL, and what a test does to it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from contracts.codec import decode, encode
from contracts.envelope import Envelope
from contracts.kpis import AccountKpis
from contracts.topics import ACCOUNTS, ACTIVITY, KPIS
from contracts.values import Model
from deploy.databases import DatabaseAccess
from services.metrics.app import build
from services.metrics.settings import MetricsSettings
from services.runtime.auth import Issuer
from services.runtime.clock import write_moment
from services.runtime.service import Service
from tests import flowing

GENEROUS = 60
"""Seconds within which anything that is waited for has long happened."""


class Running:
    """The service, which can be stopped and started again, and what is around it."""

    def __init__(
        self, bootstrap: str, prefix: str, access: DatabaseAccess, directory: Path, moment: datetime, **settings: Any
    ) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.access = access
        self.issuer = Issuer(directory, "test", "tenure")
        self.clock = directory / "clock"
        write_moment(self.clock, moment)
        self.settings = MetricsSettings(
            kafka_bootstrap=bootstrap,
            topic_prefix=prefix,
            database_url=access.worker,
            api_database_url=access.api,
            http_port=0,
            operations_port=0,
            clock=f"file:{self.clock}",
            auth_jwks_file=self.issuer.jwks_file,
            auth_issuer="test",
            auth_audience="tenure",
            time_zone="Europe/Berlin",
            **settings,
        )
        self._services: list[Service] = []

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[Service]:
        """One process' worth of the service, until the block ends."""
        service = await build(self.settings)
        async with service.running():
            self._services.append(service)
            try:
                yield service
            finally:
                self._services.remove(service)

    @property
    def service(self) -> Service:
        """A replica that runs."""
        return self._services[0]

    async def produce(
        self, topic: str, states: Iterable[Model], moment: datetime, *, republished: str | None = None
    ) -> None:
        """Put states on a topic as accounts does; `republished`: the run that says them again."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        sent = []
        for state in states:
            names = (getattr(state, name, None) for name in ("account_id", "user_id", "team_id"))
            subject = next(str(name) for name in names if name is not None)
            envelope = Envelope(subject, "/accounts", state.TYPE, subject, moment, moment, republished=republished)  # type: ignore[attr-defined]
            headers = envelope.headers()
            sent.append(await producer.send(self.prefix + topic, encode(state), key=subject.encode(), headers=headers))
        await asyncio.gather(*sent)
        await producer.stop()

    async def flow(self) -> dict[str, Any]:
        """What /flow says now; nothing while something is away."""
        return await flowing.flow_of(self.service.operations_port, GENEROUS)

    async def drained(self) -> dict[str, Any]:
        """Wait until everything has flowed."""
        return await flowing.drained(lambda: self.service.operations_port, GENEROUS)

    async def ask(
        self, method: str, path: str, subject: str = "anna", roles: tuple[str, ...] = (), **more: Any
    ) -> httpx.Response:
        """Ask the API as somebody."""
        token = self.issuer.issue(subject, roles)
        base = f"http://127.0.0.1:{self.service.http_port}"
        async with httpx.AsyncClient(base_url=base, timeout=GENEROUS) as client:
            return await client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)

    async def get(self, path: str, subject: str = "anna", roles: tuple[str, ...] = ()) -> httpx.Response:
        """Ask the API for something as somebody."""
        return await self.ask("GET", path, subject, roles)

    async def published(self, count: int = 0) -> list[AccountKpis]:
        """The first `count` states on tenure.kpis, or all that are there now."""
        consumer = AIOKafkaConsumer(
            self.prefix + KPIS.name,
            bootstrap_servers=self.bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        found: list[AccountKpis] = []
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            async with asyncio.timeout(GENEROUS):
                while len(found) < count or (not count and await _left(consumer, ends)):
                    fetched = await consumer.getmany(timeout_ms=200)
                    for one in (one for records in fetched.values() for one in records):
                        state = decode(Envelope.from_headers(one.headers), one.value)
                        assert isinstance(state, AccountKpis)
                        assert one.key == state.account_id.encode()
                        found.append(state)
        finally:
            await consumer.stop()
        return found[:count] if count else found


async def _left(consumer: AIOKafkaConsumer, ends: dict[Any, int]) -> bool:
    return any([await consumer.position(partition) < end for partition, end in ends.items()])


TOPICS = (ACCOUNTS, ACTIVITY, KPIS)
