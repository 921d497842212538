"""The same small task by others: for each account how many orders there were and what they came to, in PostgreSQL.

Ours is a handler of the runtime with everything that the runtime promises. The others do it as their documentation
shows, with the end state checked for all. They promise less, and not the same: see docs/performance.md.
"""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from contracts import standins
from contracts.activity import Attribution
from contracts.envelope import Envelope
from contracts.topics import ACTIVITY
from deploy.environment import PEERS
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.postgres import create_pool
from services.runtime.records import Received, Record
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from tests.bench import company
from tests.bench.apart import run_together
from tests.bench.consuming import Drain, settings_of
from tests.bench.figures import Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground, blocking
from tests.bench.stream import Pace, produce

_TASK = "orders counted and summed by account, into PostgreSQL, all guarantees"
FASTSTREAM = Figure("peer-faststream", _TASK, "FastStream, a transaction per message")
OTHERS = {
    "quixstreams": Figure("peer-quixstreams", _TASK, "quixstreams, checkpoint each 5,000"),
    "bytewax": Figure("peer-bytewax", _TASK, "bytewax, recovery snapshots"),
}
_TABLE = (
    "create table peer_total (account_id uuid primary key, orders bigint not null, cents bigint not null)",
    "grant select, insert, update on peer_total to tenure_worker",
)
_TYPES = {Attribution.TYPE: Attribution}
_ROUNDS = 2  # it is for orientation


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """Ours and all others that can run here, round by round."""
    prefix = ground.topics((ACTIVITY,), partitions=2)
    step("writing the records")
    orders = list(company.orders(plan.records, accounts=plan.accounts, conversations=plan.conversations))
    blocking(produce(ground.kafka, prefix + ACTIVITY.name, map(company.attribution_record, orders)))
    messages = plan.share(20, at_least=200)
    missing = {name: why for name in OTHERS if (why := _missing(name))}
    contestants: dict[str, Callable[[], float]] = {
        "tenure": lambda: _ours(ground, plan, prefix, orders),
        "faststream": lambda: _each(ground, prefix, messages),
    }
    for name in (name for name in OTHERS if name not in missing):
        contestants[name] = lambda name=name: _other(ground, plan, prefix, orders, name)  # type: ignore[misc]
    for why in missing.values():
        step(why)
    rates = alternate(min(plan.rounds, _ROUNDS), step, **contestants)
    found = [compare(FASTSTREAM, rates["tenure"], rates["faststream"])]
    for name, figure in OTHERS.items():
        if name in missing:
            found.append(Measured(figure, (), {}, missing[name]))
        else:
            found.append(compare(figure, rates["tenure"], rates[name]))
    return found


