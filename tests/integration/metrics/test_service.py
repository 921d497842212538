"""The whole service on real Kafka and PostgreSQL: from activity and accounts to kpis and the API."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
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
from tests.conftest import CreateTopics
from tests.unit.metrics.builders import ACCOUNT, account, at, mail, uid, user

_GENEROUS = 60
ANNA = uid(501)


class Running:
    """The service and what a test does to it."""

    def __init__(self, service: Service, bootstrap: str, prefix: str, issuer: Issuer, clock: Path) -> None:
        self.service = service
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.issuer = issuer
        self.clock = clock

    async def produce(self, topic: str, states: list[Model], moment: datetime) -> None:
        """Put states on a topic as accounts does."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        for state in states:
            subject = str(getattr(state, "account_id", None) or getattr(state, "user_id", ""))
            headers = Envelope(subject, "/accounts", state.TYPE, subject, moment, moment).headers()  # type: ignore[attr-defined]
            await producer.send_and_wait(self.prefix + topic, encode(state), key=subject.encode(), headers=headers)
        await producer.stop()

    async def drained(self) -> dict[str, Any]:
        """Wait until everything has flowed."""
        base = f"http://127.0.0.1:{self.service.operations_port}"
        async with httpx.AsyncClient(base_url=base, timeout=_GENEROUS) as client, asyncio.timeout(_GENEROUS):
            while True:
                answer = await client.get("/flow")
                if answer.status_code == 200 and answer.json()["drained"]:
                    return dict(answer.json())
                await asyncio.sleep(0.05)

    async def get(self, path: str, subject: str = "anna", roles: tuple[str, ...] = ()) -> httpx.Response:
        """Ask the API as somebody."""
        token = self.issuer.issue(subject, roles)
        base = f"http://127.0.0.1:{self.service.http_port}"
        async with httpx.AsyncClient(base_url=base, timeout=_GENEROUS) as client:
            return await client.get(path, headers={"Authorization": f"Bearer {token}"})

    async def published(self, count: int) -> list[AccountKpis]:
        """The first `count` states on tenure.kpis."""
        consumer = AIOKafkaConsumer(
            self.prefix + KPIS.name,
            bootstrap_servers=self.bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        found: list[AccountKpis] = []
        async with asyncio.timeout(_GENEROUS):
            while len(found) < count:
                one = await consumer.getone()
                state = decode(Envelope.from_headers(one.headers), one.value)
                assert isinstance(state, AccountKpis)
                assert one.key == state.account_id.encode()
                found.append(state)
        await consumer.stop()
        return found


@pytest.fixture
async def running(
    kafka_bootstrap: str,
    topic_prefix: str,
    make_topics: CreateTopics,
    database: Callable[[str], DatabaseAccess],
    tmp_path: Path,
) -> AsyncIterator[Running]:
    """Metrics as a running service on a clock that the test steps."""
    make_topics((ACCOUNTS, ACTIVITY, KPIS), partitions=3)
    issuer, access, clock = Issuer(tmp_path, "test", "tenure"), database("metrics"), tmp_path / "clock"
    write_moment(clock, at("2026-03-02 09:00"))
    settings = MetricsSettings(
        kafka_bootstrap=kafka_bootstrap,
        topic_prefix=topic_prefix,
        database_url=access.worker,
        api_database_url=access.api,
        http_port=0,
        operations_port=0,
        clock=f"file:{clock}",
        auth_jwks_file=issuer.jwks_file,
        auth_issuer="test",
        auth_audience="tenure",
        time_zone="Europe/Berlin",
    )
    service = await build(settings)
    async with service.running():
        yield Running(service, kafka_bootstrap, topic_prefix, issuer, clock)


async def test_a_mail_on_activity_becomes_figures_on_kpis_and_in_the_api_and_midnight_moves_them(
    running: Running,
) -> None:
    moment = at("2026-03-02 08:30")
    owned = account(version=3, owners=((ANNA, date(2026, 1, 1), None),))
    await running.produce(ACCOUNTS.name, [user(ANNA, subject="anna"), owned], moment)
    await running.drained()
    await running.produce(ACTIVITY.name, [mail(1, moment, version=4)], moment)
    flow = await running.drained()
    assert flow["parts"]["slides"]["due"] == 0
    states = await running.published(2)
    assert (states[-1].account_version, states[-1].as_of_day) == (3, date(2026, 3, 2))
    assert next(value.value for value in states[-1].values if value.kpi == "touches_in") == 1

    shown = (await running.get(f"/v1/accounts/{ACCOUNT}/kpis")).json()
    assert shown["values"][4] | {"evidence": ""} == {
        "kpi": "touches_in",
        "window": 7,
        "unit": "count",
        "value": "1",
        "previous": "0",
        "change": "1",
        "evidence": "",
    }
    items = (await running.get(shown["values"][4]["evidence"])).json()
    assert [item["interaction_id"] for item in items["items"]] == [uid(1)]
    manager = (await running.get(f"/v1/managers/{ANNA}/kpis")).json()
    assert manager["values"][4]["value"] == "1"
    assert (await running.get(f"/v1/accounts/{ACCOUNT}/kpis", "nobody")).status_code == 404

    write_moment(running.clock, at("2026-03-08 23:30"))  # the ninth in Berlin: the second has left the week
    await running.drained()
    states = await running.published(3)
    touches_in = states[-1].values[4]
    assert states[-1].as_of_day == date(2026, 3, 9)
    assert (touches_in.value, touches_in.previous) == (Decimal(0), Decimal(1))
    before = (await running.get(f"/v1/accounts/{ACCOUNT}/kpis?as_of=2026-03-08")).json()
    assert before["values"][4]["value"] == "1"
