"""What consumers survive besides outages: bad neighbours, silent connections, changing topics, large records, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, RecordsToDelete
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import TopicPartition
from httpx2 import ASGITransport, AsyncClient

from services.runtime import subscription
from services.runtime.consumer import BatchConsumer
from services.runtime.faults import Unfinished
from services.runtime.flow import Flow
from services.runtime.health import operations_app, status_check
from services.runtime.postgres import create_pool, transaction
from services.runtime.records import Received
from services.runtime.telemetry import Telemetry
from tests.integration.runtime.harness import REPORTS, Door, Message, Probe, Rig, envelope, eventually, message, running


async def test_errors_of_several_sources_that_come_one_by_one_stop_the_consumer(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = set(range(100, 110))
    consumer = one_rig.consumer(probe, batch_size=1)
    await one_rig.produce(message(number, partition=0, source="good") for number in range(5))
    await one_rig.produce(message(100 + n, partition=0, source=f"source-{n % 3}") for n in range(10))

    async def stopped() -> bool:
        return consumer.status.startswith("stopped: ")

    async with running(consumer):
        await eventually(stopped, "the consumer stops")
        assert consumer.status == (
            "stopped: 5 records from 3 sources failed within 10 minutes, the last with ValueError;"
            " see the log, mend the handler and restart"
        )
        # The service goes on answering, and says so to whoever asks whether it is ready.
        checks = {"consumer": status_check(lambda: consumer.ready, lambda: consumer.status)}
        flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
        app = operations_app(checks, flow.report, Telemetry("probe", one_rig.settings()))
        async with AsyncClient(transport=ASGITransport(app=app), base_url="http://operations") as client:
            assert (await client.get("/livez")).status_code == 200
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["checks"]["consumer"]) == (503, consumer.status)
            assert (await client.get("/flow")).json()["status"] == consumer.status
    assert len(await one_rig.letters()) == 4


async def test_one_source_that_fails_again_and_again_stops_nobody(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = set(range(100, 130))
    consumer = one_rig.consumer(probe, batch_size=3)
    await one_rig.produce(message(100 + n, partition=0, source="bad") for n in range(30))
    await one_rig.produce(message(number, partition=0, source="good") for number in range(5))
    async with running(consumer):
        await one_rig.has_effects(range(5))
        assert consumer.status == "running"
    assert len(await one_rig.letters()) == 30


async def test_a_dead_letter_names_its_trace_and_who_gave_up(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = {7}
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    head = envelope(7, traceparent=traceparent)
    await one_rig.produce([Message(b"k", b'{"number": 7}', head.headers(), 2), message(8, partition=2)])
    async with running(one_rig.consumer(probe)):
        await one_rig.has_effects({8})
    (letter,) = await one_rig.letters()
    assert (letter["traceparent"], letter["handler"]) == (traceparent, "probe")
    assert letter["detail"] == "ValueError: cannot digest 7"


async def test_three_replicas_that_come_and_go_under_load_lose_and_double_nothing_and_keep_the_order(
    one_rig: Rig,
) -> None:
    order: list[tuple[int, int]] = []

    class Ordered(Probe):
        async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
            await super().handle(connection, batch, now)
            await connection.execute("select pg_sleep(0.01)")
            await connection.executemany(
                "insert into sequence_seen (partition_id, record_offset) values ($1, $2)",
                [(one.record.partition, one.record.offset) for one in batch],
            )

    owner = await asyncpg.connect(one_rig.database.owner)
    await owner.execute(
        "create table sequence_seen (id bigint generated always as identity, partition_id int, record_offset bigint)"
    )
    await owner.execute("grant select, insert on sequence_seen to tenure_worker")
    await owner.close()
    pools = [await create_pool(one_rig.database.worker, name=f"replica-{n}", max_size=4) for n in range(4)]
    replicas = []
    for pool in pools:
        outside, one_rig.pool = one_rig.pool, pool
        replicas.append(one_rig.consumer(Ordered(), batch_size=7))
        one_rig.pool = outside
    first, second, third, fourth = replicas
    total = 0

    async def load(count: int) -> None:
        nonlocal total
        await one_rig.produce(message(number) for number in range(total, total + count))
        total += count

    async with running(first):
        await load(300)
        async with running(second, third):
            await load(300)
            await _some_effects(one_rig, 350)
            await _kill(second)
            await load(200)
            async with running(fourth):
                await load(200)
                await one_rig.has_effects(range(total))
    assert set((await one_rig.effects()).values()) == {1}
    rows = await one_rig.pool.fetch("select partition_id, record_offset from sequence_seen order by id")
    order = [(row["partition_id"], row["record_offset"]) for row in rows]
    for partition in range(3):
        offsets = [offset for number, offset in order if number == partition]
        assert offsets == sorted(set(offsets))
    for pool in pools:
        await asyncio.wait_for(pool.close(), 10)


async def _some_effects(one: Rig, count: int) -> None:
    async def enough() -> bool:
        return len(await one.effects()) >= count

    await eventually(enough, f"{count} events took effect")


async def _kill(consumer: BatchConsumer[int]) -> None:
    """As near to SIGKILL as a task can come: nothing of it runs on, its batch is cut wherever it is."""
    shell = consumer._subscription  # noqa: SLF001 - the test plays the operating system
    for task in consumer._tasks:  # noqa: SLF001 - see above
        task.cancel()
    if shell is not None:
        for task in shell._subscriber.tasks:  # noqa: SLF001 - see above
            task.cancel()
    await asyncio.gather(*consumer._tasks, return_exceptions=True)  # noqa: SLF001 - see above
    consumer._tasks = []  # noqa: SLF001 - see above
    # Nobody asks a process that was killed how it ended.
    consumer._abandoned = None  # noqa: SLF001 - see above


async def test_a_database_that_falls_silent_is_noticed_and_its_batch_is_done_again(one_rig: Rig) -> None:
    parts = urlsplit(one_rig.database.worker)
    door = Door(parts.hostname or "127.0.0.1", parts.port or 5432)
    await door.open()
    pool = await create_pool(
        one_rig.database.worker.replace(f":{parts.port}/", f":{door.port}/"), command_seconds=1, max_size=3
    )
    outside, one_rig.pool = one_rig.pool, pool
    consumer = one_rig.consumer(Probe(), batch_size=20)
    one_rig.pool = outside

    async def waiting() -> bool:
        return consumer.status.startswith("waiting: ")

    async with running(consumer):
        await one_rig.produce(message(number) for number in range(50))
        await one_rig.has_effects(range(50))
        door.fall_silent()
        await one_rig.produce(message(number) for number in range(50, 100))
        await eventually(waiting, "it has noticed")
        # Connections that were made in the silence stay mute, as after a firewall has forgotten them.
        door.speak()
        await one_rig.has_effects(range(100))
    await pool.close()
    await door.shut()
    assert set((await one_rig.effects()).values()) == {1}
    assert await one_rig.letters() == []


async def test_a_topic_that_grows_partitions_is_read_whole(one_rig: Rig) -> None:
    consumer = one_rig.consumer(Probe())
    async with running(consumer):
        await one_rig.produce(message(number) for number in range(30))
        await one_rig.has_effects(range(30))
        admin = AIOKafkaAdminClient(bootstrap_servers=one_rig.bootstrap)
        await admin.start()
        await admin.create_partitions({one_rig.prefix + REPORTS.name: NewPartitions(6)})
        await admin.close()
        await one_rig.produce(message(number, partition=number % 6) for number in range(30, 90))
        # It looks every ten seconds by itself.
        shell = consumer._subscription  # noqa: SLF001 - to save these seconds
        assert shell is not None
        assert shell.consumer is not None
        await shell.consumer._client.force_metadata_update()  # noqa: SLF001 - see above
        await one_rig.has_effects(range(90))
    assert set((await one_rig.effects()).values()) == {1}


async def test_retention_that_overtakes_a_running_consumer_is_counted_and_said(one_rig: Rig) -> None:
    probe = Probe()
    consumer = one_rig.consumer(probe, batch_size=10)
    probe.hold = asyncio.Event()
    await one_rig.produce(message(number, partition=0) for number in range(10))
    async with running(consumer):
        await asyncio.wait_for(probe.entered.wait(), 60)
        # While a batch is busy, records come and are deleted before anybody has fetched them.
        await one_rig.produce(message(number, partition=0) for number in range(10, 60))
        admin = AIOKafkaAdminClient(bootstrap_servers=one_rig.bootstrap)
        await admin.start()
        partition = TopicPartition(one_rig.prefix + REPORTS.name, 0)
        await admin.delete_records({partition: RecordsToDelete(before_offset=40)})
        await admin.close()
        shell = consumer._subscription  # noqa: SLF001 - forget what was fetched ahead, as after hours
        assert shell is not None
        assert shell.consumer is not None
        shell.consumer._fetcher._records.clear()  # noqa: SLF001 - see above
        probe.hold.set()
        await one_rig.has_effects({*range(10), *range(40, 60)})
        assert (await consumer.flow()).missing == {REPORTS.name: 30}
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_batch_is_bounded_in_bytes(one_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "BATCH_BYTES", 100_000)
    largest = 0

    class Weighing(Probe):
        async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
            nonlocal largest
            largest = max(largest, sum(len(one.record.value or b"") for one in batch))
            await super().handle(connection, batch, now)

    def heavy(number: int, size: int) -> Message:
        plain = message(number, partition=number % 3)
        return Message(
            plain.key, (plain.value or b"")[:-1] + b', "text": "' + b"x" * size + b'"}', plain.headers, number % 3
        )

    await one_rig.produce(heavy(number, 300_000 if number == 31 else 20_000) for number in range(60))
    async with running(one_rig.consumer(Weighing())):
        await one_rig.has_effects(range(60))
    assert set((await one_rig.effects()).values()) == {1}
    assert largest <= 100_000 + 300_000 + 3 * 21_000


async def test_a_stuck_handler_is_given_back_and_the_end_says_so(one_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "FINISH_SECONDS", 0.5)
    probe = Probe()
    probe.hold = asyncio.Event()
    consumer = one_rig.consumer(probe)
    await one_rig.produce(message(number) for number in range(10))
    await consumer.start()
    await asyncio.wait_for(probe.entered.wait(), 60)
    with pytest.raises(Unfinished, match="given back"):
        await consumer.stop()
    # Nothing of it was kept, and its rows are free.
    async with transaction(one_rig.pool) as connection:
        await connection.execute("set local lock_timeout = '10s'")
        await connection.execute("select from kafka_offset for update")
    assert await one_rig.effects() == {}
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(10))


@pytest.mark.parametrize("ends", ["heartbeat", "fetching", "coordination"])
async def test_a_reader_whose_session_with_the_broker_has_ended_for_good_begins_another(
    one_rig: Rig, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    # What the broker says once (the group is not authorised while its rules are being loaded) or what aiokafka had not
    # expected: it ends a task of its own by it, and begins none in its place.
    consumer = one_rig.consumer(Probe(), session_seconds=6)
    async with running(consumer):
        await one_rig.produce(message(number) for number in range(10))
        await one_rig.has_effects(range(10))
        shell = consumer._subscription  # noqa: SLF001 - the test plays the broker
        assert shell is not None
        reader = shell.consumer
        assert reader is not None
        refused = asyncio.Event()

        async def refuse(*_: object) -> bool:
            refused.set()
            raise GroupAuthorizationFailedError("probe")

        if ends == "heartbeat":
            monkeypatch.setattr(reader._coordinator, "_do_heartbeat", refuse)  # noqa: SLF001 - see above
            await asyncio.wait_for(refused.wait(), 60)
        elif ends == "fetching":
            monkeypatch.setattr(reader._fetcher, "_get_actions_per_node", lambda _: 1 / 0)  # noqa: SLF001 - see above
        else:
            monkeypatch.setattr(reader._coordinator, "need_rejoin", lambda _: 1 / 0)  # noqa: SLF001 - see above
            reader._coordinator.request_rejoin()  # noqa: SLF001 - see above
        await one_rig.produce(message(number) for number in range(10, 20))
        await one_rig.has_effects(range(20))
    assert set((await one_rig.effects()).values()) == {1}


async def test_records_are_processed_while_nobody_takes_what_is_told_of_our_offsets(
    one_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In a cluster whoever coordinates the group may be away while those who lead the topic are there.
    consumer = one_rig.consumer(Probe())
    async with running(consumer):
        await one_rig.produce(message(number) for number in range(10))
        await one_rig.has_effects(range(10))
        shell = consumer._subscription  # noqa: SLF001 - the test plays the broker
        assert shell is not None
        assert shell.consumer is not None
        asked = asyncio.Event()

        async def away() -> None:
            asked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(shell.consumer._coordinator, "ensure_coordinator_known", away)  # noqa: SLF001 - see above
        await one_rig.produce(message(number) for number in range(10, 20))
        await asyncio.wait_for(asked.wait(), 60)
        await one_rig.produce(message(number) for number in range(20, 30))
        await one_rig.has_effects(range(30))
    assert set((await one_rig.effects()).values()) == {1}