def _missing(name: str) -> str:
    """Why a peer cannot take part; empty when it can."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        return f"{name} was not measured: {PEERS.name} could not be made (`make bench` says why)"
    done = subprocess.run([python, "-c", f"import {name}, psycopg2"], check=False, capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    reason = (done.stderr.strip().splitlines() or ["it does not start"])[-1]
    return f"{name} was not measured: it cannot be had for this Python ({reason})"


def _database(ground: Ground) -> Any:
    made = ground.database("metrics")
    ground.execute(made.name, *_TABLE)
    ground.settle()
    return made


def _check(ground: Ground, database: str, orders: Sequence[company.Order]) -> None:
    counts: Counter[str] = Counter()
    cents: Counter[str] = Counter()
    for order in orders:
        counts[company.account_id(order.account)] += 1
        cents[company.account_id(order.account)] += int(order.net * 100)
    rows = ground.rows(database, "select account_id::text, orders, cents from peer_total")
    found = {row["account_id"]: (row["orders"], row["cents"]) for row in rows}
    expect("accounts", len(found), len(counts))
    wrong = sum(found.get(account) != (counts[account], cents[account]) for account in counts)
    expect("accounts with other totals than their orders give", wrong, 0)


# ours


def _ours(ground: Ground, plan: Plan, prefix: str, orders: Sequence[company.Order]) -> float:
    database = _database(ground)
    answer = ground.apart(
        "tests.bench.peers:job",
        bootstrap=ground.kafka,
        prefix=prefix,
        database=database.worker,
        records=plan.records,
        batch=min(plan.batch, plan.records // 4),
        directory=str(ground.instance.directory),
    )
    _check(ground, database.name, orders)
    ground.drop(database)
    return float(answer["per_second"])


class _Totals:
    """What one writes with our runtime, reading as our services do: offsets and dead letters are its part."""

    def decode(self, record: Record) -> Received[Attribution]:
        envelope = Envelope.from_headers(record.headers)
        return Received(record, standins.decode(envelope, record.value, _TYPES), envelope)

    async def handle(
        self, connection: asyncpg.Connection, batch: Sequence[Received[Attribution]], _now: datetime
    ) -> None:
        counts: Counter[str] = Counter()
        cents: Counter[str] = Counter()
        for received in batch:
            detail = received.event.detail
            counts[received.event.account_id] += 1
            cents[received.event.account_id] += _cents(detail)
        accounts = sorted(counts)
        # one row for each account; sorted, so that two replicas cannot wait for one another
        await connection.execute(
            "insert into peer_total (account_id, orders, cents)"
            " select * from unnest($1::uuid[], $2::bigint[], $3::bigint[])"
            " on conflict (account_id) do update set"
            " orders = peer_total.orders + excluded.orders, cents = peer_total.cents + excluded.cents",
            accounts,
            [counts[account] for account in accounts],
            [cents[account] for account in accounts],
        )


def _cents(detail: Any) -> int:
    net = detail.net if detail.kind == "order" else None
    return int(net.amount * 100) if net else 0


async def job(
    *, bootstrap: str, prefix: str, database: str, records: int, batch: int, directory: str
) -> dict[str, Any]:
    """Our runtime's consumer over everything."""
    settings = RuntimeSettings(**settings_of(bootstrap, prefix, database, batch, directory))
    telemetry = Telemetry("totals", settings)
    pool = await create_pool(settings.database_url, name="totals")
    drain = Drain(telemetry.metrics, records, topic=ACTIVITY)
    consumer = BatchConsumer(
        service="totals",
        topics=[ACTIVITY],
        handler=_Totals(),
        pool=pool,
        settings=settings,
        clock=build_clock(settings),
        telemetry=telemetry,
        after_commit=drain.committed,
    )
    answer = await drain.run(consumer, pool)
    await pool.close()
    telemetry.close()
    return answer


# FastStream


def _each(ground: Ground, prefix: str, messages: int) -> float:
    database = _database(ground)
    arguments = {"bootstrap": ground.kafka, "topic": prefix + ACTIVITY.name, "messages": messages}
    answer = ground.apart("tests.bench.peers:each", database=database.worker, **arguments)
    (row,) = ground.rows(database.name, "select sum(orders) as orders from peer_total")
    expect("orders counted", row["orders"], messages)
    ground.drop(database)
    return float(answer["per_second"])


async def each(*, bootstrap: str, topic: str, messages: int, database: str) -> dict[str, Any]:
    """A transaction for each message, its offset committed after it; the first `messages` of both partitions."""
    pool = await asyncpg.create_pool(database)
    pace, enough = Pace(), asyncio.Event()
    broker = KafkaBroker(bootstrap, logger=None)

    @broker.subscriber(
        topic, group_id=f"each-{uuid.uuid4().hex}", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    async def on_order(value: Mapping[str, Any]) -> None:
        if enough.is_set():
            return
        async with pool.acquire() as connection, connection.transaction():
            # counted again when it is delivered again: nothing here knows that it was
            await connection.execute(
                "insert into peer_total (account_id, orders, cents) values ($1, 1, $2) on conflict (account_id)"
                " do update set orders = peer_total.orders + 1, cents = peer_total.cents + excluded.cents",
                value["account_id"],
                int(Decimal(value["detail"]["net"]["amount"]) * 100),
            )
        pace.committed(pace.total + 1)
        if pace.total == messages:
            enough.set()

    await broker.start()
    await enough.wait()
    await broker.stop()
    await pool.close()
    return {"per_second": pace.per_second}


# the others


def _other(ground: Ground, plan: Plan, prefix: str, orders: Sequence[company.Order], name: str) -> float:
    database = _database(ground)
    runner = (str(PEERS / "bin" / "python"), "-W", "ignore", "-m", "tests.bench.peer_jobs")
    arguments = {"bootstrap": ground.kafka, "topic": prefix + ACTIVITY.name, "records": plan.records}
    (answer,) = run_together(ground.instance, name, 1, runner=runner, database=database.worker, **arguments)
    _check(ground, database.name, orders)
    ground.drop(database)
    return float(answer["per_second"])
