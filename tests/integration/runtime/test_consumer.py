"""The one consumer loop on real Kafka and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import asyncpg
import pytest
from aiokafka.errors import CorruptRecordException

from services.runtime import offsets, tolerant
from services.runtime.faults import Rejected
from services.runtime.postgres import acquire, transaction
from services.runtime.processing import BatchProcessor
from services.runtime.records import Received, Record
from services.runtime.telemetry import Telemetry
from services.runtime.tolerant import TolerantRecords
from tests.integration.runtime.harness import REPORTS, Message, Probe, Rig, eventually, message, running


async def test_every_record_takes_effect_once(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(500))
    probe = Probe()
    async with running(one_rig.consumer(probe)):
        await one_rig.has_effects(range(500))
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_batch_of_a_backlog_takes_from_every_partition(one_rig: Rig) -> None:
    batches: list[set[int]] = []

    class Noting(Probe):
        async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
            batches.append({one.record.partition for one in batch})
            await super().handle(connection, batch, now)

    await one_rig.produce(message(number) for number in range(300))
    async with running(one_rig.consumer(Noting(), batch_size=30)):
        await one_rig.has_effects(range(300))
    # What lies on the broker comes in one answer; the first batches find three partitions and the last what is left.
    assert batches[1:4] == [{0, 1, 2}] * 3
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_restart_goes_on_where_the_database_says(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(100))
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(100))
    await one_rig.produce(message(number) for number in range(100, 200))
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(200))
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_restored_database_reads_again_from_its_own_offsets(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(60))
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(60))
    # As after a restore: Kafka's committed offsets are ahead of what the database remembers.
    await one_rig.pool.execute("delete from effect")
    await one_rig.pool.execute("update kafka_offset set next_offset = 0")
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(60))


async def test_records_that_another_process_has_done_are_skipped(one_rig: Rig) -> None:
    settings = one_rig.settings()
    zombie = BatchProcessor(
        service="probe",
        group="probe",
        topics=(REPORTS,),
        handler=Probe(),
        pool=one_rig.pool,
        clock=one_rig.clock,
        telemetry=Telemetry("probe", settings),
        fault_threshold=settings.fault_threshold,
    )
    held = [message(number) for number in range(50)]
    records = [Record(REPORTS.name, 0, n, one.key, one.value, one.headers) for n, one in enumerate(held)]
    # After a rebalance somebody else has processed thirty of the records that the zombie still holds.
    async with transaction(one_rig.pool) as connection:
        await offsets.save(connection, "probe", {(REPORTS.name, 0): offsets.Position(30, None)})
    outcome = await zombie.process(records, {(REPORTS.name, 0): 50})
    assert (outcome.repeated, outcome.processed) == (30, 20)
    assert set(await one_rig.effects()) == set(range(30, 50))
    again = await zombie.process(records, {(REPORTS.name, 0): 50})
    assert (again.repeated, again.processed) == (50, 0)
    assert again.positions[REPORTS.name, 0].next_offset == 50


async def test_a_zombie_that_holds_a_partition_makes_the_new_owner_wait_and_then_skip(one_rig: Rig) -> None:
    await one_rig.produce(message(number, partition=0) for number in range(40))
    async with acquire(one_rig.pool) as connection:
        zombie = connection.transaction()
        await zombie.start()
        group = one_rig.prefix + "probe"
        await offsets.lock(connection, group, [(REPORTS.name, number) for number in range(3)])
        await connection.execute("insert into effect (number) select generate_series(0, 24)")
        await offsets.save(connection, group, {(REPORTS.name, 0): offsets.Position(25, None)})
        async with running(one_rig.consumer(Probe())):
            await eventually(lambda: _somebody_waits(one_rig), "the new owner waits for the row")
            await zombie.commit()
            await one_rig.has_effects(range(40))
    assert set((await one_rig.effects()).values()) == {1}


async def test_poison_in_the_middle_is_set_aside_and_its_neighbours_go_on(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = {137}
    await one_rig.produce(message(number, partition=1) for number in range(300))
    async with running(one_rig.consumer(probe)):
        await one_rig.has_effects(set(range(300)) - {137})
    assert set((await one_rig.effects()).values()) == {1}
    (letter,) = await one_rig.letters()
    original = message(137)
    assert (letter["topic"], letter["partition_id"], letter["record_offset"]) == (REPORTS.name, 1, 137)
    assert (letter["record_key"], letter["value"]) == (original.key, original.value)
    pairs = list(zip(letter["header_names"], letter["header_values"], strict=True))
    assert pairs == [(name.encode(), value) for name, value in original.headers]
    assert (letter["reason"], letter["handler"], letter["source"]) == ("handler_error", "probe", "shop")


async def test_what_cannot_be_read_is_kept_as_it_came(one_rig: Rig) -> None:
    good = message(1).headers
    bad = [
        Message(b"k", b"{not json", good, 0),
        Message(None, b"\x00\xff\xfe", good, 0),
        Message(b"\xff", None, good, 0),
        Message(b"k", b"{}", [("ce_id", b"\xff\xfe\x00")], 0),
        Message(b"k", b'{"number": 7}', [], 0),
        Message(b"k", b'{"number": 7}', [(name, value) for name, value in good if name != "ce_time"], 0),
    ]
    await one_rig.produce([message(1, partition=0), *bad, message(2, partition=0)])
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects({1, 2})
    letters = await one_rig.letters()
    assert [(letter["record_key"], letter["value"]) for letter in letters] == [(one.key, one.value) for one in bad]
    assert {letter["reason"] for letter in letters} == {"bad_body", "bad_envelope"}
    assert letters[3]["header_values"] == [b"\xff\xfe\x00"]


async def test_a_transient_fault_repeats_the_batch_and_loses_nothing(one_rig: Rig) -> None:
    probe = Probe()
    probe.faults = [
        asyncpg.DeadlockDetectedError("deadlock"),
        asyncpg.SerializationError("serialization"),
        ConnectionResetError("connection"),
        asyncpg.ConnectionDoesNotExistError("gone"),
    ]
    await one_rig.produce(message(number) for number in range(120))
    async with running(one_rig.consumer(probe)):
        await one_rig.has_effects(range(120))
    assert set((await one_rig.effects()).values()) == {1}
    assert await one_rig.letters() == []


async def test_errors_of_one_source_become_dead_letters_and_the_consumer_goes_on(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = set(range(20, 30))
    await one_rig.produce(
        message(number, partition=0, source="bad" if number in probe.poison else "good") for number in range(60)
    )
    consumer = one_rig.consumer(probe)
    async with running(consumer):
        await one_rig.has_effects(set(range(60)) - probe.poison)
        assert consumer.status == "running"
    assert len(await one_rig.letters()) == len(probe.poison)


async def test_errors_across_sources_are_ours_and_stop_the_consumer_with_nothing_lost(one_rig: Rig) -> None:
    probe = Probe()
    probe.poison = set(range(10, 20))
    await one_rig.produce(message(number, partition=0, source=f"source-{number % 3}") for number in range(30))
    consumer = one_rig.consumer(probe)

    async def stopped() -> bool:
        return consumer.status.startswith("stopped: ")

    async with running(consumer):
        await eventually(stopped, "the consumer stops and says why")
        assert "ValueError" in consumer.status
        assert not consumer.ready
    assert await one_rig.effects() == {}
    assert await one_rig.letters() == []
    # After the repair it goes on where it stood.
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(30))


async def test_two_replicas_share_the_partitions_and_a_rebalance_doubles_nothing(one_rig: Rig) -> None:
    await one_rig.produce(message(number) for number in range(400))
    first, second = one_rig.consumer(Probe(), batch_size=20), one_rig.consumer(Probe(), batch_size=20)
    async with running(first):
        await eventually(lambda: _some(one_rig), "the first has begun")
        async with running(second):
            await one_rig.produce(message(number) for number in range(400, 800))
            await one_rig.has_effects(range(800))
        await one_rig.produce(message(number) for number in range(800, 900))
        await one_rig.has_effects(range(900))
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_topic_created_anew_is_read_from_its_beginning(one_rig: Rig) -> None:
    await one_rig.pool.execute(
        "insert into kafka_offset (consumer_group, topic, partition_id, next_offset)"
        " select $1, $2, unnest(array[0, 1, 2]), 1000",
        one_rig.prefix + "probe",
        REPORTS.name,
    )
    await one_rig.produce(message(number) for number in range(30))
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(30))


async def _some(one: Rig) -> bool:
    return bool(await one.effects())


async def _somebody_waits(one: Rig) -> bool:
    rows = await one.pool.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    return bool(rows)


class _Choosy(Probe):
    """Rejects odd numbers by name."""

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
        """Counts the even ones."""
        await super().handle(connection, batch, now)
        for one in batch:
            if one.event % 2:
                raise Rejected("odd", f"{one.event} is odd", event_id=one.envelope.id)


async def test_a_rejected_record_that_is_named_is_set_aside_without_a_search(one_rig: Rig) -> None:
    probe = _Choosy()
    await one_rig.produce(message(number, partition=0) for number in [*range(0, 400, 2), 401, 403])
    async with running(one_rig.consumer(probe)):
        await one_rig.has_effects(range(0, 400, 2))
    assert [(letter["reason"], letter["detail"]) for letter in await one_rig.letters()] == [
        ("odd", "401 is odd"),
        ("odd", "403 is odd"),
    ]
    assert set((await one_rig.effects()).values()) == {1}
    assert probe.calls <= 6


class _Strict(Probe):
    """Lets PostgreSQL judge: division by zero for every tenth number."""

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
        """Counts what can be divided by."""
        await connection.execute("select 1 / unnest($1::bigint[])", [one.event % 10 for one in batch])
        await super().handle(connection, batch, now)


async def test_values_that_postgres_refuses_are_dead_letters_however_many_sources_send_them(one_rig: Rig) -> None:
    await one_rig.produce(message(number, partition=0, source=f"source-{number % 7}") for number in range(100))
    consumer = one_rig.consumer(_Strict())
    async with running(consumer):
        await one_rig.has_effects({number for number in range(100) if number % 10})
        assert consumer.status == "running"
    assert len(await one_rig.letters()) == 10


class _Corrupt(TolerantRecords):
    """Every third batch of a response fails its check, until four have."""

    read: ClassVar[int] = 0
    failed: ClassVar[int] = 0

    def next_batch(self) -> object:
        """Reads or fails."""
        _Corrupt.read += 1
        if _Corrupt.read % 3 == 0 and _Corrupt.failed < 4:
            _Corrupt.failed += 1
            raise CorruptRecordException
        return super().next_batch()


async def test_a_fetch_that_fails_loses_nothing_of_what_was_fetched_with_it(
    one_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tolerant, "TolerantRecords", _Corrupt)
    for start in range(0, 300, 30):
        await one_rig.produce(message(number) for number in range(start, start + 30))
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(300))
    assert _Corrupt.failed == 4
    assert set((await one_rig.effects()).values()) == {1}
