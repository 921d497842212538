"""The outbox and its relay on real Kafka and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from contracts.envelope import Envelope
from services.runtime.faults import Rejected
from services.runtime.headers import dump_headers
from services.runtime.outbox import OutboxMessage, Relay, append, backlog
from services.runtime.postgres import acquire, transaction
from services.runtime.publishing import Fenced, Outgoing, TransactionalPublisher
from services.runtime.telemetry import Telemetry
from tests.faults.proxy import Proxy
from tests.integration.runtime.harness import MOMENT, RESULTS, Rig, envelope, eventually, read_all


def _relay(one: Rig, **changes: object) -> Relay:
    settings = one.settings(**changes)
    return Relay(service="probe", dsn=one.database.worker, settings=settings, telemetry=Telemetry("probe", settings))


@asynccontextmanager
async def _relaying(*relays: Relay) -> AsyncIterator[None]:
    for relay in relays:
        await relay.start()
    try:
        yield
    finally:
        await asyncio.gather(*(relay.stop() for relay in relays))


def _messages(numbers: Sequence[int], keys: int = 7) -> list[OutboxMessage]:
    return [OutboxMessage(RESULTS, f"key-{number % keys}", envelope(number), b"%d" % number) for number in numbers]


async def _append(one: Rig, messages: Sequence[OutboxMessage]) -> None:
    async with transaction(one.pool) as connection:
        await append(connection, messages)


async def _published(one: Rig) -> list[tuple[int, bytes | None, bytes | None]]:
    return await read_all(one.bootstrap, one.prefix + RESULTS.name)


async def _drained(one: Rig) -> None:
    async def empty() -> bool:
        async with acquire(one.pool) as connection:
            return (await backlog(connection)).rows == 0

    await eventually(empty, "the outbox is empty")


async def test_what_a_transaction_appended_is_published_in_order_per_key(one_rig: Rig) -> None:
    async with _relaying(_relay(one_rig, relay_batch=100)):
        for start in range(0, 1000, 50):
            await _append(one_rig, _messages(range(start, start + 50)))
        await _drained(one_rig)
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for _, key, value in await _published(one_rig):
        by_key[key].append(int(value or b"-1"))
    assert len(by_key) == 7
    assert all(numbers == sorted(numbers) for numbers in by_key.values())
    assert sorted(number for numbers in by_key.values() for number in numbers) == list(range(1000))


async def test_a_relay_that_is_not_heard_of_any_more_loses_its_lease_although_its_connection_stands(
    one_rig: Rig,
) -> None:
    direct = urlsplit(one_rig.database.worker)
    proxy = Proxy(Random(1), target=direct.port or 5432)  # noqa: S311 - nothing is drawn here
    through = direct._replace(netloc=direct.netloc.replace(f":{direct.port}", f":{proxy.port}")).geturl()
    settings = one_rig.settings(session_seconds=1)
    lost = Relay(service="probe", dsn=through, settings=settings, telemetry=Telemetry("probe", settings))
    other = _relay(one_rig)
    try:
        async with _relaying(lost):
            await eventually(lambda: _is(lost, "running"), "the first relay has the lease")
            await asyncio.to_thread(proxy.leave_half_open)
            async with _relaying(other):
                await eventually(lambda: _is(other, "running"), "the other relay has the lease")
                await _append(one_rig, _messages(range(10)))
                await _drained(one_rig)
            await asyncio.to_thread(proxy.reset_all)
    finally:
        proxy.close()


async def _is(relay: Relay, status: str) -> bool:
    return relay.status == status


async def test_keys_go_to_the_partitions_of_the_default_partitioner(one_rig: Rig) -> None:
    async with _relaying(_relay(one_rig)):
        await _append(one_rig, _messages(range(200), keys=200))
        await _drained(one_rig)
    choose = DefaultPartitioner()
    for partition, key, _ in await _published(one_rig):
        assert partition == choose(key, [0, 1, 2], [0, 1, 2])


async def test_headers_are_those_of_the_envelope_and_a_tombstone_has_no_value(one_rig: Rig) -> None:
    head = envelope(5, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    async with _relaying(_relay(one_rig)):
        await _append(one_rig, [OutboxMessage(RESULTS, "schlüssel", head, None)])
        await _drained(one_rig)
    consumer = AIOKafkaConsumer(bootstrap_servers=one_rig.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(one_rig.prefix + RESULTS.name, number) for number in range(3)])
        record = await consumer.getone()
    finally:
        await consumer.stop()
    assert (record.key, record.value) == ("schlüssel".encode(), None)
    assert Envelope.from_headers(record.headers) == head


async def test_a_transaction_that_rolls_back_publishes_nothing(one_rig: Rig) -> None:
    async with _relaying(_relay(one_rig)):
        async with acquire(one_rig.pool) as connection:
            given_up = connection.transaction()
            await given_up.start()
            await append(connection, _messages([1]))
            await given_up.rollback()
        await _append(one_rig, _messages([2]))
        await _drained(one_rig)
    assert [value for _, _, value in await _published(one_rig)] == [b"2"]


async def test_a_record_that_is_too_large_is_refused_with_its_size(one_rig: Rig) -> None:
    big = OutboxMessage(RESULTS, "key", envelope(1), b"x" * 900_001)
    with pytest.raises(Rejected, match=r"record_too_large.*900"):
        await _append(one_rig, [big])
    async with _relaying(_relay(one_rig)):
        await _append(one_rig, [OutboxMessage(RESULTS, "key", envelope(1), b"x" * 890_000)] * 5)
        await _drained(one_rig)
    assert len(await _published(one_rig)) == 5


async def test_a_crash_between_publishing_and_deleting_repeats_and_loses_nothing(one_rig: Rig) -> None:
    await _append(one_rig, _messages(range(20)))
    # What the crashed relay had done: everything but the deletion.
    publisher = TransactionalPublisher(one_rig.bootstrap, one_rig.prefix + "probe-relay")
    await publisher.start()
    outgoing = [Outgoing(m.key.encode(), m.value, dump_headers(m.envelope.headers())) for m in _messages(range(20))]
    await publisher.publish([(one_rig.prefix + RESULTS.name, record) for record in outgoing])
    await publisher.close()
    async with _relaying(_relay(one_rig)):
        await _drained(one_rig)
    values = [value for _, _, value in await _published(one_rig)]
    assert len(values) == 40
    assert set(values) == {b"%d" % number for number in range(20)}


@pytest.mark.parametrize("publisher", ["probe-relay", "probe-relay-2"])
async def test_an_old_relay_that_wakes_up_is_fenced_and_its_records_are_never_seen(
    one_rig: Rig, publisher: str
) -> None:
    topic = one_rig.prefix + RESULTS.name
    zombie = TransactionalPublisher(one_rig.bootstrap, one_rig.prefix + publisher)
    await zombie.start()
    await zombie.publish([(topic, Outgoing(b"key", b"before", "[]"))])
    async with _relaying(_relay(one_rig)):
        await _append(one_rig, [OutboxMessage(RESULTS, "key", envelope(1), b"fresh")])
        await _drained(one_rig)
        with pytest.raises(Fenced):
            await zombie.publish([(topic, Outgoing(b"key", b"stale", "[]"))])
        await zombie.close()
    assert [value for _, _, value in await _published(one_rig)] == [b"before", b"fresh"]


@pytest.mark.parametrize("publisher", ["probe-relay", "probe-relay-2"])
async def test_a_relay_that_was_fenced_goes_on_once_it_has_the_lease_again(one_rig: Rig, publisher: str) -> None:
    relay = _relay(one_rig)
    async with _relaying(relay):
        await _append(one_rig, _messages([1]))
        await _drained(one_rig)
        intruder = TransactionalPublisher(one_rig.bootstrap, one_rig.prefix + publisher)
        await intruder.start()
        await intruder.close()
        for number in (2, 3):
            await _append(one_rig, _messages([number]))
            await _drained(one_rig)
    assert sorted(value or b"" for _, _, value in await _published(one_rig)) == [b"1", b"2", b"3"]


async def test_of_two_relays_one_publishes_and_the_other_takes_over(one_rig: Rig) -> None:
    first, second = _relay(one_rig), _relay(one_rig)
    async with _relaying(second):
        async with _relaying(first):
            await _append(one_rig, _messages(range(10)))
            await _drained(one_rig)
            roles = {"running", "waiting: another replica publishes"}
            await eventually(lambda: _true({first.status, second.status} == roles), "one publishes, the other waits")
            await _append(one_rig, _messages(range(10, 20)))
            await _drained(one_rig)
        await _append(one_rig, _messages(range(20, 30)))
        await _drained(one_rig)
    assert len({value for _, _, value in await _published(one_rig)}) == 30


async def test_a_lost_lease_stops_publishing_and_another_attempt_goes_on(one_rig: Rig, postgres_admin: str) -> None:
    relay = _relay(one_rig)
    async with _relaying(relay):
        await _append(one_rig, _messages(range(5)))
        await _drained(one_rig)
        admin = await asyncpg.connect(postgres_admin)
        cut = await admin.fetchval(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = 'probe-relay' and datname = $1",
            one_rig.database.name,
        )
        await admin.close()
        assert cut == 1
        await _append(one_rig, _messages(range(5, 10)))
        await _drained(one_rig)
    assert sorted(int(value or b"-1") for _, _, value in await _published(one_rig)) == list(range(10))


async def test_the_backlog_names_the_oldest_report_whatever_its_id(one_rig: Rig) -> None:
    await _append(one_rig, _messages([1]))
    earlier = MOMENT.replace(year=2025)
    await _append(one_rig, [OutboxMessage(RESULTS, "key", envelope(2, moment=earlier), b"2")])
    async with acquire(one_rig.pool) as connection:
        waiting = await backlog(connection)
    assert (waiting.rows, waiting.oldest_recordedtime) == (2, earlier)


async def _true(value: bool) -> bool:  # noqa: FBT001 - the condition that is waited for
    return value
