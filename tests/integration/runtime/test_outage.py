"""Broker and database come and go; services wait, say so, and go on by themselves."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest
from httpx2 import ASGITransport, AsyncClient

from services.runtime import watermarks
from services.runtime.flow import Flow
from services.runtime.health import operations_app, postgres_check, status_check
from services.runtime.postgres import create_pool, transaction
from services.runtime.presence import BrokerPresence
from services.runtime.telemetry import Telemetry
from tests.integration.runtime.harness import (
    GENEROUS,
    REPORTS,
    Door,
    JustStarted,
    Probe,
    Rig,
    eventually,
    message,
    running,
)


def _door_to_kafka(one: Rig) -> Door:
    host, port = one.bootstrap.split(":")
    return Door(host, int(port))


def _door_to_postgres(one: Rig) -> tuple[Door, str]:
    parts = urlsplit(one.database.worker)
    door = Door(parts.hostname or "127.0.0.1", parts.port or 5432)
    return door, one.database.worker.replace(f":{parts.port}/", f":{door.port}/")


async def test_with_both_away_at_start_it_waits_and_begins_once_they_are_there(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(30))
    kafka, (postgres, dsn) = _door_to_kafka(one_rig), _door_to_postgres(one_rig)
    pool = await create_pool(dsn)
    outside, one_rig.pool = one_rig.pool, pool
    consumer = one_rig.consumer(Probe(), kafka_bootstrap=f"127.0.0.1:{kafka.port}")
    one_rig.pool = outside

    async def waiting() -> bool:
        return consumer.status.startswith("waiting: ConnectionRefusedError")

    async def waiting_for_kafka() -> bool:
        return "Kafka" in consumer.status

    async def ready() -> bool:
        return consumer.ready

    async with running(consumer):
        await eventually(waiting, "it waits for the database")
        assert not await ready()
        await postgres.open()
        await eventually(waiting_for_kafka, "it waits for the broker")
        assert not await ready()
        await kafka.open()
        await one_rig.has_effects(range(30))
        await eventually(ready, "it is ready")
    await pool.close()
    await postgres.shut()
    await kafka.shut()
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_database_that_goes_away_in_the_middle_loses_and_doubles_nothing(one_rig: Rig) -> None:
    postgres, dsn = _door_to_postgres(one_rig)
    await postgres.open()
    pool = await create_pool(dsn)
    outside, one_rig.pool = one_rig.pool, pool
    consumer = one_rig.consumer(Probe(), batch_size=10)
    one_rig.pool = outside

    async def waiting() -> bool:
        return consumer.status.startswith("waiting: ")

    async with running(consumer):
        for round_ in range(3):
            await one_rig.produce(message(number) for number in range(round_ * 100, round_ * 100 + 100))
            await postgres.shut()
            await one_rig.produce([message(1000 + round_)])
            await eventually(waiting, "it waits for the database")
            await postgres.open()
            await one_rig.has_effects({*range(round_ * 100 + 100), *range(1000, 1001 + round_)})
    await pool.close()
    await postgres.shut()
    assert set((await one_rig.effects()).values()) == {1}
    assert await one_rig.letters() == []


async def test_livez_is_green_and_readyz_red_while_the_database_is_away(one_rig: Rig) -> None:
    from httpx2 import ASGITransport, AsyncClient  # noqa: PLC0415

    _, dsn = _door_to_postgres(one_rig)
    pool: asyncpg.Pool = await create_pool(dsn)
    consumer = one_rig.consumer(Probe())
    flow = Flow(service="probe", clock=one_rig.clock, pool=pool, consumers=[consumer])
    checks = {
        "postgres": postgres_check(pool),
        "consumer": status_check(lambda: consumer.ready, lambda: consumer.status),
    }
    app = operations_app(checks, flow.report, Telemetry("probe", one_rig.settings()))
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://operations") as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"] == {"postgres": "ConnectionRefusedError", "consumer": "waiting: not started"}
        unknown = await client.get("/flow")
        assert unknown.status_code == 503
        assert unknown.headers["content-type"] == "application/problem+json"
        metrics = await client.get("/metrics")
        assert metrics.status_code == 200
        assert "tenure_consumer_running" in metrics.text
    await consumer.stop()
    await pool.close()


@pytest.mark.parametrize("brokers", [(), ((1, "127.0.0.1", 1),)], ids=["names nobody", "names one that has moved"])
async def test_a_broker_that_dies_before_it_knew_its_cluster_is_found_when_it_is_back(
    one_rig: Rig, monkeypatch: pytest.MonkeyPatch, brokers: tuple[tuple[int, str, int], ...]
) -> None:
    monkeypatch.setattr(watermarks, "_TIMEOUT_MS", 1000)
    kafka, starting = _door_to_kafka(one_rig), JustStarted(*brokers)
    await starting.open(kafka.port)
    presence = BrokerPresence(one_rig.settings(kafka_bootstrap=f"127.0.0.1:{kafka.port}"), REPORTS)
    await presence.start()

    async def there() -> bool:
        return presence.there

    try:
        await asyncio.wait_for(starting.asked.wait(), GENEROUS)
        await starting.die()
        await kafka.open()
        await eventually(there, "the broker is there")
    finally:
        await presence.stop()
        await kafka.shut()


async def test_who_gave_up_on_a_silent_database_is_answered_and_takes_nobody_elses_connection(one_rig: Rig) -> None:
    postgres, dsn = _door_to_postgres(one_rig)
    await postgres.open()
    # As many as connections: each that waited on would keep one.
    pool = await create_pool(dsn, max_size=2, command_seconds=3600)
    flow = Flow(service="probe", clock=one_rig.clock, pool=pool)
    app = operations_app({"postgres": postgres_check(pool)}, flow.report, Telemetry("probe", one_rig.settings()))
    try:
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://operations") as client:
            assert (await client.get("/readyz")).status_code == 200
            postgres.fall_silent()
            async with asyncio.timeout(GENEROUS):
                answers = await asyncio.gather(*(client.get("/readyz") for _ in range(4)), client.get("/flow"))
            assert [answer.status_code for answer in answers] == [503] * 5
            # Those that were made until now stay mute.
            postgres.speak()
            async with asyncio.timeout(GENEROUS):
                assert (await client.get("/readyz")).status_code == 200
                assert (await client.get("/flow")).status_code == 200
    finally:
        pool.terminate()
        await postgres.shut()


async def test_a_task_that_is_cancelled_while_the_database_is_silent_ends_as_cancelled(one_rig: Rig) -> None:
    postgres, dsn = _door_to_postgres(one_rig)
    await postgres.open()
    pool = await create_pool(dsn, max_size=1, command_seconds=3600)
    asking = asyncio.Event()

    async def ask() -> None:
        async with transaction(pool) as connection, connection.transaction():
            postgres.fall_silent()
            asking.set()
            await connection.execute("select 1")

    try:
        task = asyncio.create_task(ask())
        await asyncio.wait_for(asking.wait(), GENEROUS)
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=GENEROUS)
        assert done
        assert task.cancelled()
    finally:
        pool.terminate()
        await postgres.shut()
