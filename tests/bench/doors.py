"""The doors of ingest, as the real service in a process of its own: one signed webhook, and bulk imports."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from contracts.topics import INTERACTIONS
from deploy.local.instance import CHECKOUT
from deploy.local.processes import free_port, spawn, stop, wait_until
from services.runtime.auth import Issuer
from tests.bench import beside, company
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground
from tests.bench.load import Answers, saturate, steady
from tests.bench.stream import Pace, producing, read_all
from tests.bench.webhooks import cloud_event, fresh_secret, request, signed

NOTHING = "uvicorn, POST that does nothing"
WEBHOOK = Figure("webhook", "one signed webhook, until acknowledged", NOTHING, first=0.30, goal=0.50)
ROUTE = Figure(
    "webhook-route", "one signed webhook, until acknowledged", "FastAPI on uvicorn, POST that only reads the body"
)
GUIDES = Figure("webhook-guides", "FastAPI + pydantic + FastStream publish, unsigned", NOTHING)
LATENCY = Figure(
    "webhook-p99", "99th percentile at half of its own greatest load", "an open loop", first=15.0, unit="ms"
)
IMPORT = Figure("import", "bulk import, NDJSON, 500 lines", "raw aiokafka send_batch", first=0.20, goal=0.30)

_ISSUER, _AUDIENCE = "https://bench.tenure.invalid", "tenure"
HISTORY = "history"
CONNECTIONS = 64
_IMPORTS_AT_ONCE = 2
_LINES = 500
_APART = 10  # seconds between two orders
SOURCES = f"""
own_domains = []
[sources.{company.SOURCE}]
provider = "cloudevents"
system = "{company.SYSTEM}"
secret_files = ["bench.secret"]
[sources.{HISTORY}]
provider = "import"
system = "{company.SYSTEM}"
secret_files = []
"""


@dataclass(slots=True)
class _Numbers:
    """Orders that nobody has sent yet: each number is sent once in a run of the bench."""

    used: int = 0

    def take(self, count: int) -> int:
        """The first of `count` fresh numbers."""
        first, self.used = self.used, self.used + count
        return first


@dataclass(frozen=True, slots=True)
class Ingest:
    """The running service and what a client needs to know."""

    ground: Ground
    port: int
    topic: str
    secret: str
    token: str


def webhook(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """Ingest and the guides' way against servers that do nothing; then ingest's latency at half load."""
    requests = plan.share(3, at_least=200)
    numbers = _Numbers()
    with (
        running_ingest(ground) as ingest,
        running_nothing(ground) as nothing,
        _route(ground) as route,
        _guides(ground) as guides,
    ):

        def baseline() -> float:
            # It is over so soon that more of them are needed for a steady rate.
            count = 4 * requests
            return _saturate(ground, nothing, ingest.secret, numbers.take(count), count)

        def by_a_route() -> float:
            return _saturate(ground, route, ingest.secret, numbers.take(requests), requests)

        def by_the_guides() -> float:
            count = max(200, requests // 4)
            return _saturate(ground, guides, ingest.secret, numbers.take(count), count)

        def tenure() -> float:
            first = numbers.take(requests)
            rate = _saturate(ground, ingest.port, ingest.secret, first, requests)
            _check_topic(ground, ingest.topic, first, requests)
            return rate

        rates = alternate(
            plan.many_rounds, step, baseline=baseline, tenure=tenure, guides=by_the_guides, route=by_a_route
        )
        half = min(rates["tenure"]) / 2
        latencies = []
        for number in range(plan.rounds):
            step(f"half load, round {number + 1} of {plan.rounds}")
            first = numbers.take(requests)
            answer = ground.apart(
                "tests.bench.doors:at_half_load",
                port=ingest.port,
                secret=ingest.secret,
                first=first,
                count=requests,
                per_second=half,
            )
            _check_topic(ground, ingest.topic, first, requests)
            latencies.append(float(answer["p99_ms"]))
    return [
        compare(WEBHOOK, rates["tenure"], rates["baseline"]),
        compare(ROUTE, rates["tenure"], rates["route"]),
        compare(GUIDES, rates["guides"], rates["baseline"]),
        Measured(LATENCY, tuple(latencies), {"tenure": half}),
    ]


def bulk(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """Imports of 500 lines against a producer that sends as many ready-made records in one batch."""
    # As many as keep both busy for seconds: in the first half second the broker compiles itself.
    lines = max(4 * _LINES, 2 * plan.records // _LINES * _LINES)
    numbers = _Numbers()
    with running_ingest(ground) as ingest:

        def baseline() -> float:
            prefix = ground.topics((INTERACTIONS,))
            topic = prefix + INTERACTIONS.name
            first = numbers.take(lines)
            answer = ground.apart(
                "tests.bench.doors:send_raw", bootstrap=ground.kafka, topic=topic, first=first, count=lines
            )
            return float(answer["per_second"])

        def tenure() -> float:
            first = numbers.take(lines)
            answer = ground.apart(
                "tests.bench.doors:import_lines", port=ingest.port, token=ingest.token, first=first, count=lines
            )
            _check_topic(ground, ingest.topic, first, lines)
            return float(answer["per_second"])

        rates = alternate(plan.many_rounds, step, baseline=baseline, tenure=tenure)
    return [compare(IMPORT, rates["tenure"], rates["baseline"])]


# jobs, each in a process of its own


async def as_fast_as_it_goes(*, port: int, secret: str, first: int, count: int) -> dict[str, Any]:
    """Answers a second with all connections busy."""
    requests = list(signed(secret, _orders(first, count)))
    per_second, answers = await saturate(port, requests, CONNECTIONS)
    all_taken(answers, count)
    return {"per_second": per_second}


async def at_half_load(*, port: int, secret: str, first: int, count: int, per_second: float) -> dict[str, Any]:
    """The 99th percentile in milliseconds."""
    requests = list(signed(secret, _orders(first, count)))
    run = await steady(port, requests, per_second, CONNECTIONS)
    all_taken(run.answers, count)
    return {"p99_ms": run.latencies[int(len(run.latencies) * 0.99)] * 1000}


async def import_lines(
    *, port: int, token: str, first: int, count: int, accounts: int = 10_000, since: float | None = None
) -> dict[str, Any]:
    """Lines a second, and when the first was sent, by a clock that all processes share; `since`: see `_orders`."""
    bodies = list(_ndjson(_orders(first, count, accounts, since)))
    head = f"Authorization: Bearer {token}\r\n"
    requests = [request(f"/v1/imports/{HISTORY}", "application/x-ndjson", head, body) for body in bodies]
    began = time.perf_counter()
    per_second, answers = await saturate(port, requests, _IMPORTS_AT_ONCE)
    all_taken(answers, len(requests))
    return {"per_second": per_second * _LINES, "began": began}


async def send_raw(*, bootstrap: str, topic: str, first: int, count: int) -> dict[str, Any]:
    """Ready-made records a second, 500 in one batch of one partition, as many batches on their way as imports."""
    records = [company.record_of(order) for order in _orders(first, count)]
    pace = Pace()
    async with producing(bootstrap) as producer:
        partitions = sorted(await producer.partitions_for(topic))
        flying: list[asyncio.Future[object]] = []
        for number in range(0, count, _LINES):
            batch = producer.create_batch()
            for record in records[number : number + _LINES]:
                batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
            partition = partitions[number // _LINES % len(partitions)]
            flying.append(await producer.send_batch(batch, topic, partition=partition))
            if len(flying) == _IMPORTS_AT_ONCE:
                await flying.pop(0)
                pace.committed(pace.total + _LINES)
        for last in flying:
            await last
            pace.committed(pace.total + _LINES)
    expect("records sent", pace.total, count)
    return {"per_second": pace.per_second}


# requests


def _ndjson(orders: Iterator[company.Order]) -> Iterator[bytes]:
    lines: list[bytes] = []
    for order in orders:
        lines.append(orjson.dumps(cloud_event(order)))
        if len(lines) == _LINES:
            yield b"\n".join(lines)
            lines.clear()


def _orders(first: int, count: int, accounts: int = 10_000, since: float | None = None) -> Iterator[company.Order]:
    """Orders first … first + count - 1, all of one moment; `since` (Unix seconds): one after the other from then on."""
    for number in range(first, first + count):
        placed = company.LAST_MOMENT if since is None else datetime.fromtimestamp(since + number * _APART, UTC)
        yield company.Order(number, number % accounts, int(since is not None), placed)


# checks


def all_taken(answers: Answers, count: int) -> None:
    if set(answers.statuses) - {200, 202} or answers.statuses.total() != count:
        raise CheckFailed(f"{count} requests were answered with {dict(answers.statuses)}: {answers.refusal}")


def _check_topic(ground: Ground, topic: str, first: int, count: int) -> None:
    """Each report must stand once on the topic, with the money that it was sent with."""
    answer = ground.apart("tests.bench.doors:on_topic", bootstrap=ground.kafka, topic=topic, first=first, count=count)
    expect("reports on the topic", answer["records"], count)
    expect("distinct reports on the topic", answer["distinct"], count)
    expect("their sum", answer["sum"], str(sum(order.net for order in _orders(first, count))))


async def on_topic(*, bootstrap: str, topic: str, first: int, count: int) -> dict[str, Any]:
    """How many of the reports are there, and how much money they state."""
    wanted = {company.event_of(order).id: order.net for order in _orders(first, count)}
    found = []
    total = company.NOTHING
    async for record in read_all(bootstrap, topic):
        identifier = dict(record.headers)["ce_id"].decode()
        if identifier in wanted:
            found.append(identifier)
            total += company.money_in(record.value)
    return {"records": len(found), "distinct": len(set(found)), "sum": str(total)}


# servers


@contextmanager
def running_ingest(
    ground: Ground, more: str = "", more_secrets: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Ingest]:
    """The service, with `more` sources and the secrets that their tables name."""
    folder = ground.instance.secrets
    secret = fresh_secret()
    for name, text in {"bench.secret": secret, **more_secrets}.items():
        _write(folder / name, text)
    _write(folder / "sources.toml", SOURCES + more)
    issuer = Issuer(folder / "issuer", _ISSUER, _AUDIENCE)
    database = ground.database("ingest")
    prefix = ground.topics((INTERACTIONS,))
    port = free_port()
    settings = {
        "KAFKA_BOOTSTRAP": ground.kafka,
        "TOPIC_PREFIX": prefix,
        "DATABASE_URL": database.worker,
        "API_DATABASE_URL": database.api,
        "HTTP_PORT": str(port),
        "OPERATIONS_PORT": str(operations := free_port()),
        "SOURCES_FILE": str(folder / "sources.toml"),
        "AUTH_JWKS_FILE": str(issuer.jwks_file),
        "AUTH_ISSUER": _ISSUER,
        "AUTH_AUDIENCE": _AUDIENCE,
        "TRACE_FILE": str(ground.instance.logs / "ingest.trace.jsonl"),
    }
    environment = {f"TENURE_{name}": value for name, value in settings.items()}
    with server(ground, "ingest", ["-m", "services.ingest.app"], f"http://127.0.0.1:{operations}/readyz", environment):
        token = issuer.issue("bench", ["operator"], timedelta(hours=1))
        yield Ingest(ground, port, prefix + INTERACTIONS.name, secret, token)


@contextmanager
def running_nothing(ground: Ground) -> Iterator[int]:
    """The port of a server that does nothing."""
    port = free_port()
    with server(ground, "nothing", _uvicorn("tests.bench.beside:nothing", port), f"http://127.0.0.1:{port}/"):
        yield port


@contextmanager
def _route(ground: Ground) -> Iterator[int]:
    port = free_port()
    command = [*_uvicorn("tests.bench.beside:route", port), "--factory"]
    with server(ground, "route", command, f"http://127.0.0.1:{port}/docs"):
        yield port


@contextmanager
def _guides(ground: Ground) -> Iterator[int]:
    port = free_port()
    prefix = ground.topics((INTERACTIONS,))
    environment = {beside.BOOTSTRAP: ground.kafka, beside.TOPIC: prefix + INTERACTIONS.name}
    command = [*_uvicorn("tests.bench.beside:guides", port), "--factory"]
    with server(ground, "guides", command, f"http://127.0.0.1:{port}/docs", environment):
        yield port


def _uvicorn(app: str, port: int) -> list[str]:
    options = ["--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    return ["-m", "uvicorn", app, *options, "--no-access-log", "--log-level", "warning"]


@contextmanager
def server(
    ground: Ground, name: str, command: Sequence[str], ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    log = ground.instance.logs / f"{name}.log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TENURE_")}
    record = spawn(
        [sys.executable, *command],
        mark=command[1],
        log=log,
        environment=inherited | dict(environment or {}),
        directory=CHECKOUT,
    )
    ground.instance.add(name, record)
    try:
        wait_until(lambda: _answers(ready), record=record, what=name, log=log)
        yield
    finally:
        stop(record, gently=signal.SIGTERM, patience=20.0)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - an http address of this machine
            return True
    except OSError:
        return False


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)


def _saturate(ground: Ground, port: int, secret: str, first: int, count: int) -> float:
    answer = ground.apart("tests.bench.doors:as_fast_as_it_goes", port=port, secret=secret, first=first, count=count)
    return float(answer["per_second"])
