"""A whole service made of the runtime's parts, for tests that start and stop processes.

PROBE_STUCK=batch: its first batch never ends. PROBE_STUCK=loop: neither does any other task. Either way the
times that a service has for its end are cut short.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from datetime import datetime

import asyncpg
from fastapi import FastAPI

from services.runtime import problems, service, subscription
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.health import operations_app, postgres_check, status_check
from services.runtime.outbox import OutboxMessage, Relay, append
from services.runtime.postgres import create_pool
from services.runtime.records import Received
from services.runtime.service import Service, run
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from tests.integration.runtime.harness import REPORTS, RESULTS, Probe


class SlowEcho(Probe):
    """Counts effects, says every event again on `RESULTS`, and takes its time inside the transaction."""

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
        """Counts, sleeps, appends."""
        await super().handle(connection, batch, now)
        stuck = os.environ.get("PROBE_STUCK")
        if stuck == "batch":
            await asyncio.Event().wait()
        while stuck == "loop":
            time.sleep(0.01)  # noqa: ASYNC251 - on purpose
        await connection.execute("select pg_sleep(0.2)")
        await append(
            connection,
            [OutboxMessage(RESULTS, one.envelope.subject, one.envelope, b"%d" % one.event) for one in batch],
        )


async def build(settings: RuntimeSettings) -> Service:
    """Wires the service."""
    clock = build_clock(settings)
    telemetry = Telemetry("probe", settings)
    pool = await create_pool(settings.database_url, name="probe")
    consumer = BatchConsumer(
        service="probe",
        topics=(REPORTS,),
        handler=SlowEcho(),
        pool=pool,
        settings=settings,
        clock=clock,
        telemetry=telemetry,
    )
    relay = Relay(service="probe", dsn=settings.database_url, settings=settings, telemetry=telemetry)
    flow = Flow(service="probe", clock=clock, pool=pool, consumers=[consumer], metrics=telemetry.metrics)
    checks = {
        "postgres": postgres_check(pool),
        "consumer": status_check(lambda: consumer.ready, lambda: consumer.status),
    }
    api = FastAPI()
    problems.install(api)

    @api.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("with a secret in it")

    return Service(
        name="probe",
        settings=settings,
        api=api,
        operations=operations_app(checks, flow.report, telemetry),
        components=[consumer, relay],
        resources=[pool.close],
    )


if __name__ == "__main__":
    if "PROBE_STUCK" in os.environ:
        subscription.FINISH_SECONDS = 0.5
        service._END_SECONDS = 3.0  # noqa: SLF001 - see above
    run("probe", RuntimeSettings, build)
