"""The whole system as real processes: from a webhook to an alert in an open loop, and everything in a closed one.

Orders of known accounts are the load; every so many of them a ticket comes instead, about an account that has had none.
A rule that warns from the first ticket on makes an alert of it, and so its time through all four services can be taken:
from when the request was due until the alert can be read on `tenure.alerts`.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from contracts.envelope import format_instant
from contracts.topics import ALERTS, INTERACTIONS, KPIS
from deploy.local.system import System, SystemPlan, start_system
from tests.bench import company, rebuilding
from tests.bench.copying import copy_raw
from tests.bench.doors import CONNECTIONS, SOURCES
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground, blocking
from tests.bench.listening import Listening
from tests.bench.load import steady
from tests.bench.stream import produce, read_all
from tests.bench.webhooks import cloud_event, fresh_secret, sign_each

_OPEN = "webhook → KPI → alert, whole system in real processes"
P50 = Figure("alert-200-p50", f"{_OPEN}, median", "an open loop, 200 events/s", first=250.0, unit="ms")
P99 = Figure("alert-200-p99", f"{_OPEN}, 99th percentile", "an open loop, 200 events/s", first=1000.0, unit="ms")
FAST_P50 = Figure("alert-1000-p50", f"{_OPEN}, median", "an open loop, 1,000 events/s", goal=250.0, unit="ms")
FAST_P99 = Figure("alert-1000-p99", f"{_OPEN}, 99th percentile", "an open loop, 1,000 events/s", goal=1000.0, unit="ms")
CLOSED = Figure(
    "chain", "whole chain, import → KPI → rules, closed loop, two cores", "A (getmany → COPY)", first=0.04, goal=0.07
)
ONE_MOMENT = Figure("chain-one-moment", "the same with all orders of one moment", "A (getmany → COPY)")

_LOADED = 1_000  # accounts that orders are about
_FLOW = ("ingest", "accounts", "metrics", "notifier")
_PROBE_EVERY = 8
_SLOW, _FAST = 200, 1_000  # events a second
_SEARCH = (600, 400)
_KEEPS_UP = 1000.0  # ms; the median of the last tenth of alerts in a run that was kept up with
_PATIENCE = 180.0  # seconds
_WARM_UP = 10  # the first tenth does not count
_LINES = 500
_BACK = 60 * 24 * 3600.0  # seconds


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """The open loop at both rates, then the closed loop against A."""
    events = {rate: rate * plan.seconds for rate in (_SLOW, _FAST, *_SEARCH)}
    probes = (plan.rounds * (events[_SLOW] + events[_FAST]) + sum(events[rate] for rate in _SEARCH)) // _PROBE_EVERY
    with _stage(ground, plan, probes, step) as stage:
        slow = [_open_loop(stage, _SLOW, events[_SLOW], step) for _ in range(plan.rounds)]
        fast: list[dict[str, float]] = []
        while len(fast) < plan.rounds and all(_kept_up(one) for one in fast):
            fast.append(_open_loop(stage, _FAST, events[_FAST], step))
        broken = "" if _kept_up(fast[-1]) else _search(stage, events, step)
        closed = _closed_loops(ground, plan, stage, step)
        rebuilt = rebuilding.measure(plan, stage, lambda lines: _import(stage, lines), step)
    door = max(one["door_p99_ms"] for one in slow)
    told = f"the door alone answers within {door:.0f} ms (99th percentile)"
    if not all(map(_kept_up, slow)):
        told += f"; {_SLOW}/s is not sustained here: alerts come later and later, or requests are refused"
    return [
        Measured(P50, _of("p50_ms", slow), {"tenure": _SLOW}),
        Measured(P99, _of("p99_ms", slow), {"tenure": _SLOW}, told),
        Measured(FAST_P50, _of("p50_ms", fast), {"tenure": _FAST}, broken),
        Measured(FAST_P99, _of("p99_ms", fast), {"tenure": _FAST}, broken),
        *closed,
        rebuilt,
    ]


def _of(name: str, runs: list[dict[str, float]]) -> tuple[float, ...]:
    return tuple(one[name] for one in runs)


def _kept_up(run: dict[str, float]) -> bool:
    return run["tail_ms"] <= _KEEPS_UP and not run["refused"]


def _search(stage: _Stage, events: dict[int, int], step: Step) -> str:
    """Says at which rate the system still keeps up."""
    above = _FAST
    for rate in _SEARCH:
        if _kept_up(_open_loop(stage, rate, events[rate], step)):
            return f"{above:,}/s is not sustained here: alerts come later and later; {rate:,}/s is"
        above = rate
    return f"{_FAST:,}/s is not sustained here, nor is {above:,}/s: alerts come later and later"


# the system


@dataclass
class _Stage:
    """A running system with its accounts, and what has been sent to it so far."""

    system: System
    secret: str
    ids: Path
    """JSON: the id of each account, by its number."""
    since: float
    """Unix seconds: orders of the closed loop were placed one after another from then on."""
    orders: int = 0
    probes: int = 0
    refused: int = 0
    """Answered with 503: whether they were taken is not known, and nobody sends them again here."""

    @property
    def port(self) -> int:
        return int(self.system.url("ingest").rpartition(":")[2])

    def call(
        self,
        service: str,
        path: str,
        body: bytes | None = None,
        media: str = "application/json",
        *,
        method: str = "POST",
    ) -> dict[str, Any]:
        """Asks as an operator ("<service> operations": its operations port); raises CheckFailed when it is refused."""
        name, _, operations = service.partition(" ")
        base = self.system.operations_url(name) if operations else self.system.url(name)
        token = self.system.token("bench", ["operator", "admin"])
        headers = {"Authorization": f"Bearer {token}", "Content-Type": media}
        request = urllib.request.Request(f"{base}{path}", body, headers, method=method)  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - the same
                return dict(orjson.loads(answer.read()))
        except OSError as refused:
            raise CheckFailed(f"{method} {path}: {refused}") from None

    def drained(self) -> None:
        """Returns when every service has done all there is to do, asked in the order in which records travel."""
        deadline = time.monotonic() + _PATIENCE
        for service in _FLOW:
            while not (report := self.call(f"{service} operations", "/flow", method="GET"))["drained"]:
                self.system.check()
                if time.monotonic() > deadline:
                    raise CheckFailed(f"{service} does not come to rest: {str(report)[:500]}")
                time.sleep(0.05)


@contextmanager
def _stage(ground: Ground, plan: Plan, probes: int, step: Step) -> Iterator[_Stage]:
    """A whole system with accounts, some for the load and one for each probe."""
    step("starting the whole system")
    directory = ground.instance.directory / "system"
    secret = fresh_secret()
    wanted = SystemPlan(
        sources_toml=SOURCES,
        secrets={"bench.secret": secret},
        ephemeral=True,
        partitions=ground.partitions,
        environment={"metrics": {"BATCH_SIZE": str(rebuilding.batch(plan))}},
    )
    with start_system(directory, wanted) as system:
        stage = _Stage(system, secret, directory / "accounts.json", time.time() - _BACK)
        step(f"making {_LOADED + probes} accounts")
        rule = {"thresholds": {"warn_from": 1}, "note": "every first ticket is to raise an alert here"}
        stage.call("notifier", "/v1/rules/ticket_volume", orjson.dumps(rule), "application/json")
        for first in range(0, _LOADED + probes, _LINES):
            numbers = range(first, min(first + _LINES, _LOADED + probes))
            answer = stage.call("accounts", "/v1/imports/accounts", _accounts_csv(numbers), "text/csv")
            expect("accounts taken", answer["accepted"], len(numbers))
        stage.drained()
        stage.ids.write_text(json.dumps(blocking(_account_ids(system.databases["accounts"].worker))))
        yield stage


def _accounts_csv(numbers: range) -> bytes:
    head = "account,name,currency,created_at,organisations,history_complete\n"
    today = datetime.now(UTC).date()
    rows = (
        f"customer-{number},Customer {number},{company.CURRENCY},{today},{company.organisation(number)},yes\n"
        for number in numbers
    )
    return (head + "".join(rows)).encode()


async def _account_ids(dsn: str) -> dict[str, str]:
    connection = await asyncpg.connect(dsn)
    try:
        # which id each account was given
        rows = await connection.fetch("select external_key, id::text as id from account")
    finally:
        await connection.close()
    return {row["external_key"].removeprefix("customer-"): row["id"] for row in rows}


# the open loop


def _open_loop(stage: _Stage, rate: int, count: int, step: Step) -> dict[str, float]:
    """What came of `count` events at `rate` a second; every alert must have come, once."""
    step(f"open loop at {rate} events/s")
    first, probes = stage.orders, count // _PROBE_EVERY
    system = stage.system
    answer = dict[str, float](
        _apart(
            stage,
            "tests.bench.chain:open_loop",
            port=stage.port,
            secret=stage.secret,
            bootstrap=system.kafka.bootstrap,
            topic=f"{system.plan.topic_prefix}{ALERTS.name}",
            first=first,
            count=count,
            per_second=rate,
            first_probe=stage.probes,
            ids=str(stage.ids),
        )
    )
    stage.orders += count
    stage.probes += probes
    stage.refused += int(answer["refused"])
    stage.drained()
    return answer


def _apart(stage: _Stage, job: str, **arguments: Any) -> dict[str, Any]:
    from tests.bench.apart import run_apart  # noqa: PLC0415 - a job imports this module too, and starts nothing

    return run_apart(stage.system.instance, job, **arguments)


async def open_loop(
    *,
    port: int,
    secret: str,
    bootstrap: str,
    topic: str,
    first: int,
    count: int,
    per_second: float,
    first_probe: int,
    ids: str,
) -> dict[str, float]:
    """Sends and listens in one process, so that one clock times both."""
    known: dict[str, str] = json.loads(Path(ids).read_text())  # noqa: ASYNC240 - nothing else runs here yet
    probes = {
        known[str(_LOADED + first_probe + number)]: number * _PROBE_EVERY + _PROBE_EVERY - 1
        for number in range(count // _PROBE_EVERY)
    }
    requests = list(sign_each(secret, _events(first, count, first_probe)))
    async with Listening(bootstrap, topic, probes) as ear:
        run = await steady(port, requests, per_second, CONNECTIONS)
        await ear.until_quiet(len(probes))
    refused = run.answers.statuses.total() - run.answers.statuses[202]
    if not refused:
        expect("accounts with an alert", len(ear.heard), len(probes))
    expect("accounts with more than one", sum(times > 1 for times in ear.times.values()), 0)
    late = [
        (ear.heard[account] - run.began - place / per_second) * 1000
        for account, place in probes.items()
        if account in ear.heard
    ]
    if not late:
        raise CheckFailed(f"no alert came, and {refused} of {count} requests were refused: {run.answers.refusal}")
    counted = sorted(late[len(late) // _WARM_UP :])
    tail = sorted(late[-max(1, len(late) // 10) :])
    return {
        "p50_ms": counted[len(counted) // 2],
        "p99_ms": counted[int(len(counted) * 0.99)],
        "tail_ms": tail[len(tail) // 2],
        "door_p99_ms": run.latencies[int(len(run.latencies) * 0.99)] * 1000,
        "refused": float(refused),
    }


def _events(first: int, count: int, first_probe: int) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC).replace(microsecond=0)
    for place in range(count):
        if place % _PROBE_EVERY == _PROBE_EVERY - 1:
            yield _ticket(_LOADED + first_probe + place // _PROBE_EVERY, now)
        else:
            yield cloud_event(company.Order(first + place, (first + place) % _LOADED, 0, now))


def _ticket(account: int, opened: datetime) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"opened-{account}",
        "source": "/desk",
        "type": "tenure.ticket.opened.v1",
        "subject": f"ticket-{account}",
        "time": format_instant(opened),
        "data": {
            "parties": [
                {
                    "role": "requester",
                    "identities": [{"kind": "organisation", "value": company.organisation(account)}],
                    "name": f"Customer {account}",
                }
            ],
            "priority": "high",
        },
    }


# the closed loop


def _closed_loops(ground: Ground, plan: Plan, stage: _Stage, step: Step) -> list[Measured]:
    """Imports as fast as they are acknowledged, until every service has come to rest, against A on as many records."""
    lines = plan.share(2, at_least=2 * _LINES) // _LINES * _LINES
    prefix = ground.topics((INTERACTIONS,), partitions=2)
    records = (company.record_of(order) for order in company.orders(lines, accounts=_LOADED, conversations=_LOADED))
    blocking(produce(ground.kafka, prefix + INTERACTIONS.name, records))
    plain = ground.plain_database()

    def chain(*, one_moment: bool) -> float:
        answer = _import(stage, lines, one_moment=one_moment)
        stage.drained()
        rate: float = lines / (time.perf_counter() - answer["began"])
        _check(stage)
        return rate

    rates = alternate(
        plan.rounds,
        step,
        baseline=lambda: copy_raw(ground, prefix + INTERACTIONS.name, lines, min(plan.batch, lines // 4), plain),
        whole_chain=lambda: chain(one_moment=False),
        orders_of_one_moment=lambda: chain(one_moment=True),
    )
    return [
        compare(CLOSED, rates["whole_chain"], rates["baseline"]),
        compare(ONE_MOMENT, rates["orders_of_one_moment"], rates["baseline"]),
    ]


def _import(stage: _Stage, lines: int, *, one_moment: bool = False) -> dict[str, Any]:
    """What an account orders belongs together: of one moment, its first changes again and again."""
    token = stage.system.token("bench", ["operator"])
    first, stage.orders = stage.orders, stage.orders + lines
    arguments = {"port": stage.port, "token": token, "first": first, "count": lines, "accounts": _LOADED}
    if not one_moment:
        arguments["since"] = stage.since
    return _apart(stage, "tests.bench.doors:import_lines", **arguments)


def _check(stage: _Stage) -> None:
    """The last published figures must count every order and every ticket that was sent."""
    topic = f"{stage.system.plan.topic_prefix}{KPIS.name}"
    last = blocking(_last_figures(stage.system.kafka.bootstrap, topic))
    orders = sum(one["orders"] for one in last.values())
    tickets = sum(one["tickets_opened"] for one in last.values())
    if stage.refused:
        expect("at least what was acknowledged is counted", orders + tickets >= stage.orders - stage.refused, True)  # noqa: FBT003 - as it reads
        return
    expect("orders in the last published figures", orders, stage.orders - stage.probes)
    expect("tickets in them", tickets, stage.probes)


async def _last_figures(bootstrap: str, topic: str) -> dict[bytes, Counter[str]]:
    last: dict[bytes, bytes] = {}
    async for record in read_all(bootstrap, topic):
        if record.value is not None:
            last[record.key] = record.value
    return {key: _figures(value) for key, value in last.items()}


def _figures(value: bytes) -> Counter[str]:
    values = orjson.loads(value)["values"]
    return Counter({one["kpi"]: int(float(one.get("value") or 0)) for one in values if one["window"] == 365})
