"""A notifier of its own for a test: real Kafka and PostgreSQL, an SMTP server, the other services' /flow."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx2
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiosmtpd.smtp import SMTP, Envelope, Session
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.codec import decode, encode
from contracts.envelope import Envelope as CloudEvent
from contracts.envelope import format_instant
from contracts.ids import derive_id
from contracts.kpis import AccountKpis
from contracts.topics import ACCOUNTS, ACTIVITY, ALERTS, KPIS, Topic
from contracts.values import Model
from deploy.databases import DatabaseAccess
from services.notifier.app import build
from services.notifier.settings import NotifierSettings
from services.runtime.auth import Issuer
from services.runtime.clock import write_moment
from services.runtime.service import Service
from services.runtime.settings import load
from tests.unit.notifier.states import NOON

T = TypeVar("T")
PARTITIONS = 2


async def until(found: Callable[[], Awaitable[T | None]], what: str, seconds: float = 60) -> T:
    """Ask until the answer is not None or empty."""
    for _ in range(int(seconds / 0.05)):
        answer = await found()
        if answer:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


@dataclass
class Mailbox:
    """An SMTP server that keeps what it gets; `answer` is what it says to a message."""

    answer: str = "250 OK"
    messages: list[EmailMessage] = field(default_factory=list)
    seen: int = 0
    cut: int = 0
    """So many messages are taken, but never acknowledged: the server hangs up."""

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a message, or refuse it."""
        self.seen += 1
        if self.answer.startswith("250"):
            content = envelope.original_content or b""
            self.messages.append(email.message_from_bytes(content, policy=email.policy.default))
        if self.cut:
            self.cut -= 1
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return self.answer


