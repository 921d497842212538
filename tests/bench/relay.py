"""The outbox relay, fenced, one process: from rows in PostgreSQL to committed records in Kafka."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from contracts.topics import ACTIVITY
from services.runtime import arrays
from services.runtime.outbox import OutboxMessage, Relay, append
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from tests.bench import company
from tests.bench.copying import copy_raw
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground, blocking
from tests.bench.stream import Pace, produce, read_all

FIGURE = Figure("relay", "outbox relay, fenced, one process", "A (getmany → COPY)", first=0.40, goal=0.70)
_LOOK_EVERY = 0.05  # seconds
_PATIENCE = 300.0  # seconds without progress
_FILL_AT_ONCE = 5_000


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """The relay against A, on the same records."""
    prefix = ground.topics((ACTIVITY,))
    step("writing the records for A")
    rows = company.orders(plan.records, accounts=plan.accounts, conversations=plan.conversations)
    blocking(produce(ground.kafka, prefix + ACTIVITY.name, map(company.attribution_record, rows)))
    plain = ground.plain_database()

    def baseline() -> float:
        return copy_raw(ground, prefix + ACTIVITY.name, plan.records, plan.batch, plain)

    rates = alternate(plan.rounds, step, baseline=baseline, relay=lambda: _publish(ground, plan))
    return [compare(FIGURE, rates["relay"], rates["baseline"])]


def _publish(ground: Ground, plan: Plan) -> float:
    with ground.cleared():
        database = ground.database("accounts")
        prefix = ground.topics((ACTIVITY,))
        shape = {"records": plan.records, "accounts": plan.accounts, "conversations": plan.conversations}
        ground.apart("tests.bench.relay:fill", database=database.worker, **shape)
        ground.execute(database.name, "vacuum analyze outbox")
        ground.settle()
        rate = ground.apart(
            "tests.bench.relay:job", bootstrap=ground.kafka, prefix=prefix, database=database.worker, **shape
        )
        left = ground.rows(database.name, "select count(*) as rows from outbox")
        expect("rows left in the outbox", left[0]["rows"], 0)
        return float(rate["per_second"])


async def fill(*, database: str, records: int, accounts: int, conversations: int) -> dict[str, Any]:
    """Appends attributions as accounts does, a batch in each transaction."""
    connection = await asyncpg.connect(database)
    arrays.register(connection)
    try:
        waiting: list[OutboxMessage] = []
        for order in company.orders(records, accounts=accounts, conversations=conversations):
            record = company.attribution_record(order)
            envelope = company.attribution_envelope(order, company.attribution_of(order))
            waiting.append(OutboxMessage(ACTIVITY, record.key.decode(), envelope, record.value))
            if len(waiting) == _FILL_AT_ONCE:
                await _append(connection, waiting)
        await _append(connection, waiting)
    finally:
        await connection.close()
    return {}


async def _append(connection: asyncpg.Connection, messages: list[OutboxMessage]) -> None:
    async with connection.transaction():
        await append(connection, messages)
    messages.clear()


async def job(
    *, bootstrap: str, prefix: str, database: str, records: int, accounts: int, conversations: int
) -> dict[str, Any]:
    """Publishes everything; then the topic must hold each record once, for every account in the order of versions."""
    batch = min(RuntimeSettings.model_fields["relay_batch"].default, max(1, records // 4))
    settings = RuntimeSettings(kafka_bootstrap=bootstrap, database_url=database, topic_prefix=prefix, relay_batch=batch)
    telemetry = Telemetry("accounts", settings)
    relay = Relay(service="accounts", dsn=database, settings=settings, telemetry=telemetry)
    pace = Pace()
    await relay.start()
    progress = time.monotonic()
    while pace.total < records:
        await asyncio.sleep(_LOOK_EVERY if records > _FILL_AT_ONCE else 0)
        sample = {"topic": ACTIVITY.name}
        total = int(telemetry.metrics.registry.get_sample_value("tenure_relay_published_total", sample) or 0)
        if total > pace.total:
            pace.committed(total)
            progress = time.monotonic()
        elif time.monotonic() - progress > _PATIENCE:
            raise CheckFailed(f"the relay published {pace.total} of {records} records and then no more: {relay.status}")
    await relay.stop()
    wanted = company.orders(records, accounts=accounts, conversations=conversations)
    found = [(record.key, record.value) async for record in read_all(bootstrap, prefix + ACTIVITY.name)]
    _check(found, [company.attribution_record(order) for order in wanted])
    return {"per_second": pace.per_second}


def _check(found: Sequence[tuple[bytes, bytes]], wanted: Sequence[Any]) -> None:
    expect("records published", len(found), len(wanted))
    by_key: dict[bytes, list[bytes]] = {}
    for key, value in found:
        by_key.setdefault(key, []).append(value)
    for record in wanted:
        in_turn = by_key[record.key]
        if in_turn.pop(0) != record.value:
            raise CheckFailed("the relay did not publish the records of an account as they were, in their order")
