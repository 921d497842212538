"""The real service on free ports, in this process, on the session's real Kafka and PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from typer.testing import CliRunner

from contracts.codec import decode
from contracts.envelope import Envelope
from contracts.events import Event
from contracts.topics import INTERACTIONS
from deploy.databases import DatabaseAccess
from services.cli.app import build as build_command
from services.ingest.app import build
from services.ingest.domain.schemes import SchemeName
from services.ingest.settings import IngestSettings
from services.ingest.verify import sign
from services.runtime.auth import Issuer
from services.runtime.service import Service
from services.runtime.settings import load
from tests.conftest import CreateTopics
from tests.integration.accounts.running import Running

PATIENCE = 60
"""Seconds within which anything that is waited for has long happened."""
SECRETS = {
    "desk.secret": "a-secret-that-zendesk-shows",
    "desk-old.secret": "the-one-before",
    "shop.secret": "shpss_0123456789abcdef",
    "phone.secret": "45XXYYZZa08",
    "erp.secret": "whsec_" + base64.b64encode(b"erp-erp-erp-erp-erp-erp-").decode(),
    "mail.secret": "whsec_" + base64.b64encode(b"mail-mail-mail-mail-mail").decode(),
}
SOURCES = """
own_domains = ["brightwell.example"]
default_region = "DE"
[sources.desk]
provider = "zendesk"
system = "zendesk:brightwell"
secret_files = ["desk.secret", "desk-old.secret"]
[sources.shop]
provider = "shopify"
system = "shopify:brightwell"
secret_files = ["shop.secret"]
[sources.phone]
provider = "aircall"
system = "aircall:brightwell"
secret_files = ["phone.secret"]
[sources.erp]
provider = "cloudevents"
system = "erp:brightwell"
secret_files = ["erp.secret"]
[sources.mail-anna]
provider = "mail"
mailbox = "anna@brightwell.example"
secret_files = ["mail.secret"]
[sources.history]
provider = "import"
system = "erp:brightwell"
"""


@dataclass(frozen=True)
class Ingest:
    """A running ingest service."""

    http: httpx2.AsyncClient
    operations: httpx2.AsyncClient
    settings: IngestSettings
    issuer: Issuer
    stop: Callable[[], Awaitable[None]]

    async def published(self, number: int) -> list[ConsumerRecord]:
        """Reads `tenure.interactions` from its beginning until `number` records have come; checks that no more came."""
        topic = self.settings.physical(INTERACTIONS.name)
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.settings.kafka_bootstrap, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        try:
            records: list[ConsumerRecord] = []
            async with asyncio.timeout(PATIENCE):
                while True:
                    ends = await consumer.end_offsets(list(consumer.assignment()))
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        records += batch
                    # Positions, not counts: the ends of transactions take offsets of their own.
                    behind = [each for each, end in ends.items() if await consumer.position(each) < end]
                    if ends and len(records) >= number and not behind:
                        break
            assert len(records) == number
            return records
        finally:
            await consumer.stop()

    async def events(self, number: int) -> list[Event]:
        """The same, decoded."""
        decoded = [decode(Envelope.from_headers(dict(r.headers)), r.value) for r in await self.published(number)]
        assert all(isinstance(event, Event) for event in decoded)
        return [event for event in decoded if isinstance(event, Event)]

    async def post(self, path: str, body: bytes, scheme: SchemeName, secret: str, **headers: str) -> httpx2.Response:
        """Posts a signed body."""
        signed = sign(scheme, SECRETS[secret], body, identifier="msg_1")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, content=body, headers={"content-type": "application/json", **signed, **named})

    def bearer(self, *roles: str) -> dict[str, str]:
        """The header of somebody with these roles."""
        return {"authorization": f"Bearer {self.issuer.issue('olga', roles)}"}

    async def events_door(
        self, item: Any, media: str = "application/cloudevents+json", **headers: str
    ) -> httpx2.Response:
        """Posts to `/v1/events`, signed by the ERP; `item` may be bytes."""
        body = item if isinstance(item, bytes) else orjson.dumps(item)
        return await self.post(
            "/v1/events", body, SchemeName.STANDARD_WEBHOOKS, "erp.secret", content_type=media, **headers
        )


StartIngest = Callable[..., Awaitable[Ingest]]


@pytest.fixture
async def start_ingest(
    kafka_bootstrap: str,
    topic_prefix: str,
    make_topics: CreateTopics,
    database: Callable[[str], DatabaseAccess],
    tmp_path: Path,
) -> AsyncIterator[StartIngest]:
    """Starts the service; keyword arguments are further settings, `sources` is further TOML."""
    make_topics()
    issuer = Issuer(tmp_path / "issuer", "https://login.brightwell.invalid", "tenure")
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret)
    async with AsyncExitStack() as stack:

        async def start(sources: str = "", *, wait: bool = True, **settings: str) -> Ingest:
            (tmp_path / "sources.toml").write_text(SOURCES + sources)
            access = database("ingest")
            environ = {
                "TENURE_KAFKA_BOOTSTRAP": kafka_bootstrap,
                "TENURE_TOPIC_PREFIX": topic_prefix,
                "TENURE_DATABASE_URL": access.worker,
                "TENURE_SOURCES_FILE": str(tmp_path / "sources.toml"),
                "TENURE_HTTP_PORT": "0",
                "TENURE_OPERATIONS_PORT": "0",
                "TENURE_AUTH_JWKS_FILE": str(issuer.jwks_file),
                "TENURE_AUTH_ISSUER": issuer.issuer,
                "TENURE_AUTH_AUDIENCE": issuer.audience,
                **{f"TENURE_{name.upper()}": value for name, value in settings.items()},
            }
            read = load(IngestSettings, environ)
            service = await build(read)
            running = await stack.enter_async_context(AsyncExitStack())
            await running.enter_async_context(service.running())
            http, operations = [
                await stack.enter_async_context(
                    httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
                )
                for port in (service.http_port, service.operations_port)
            ]
            ingest = Ingest(http, operations, read, issuer, running.aclose)
            await listening(ingest)
            if wait:
                await ready(ingest)
            return ingest

        yield start


async def listening(ingest: Ingest) -> None:
    """Waits until both ports answer, whatever they say."""
    async with asyncio.timeout(PATIENCE):
        for client in (ingest.operations, ingest.http):
            while True:
                with contextlib.suppress(httpx2.ConnectError):
                    await client.get("/livez")
                    break
                await asyncio.sleep(0.05)


async def ready(ingest: Ingest) -> None:
    """Waits until the service is ready."""
    async with asyncio.timeout(PATIENCE):
        while (await ingest.operations.get("/readyz")).status_code != HTTPStatus.OK:
            await asyncio.sleep(0.05)


@pytest.fixture
async def ingest(start_ingest: StartIngest) -> Ingest:
    """The service with its usual sources."""
    return await start_ingest()


@dataclass(frozen=True)
class Operator:
    """Runs `tenure` in this process, with a token that both services believe."""

    stage: Running
    token: Path
    start_ingest: StartIngest

    async def ingest(self, sources: str = "") -> Ingest:
        """Ingest, which believes the issuer of accounts."""
        issuer = self.stage.issuer
        return await self.start_ingest(sources, auth_jwks_file=str(issuer.jwks_file), auth_issuer=issuer.issuer)

    async def run(self, ingest: Ingest, *words: str, accounts: Service | None = None) -> tuple[int, str]:
        """Return the exit code and what was said."""
        beside = ["--accounts-url", f"http://127.0.0.1:{accounts.http_port}"] if accounts else []
        where = ["--url", str(ingest.http.base_url), *beside, "--token-file", str(self.token)]
        result = await asyncio.to_thread(CliRunner().invoke, build_command(), [*words, *where])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output


@pytest.fixture
def operator(
    kafka_bootstrap: str,
    topic_prefix: str,
    database: Callable[[str], DatabaseAccess],
    start_ingest: StartIngest,
    tmp_path: Path,
) -> Operator:
    """Nothing runs yet."""
    stage = Running(kafka_bootstrap, topic_prefix, database("accounts"), tmp_path / "accounts")
    token = tmp_path / "token"
    token.write_text(stage.issuer.issue("olga", ["operator"]))
    return Operator(stage, token, start_ingest)