class House:
    """The notifier under test with everything around it. `now` is the simulated clock."""

    def __init__(self, *, clock: Path, bootstrap: str, prefix: str, dsn: DatabaseAccess, issuer: Issuer) -> None:
        self.mailbox = Mailbox()
        self.service: Service | None = None
        self.now = NOON
        self.horizon: datetime | None = None
        """What the services before us say; None: the clock."""
        self.sources: dict[str, dict[str, Any]] = {}
        self.dead_letters = 0
        self.flow_status = 200
        self.silent: set[str] = set()
        """Services before us that do not answer."""
        self._clock = clock
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._dsn = dsn
        self._issuer = issuer
        self._number = 0
        self.recorded: datetime | None = None
        """When what is published was accepted; None: now."""
        self._settings: dict[str, str] = {}
        self._running = AsyncExitStack()
        self.producer: AIOKafkaProducer | None = None
        self.http = httpx2.AsyncClient(trust_env=False, timeout=60)
        write_moment(clock, self.now)

    @property
    def reading_dsn(self) -> str:
        """The connection string of the API's role."""
        return self._dsn.api

    @property
    def owner_dsn(self) -> str:
        """The connection string of who may see and change everything."""
        return self._dsn.owner

    def step(self, moment: datetime) -> None:
        """Move the clock."""
        self.now = moment
        write_moment(self._clock, moment)

    def flow(self, request: Request) -> Response:
        """Answer for ingest, accounts and metrics."""
        if request.path.strip("/").split("/")[0] in self.silent:
            return Response("", 503)
        body: dict[str, Any] = {
            "horizon": format_instant(self.horizon or self.now),
            "dead_letters_waiting": self.dead_letters,
            "parts": {"sources": {"drained": True, **self.sources}},
        }
        return Response(json.dumps(body), self.flow_status, content_type="application/json")

    async def publish(self, topic: Topic, key: str, model: Model, traceparent: str | None = None) -> None:
        """Put a state on a topic, as the service that owns it does."""
        self._number += 1
        envelope = CloudEvent(
            id=derive_id("test", "record", str(self._number)),
            source="/test",
            type=str(getattr(model, "TYPE")),  # noqa: B009 - every state has one
            subject=key,
            time=self.now,
            recordedtime=self.recorded or self.now,
            traceparent=traceparent,
        )
        assert self.producer is not None
        await self.producer.send_and_wait(
            self._prefix + topic.name, encode(model), key=key.encode(), headers=envelope.headers()
        )

    async def say(self, *models: Model, traceparent: str | None = None) -> None:
        """Publish accounts, users, teams, KPIs and attributions to where they belong."""
        for model in models:
            match model:
                case Account():
                    await self.publish(ACCOUNTS, f"account:{model.account_id}", model, traceparent)
                case User():
                    await self.publish(ACCOUNTS, f"user:{model.user_id}", model, traceparent)
                case Team():
                    await self.publish(ACCOUNTS, f"team:{model.team_id}", model, traceparent)
                case AccountKpis():
                    await self.publish(KPIS, model.account_id, model, traceparent)
                case Attribution():
                    await self.publish(ACTIVITY, model.account_id, model, traceparent)
                case _:
                    raise TypeError(type(model))

    async def mailed(self, number: int) -> None:
        """Wait until so many mails have come."""

        async def enough() -> bool:
            return len(self.mailbox.messages) >= number

        await until(enough, f"mail {number}")

    async def said(self) -> list[Any]:
        """Wait until the notifier is drained and return everything on tenure.alerts, in the order of versions."""
        records = await self.said_records()
        events = [
            decode(envelope, record.value) for envelope, record in zip(self.envelopes(records), records, strict=True)
        ]
        return sorted(events, key=lambda event: getattr(event, "version"))  # noqa: B009 - alert events have one

    @staticmethod
    def envelopes(records: list[Any]) -> list[CloudEvent]:
        """The CloudEvents attributes of records."""
        return [CloudEvent.from_headers(record.headers) for record in records]

    async def said_records(self) -> list[Any]:
        """Wait until the notifier is drained and return the records of tenure.alerts."""
        await self.drained()
        name = self._prefix + ALERTS.name
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, isolation_level="read_committed")
        await consumer.start()
        try:
            partitions = [TopicPartition(name, number) for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            records = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += batch
        finally:
            await consumer.stop()
        return records

    async def steps(self) -> list[str]:
        """The kinds of steps on tenure.alerts that are about accounts, in order."""
        return [event.TYPE.split(".")[2] for event in await self.said() if event.source is None]

    async def source_steps(self) -> list[Any]:
        """The steps on tenure.alerts that are about sources, in order."""
        return [event for event in await self.said() if event.source is not None]

    async def drained(self) -> dict[str, Any]:
        """Wait until the notifier says that it has nothing left, and return what it says."""

        async def ask() -> dict[str, Any] | None:
            body = await self.report()
            reached = datetime.fromisoformat(body["clock"]) >= self.now
            return body if body["drained"] and reached else None

        try:
            return await until(ask, "drained")
        except AssertionError as late:
            raise AssertionError(str(await self.report())) from late

    async def report(self) -> dict[str, Any]:
        """What /flow says."""
        assert self.service is not None
        unknown = {"drained": False, "clock": "1970-01-01T00:00:00Z"}
        try:
            answer = await self.http.get(f"http://127.0.0.1:{self.service.operations_port}/flow")
        except httpx2.ConnectError:  # it has only just been started
            return unknown
        return dict(answer.json()) if answer.status_code == 200 else unknown

    async def call(
        self, method: str, path: str, body: object = None, *, subject: str = "anna", roles: tuple[str, ...] = ()
    ) -> httpx2.Response:
        """Call the API as somebody."""
        bearer = {"Authorization": f"Bearer {self.token(subject, roles)}"}
        return await self.http.request(method, self.address + path, json=body, headers=bearer)

    def token(self, subject: str, roles: tuple[str, ...] = ()) -> str:
        """A bearer token of somebody."""
        return self._issuer.issue(subject, roles)

    @property
    def address(self) -> str:
        """Where the API answers."""
        assert self.service is not None
        return f"http://127.0.0.1:{self.service.http_port}"

    async def execute(self, statement: str, *arguments: object) -> None:
        """Change the database behind the notifier's back: to let time pass."""
        connection = await asyncpg.connect(self._dsn.owner)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    @asynccontextmanager
    async def running(self, settings: dict[str, str]) -> AsyncIterator[House]:
        """Run the notifier inside the block."""
        self._settings = settings
        self.producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
        await self.producer.start()
        try:
            await self._start()
            yield self
        finally:
            await self._running.aclose()
            await self.producer.stop()
            await self.http.aclose()

    async def restart(self) -> None:
        """Stop the notifier and start another on the same database and topics."""
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        """Stop the notifier; what is published meanwhile waits."""
        await self._running.aclose()

    async def start(self) -> None:
        """Start the notifier again."""
        await self._start()

    async def start_another(self) -> None:
        """Start a second replica."""
        other = await build(load(NotifierSettings, self._settings))
        await self._running.enter_async_context(other.running())

    def restore(self, backup: DatabaseAccess) -> None:
        """Put an older database in the place of the one that a stopped notifier used."""
        self._dsn = backup
        self._settings |= {"TENURE_DATABASE_URL": backup.worker, "TENURE_API_DATABASE_URL": backup.api}

    @property
    def database(self) -> DatabaseAccess:
        """The notifier's database."""
        return self._dsn

    async def spawn(self, failpoints: Path) -> asyncio.subprocess.Process:
        """Start a replica as a process of its own that obeys the orders in a folder; the caller ends it."""
        given = {**os.environ, **self._settings, "TENURE_FAILPOINTS": str(failpoints)}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.notifier.app",
            env=given,
            stderr=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )

    async def _start(self) -> None:
        self.service = await build(load(NotifierSettings, self._settings))
        await self._running.enter_async_context(self.service.running())


@asynccontextmanager
async def a_house(
    *,
    folder: Path,
    bootstrap: str,
    prefix: str,
    dsn: DatabaseAccess,
    httpserver: HTTPServer,
    more: dict[str, str] | None = None,
) -> AsyncIterator[House]:
    """Start everything around a notifier, and the notifier."""
    issuer = Issuer(folder / "issuer", "https://issuer.example", "tenure")
    house = House(clock=folder / "clock", bootstrap=bootstrap, prefix=prefix, dsn=dsn, issuer=issuer)
    for name in ("ingest", "accounts", "metrics"):
        httpserver.expect_request(f"/{name}/flow").respond_with_handler(house.flow)
    upstream = httpserver.url_for("").rstrip("/")
    smtp = await asyncio.get_running_loop().create_server(lambda: SMTP(house.mailbox), "127.0.0.1", 0)
    (folder / "secrets").mkdir()
    settings = {
        "KAFKA_BOOTSTRAP": bootstrap,
        "TOPIC_PREFIX": prefix,
        "DATABASE_URL": dsn.worker,
        "API_DATABASE_URL": dsn.api,
        "HTTP_PORT": "0",
        "OPERATIONS_PORT": "0",
        "CLOCK": f"file:{folder / 'clock'}",
        "TIME_ZONE": "Europe/Berlin",
        "AUTH_JWKS_FILE": str(issuer.jwks_file),
        "AUTH_ISSUER": issuer.issuer,
        "AUTH_AUDIENCE": issuer.audience,
        "INGEST_OPERATIONS_URL": f"{upstream}/ingest",
        "ACCOUNTS_OPERATIONS_URL": f"{upstream}/accounts",
        "METRICS_OPERATIONS_URL": f"{upstream}/metrics",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(smtp.sockets[0].getsockname()[1]),
        "MAIL_FROM": "tenure@brightwell.example",
        "CONSOLE_URL": "https://tenure.brightwell.example",
        "ALLOWED_NETWORKS": "127.0.0.0/8",
        "DELIVERY_RETRY_SECONDS": "0.2",
        "DELIVERY_LEASE_SECONDS": "2",
        "SECRETS_DIR": str(folder / "secrets"),
        **(more or {}),
    }
    try:
        async with house.running({f"TENURE_{name}": value for name, value in settings.items()}):
            yield house
    finally:
        smtp.close()
