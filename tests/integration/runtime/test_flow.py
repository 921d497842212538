"""`/flow` tells the truth: never drained while something is on its way, and soon drained when nothing is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from aiokafka import AIOKafkaProducer

from services.runtime.flow import Flow, Part
from services.runtime.outbox import OutboxMessage, append
from services.runtime.postgres import transaction
from tests.integration.runtime.harness import (
    MOMENT,
    REPORTS,
    RESULTS,
    Probe,
    Rig,
    envelope,
    eventually,
    message,
    running,
)


class _Steps:
    """A clock that the test steps."""

    def __init__(self) -> None:
        self.moment = MOMENT + timedelta(days=1)

    def now(self) -> datetime:
        """The moment that the test has set."""
        return self.moment


@asynccontextmanager
async def _producing(one: Rig) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=one.bootstrap, transactional_id=one.prefix + "upstream")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _drained(flow: Flow) -> None:
    async def drained() -> bool:
        return (await flow.report()).drained

    await eventually(drained, "everything is drained")


async def test_drained_and_the_clock_is_the_horizon_when_nothing_waits(one_rig: Rig) -> None:
    one_rig.clock = _Steps()
    consumer = one_rig.consumer(Probe())
    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
    async with running(consumer):
        await _drained(flow)
        report = await flow.report()
    assert report.horizon == report.clock == one_rig.clock.now()
    assert report.lag == {REPORTS.name: 0}


async def test_a_batch_in_flight_is_lag_and_holds_the_horizon(one_rig: Rig) -> None:
    one_rig.clock = _Steps()
    probe = Probe()
    consumer = one_rig.consumer(probe)
    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
    async with running(consumer):
        await one_rig.produce([message(1, partition=0, moment=MOMENT)])
        await one_rig.has_effects({1})
        probe.hold = asyncio.Event()
        probe.entered.clear()
        await one_rig.produce([message(2, partition=0, moment=MOMENT + timedelta(hours=1))])
        await probe.entered.wait()
        for _ in range(5):
            report = await flow.report()
            assert not report.drained
            assert report.lag == {REPORTS.name: 1}
            assert report.horizon == MOMENT
        probe.hold.set()
        await _drained(flow)
        assert set(await one_rig.effects()) == {1, 2}


async def test_a_record_is_lag_from_its_acknowledgement_on(one_rig: Rig) -> None:
    probe = Probe()
    consumer = one_rig.consumer(probe)
    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
    async with running(consumer):
        for number in range(15):
            await _drained(flow)
            probe.hold = asyncio.Event()
            await one_rig.produce([message(number)])
            assert not (await flow.report()).drained
            probe.hold.set()
        await one_rig.has_effects(range(15))


async def test_a_committed_transaction_is_never_overlooked_and_its_markers_are_no_lag(one_rig: Rig) -> None:
    probe = Probe()
    consumer = one_rig.consumer(probe)
    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
    async with running(consumer), _producing(one_rig) as producer:
        for number in range(25):
            await _drained(flow)
            probe.hold = asyncio.Event()
            sent = message(number)
            async with producer.transaction():
                await producer.send_and_wait(
                    one_rig.prefix + REPORTS.name, sent.value, key=sent.key, headers=list(sent.headers)
                )
            # Markers are written after the commit was acknowledged: this is where a stable offset would mislead.
            assert not (await flow.report()).drained
            probe.hold.set()
        await _drained(flow)
        assert set(await one_rig.effects()) == set(range(25))


async def test_an_open_transaction_is_lag_and_an_aborted_one_is_none(one_rig: Rig) -> None:
    consumer = one_rig.consumer(Probe())
    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[consumer])
    async with running(consumer), _producing(one_rig) as producer:
        await _drained(flow)
        sent = message(1)
        await producer.begin_transaction()
        await producer.send_and_wait(
            one_rig.prefix + REPORTS.name, sent.value, key=sent.key, headers=list(sent.headers)
        )
        assert not (await flow.report()).drained
        await producer.abort_transaction()
        await _drained(flow)
        assert await one_rig.effects() == {}


async def test_a_replica_without_partitions_knows_how_far_the_others_are(one_rig: Rig) -> None:
    consumer, onlooker = one_rig.consumer(Probe()), one_rig.consumer(Probe())
    elsewhere = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, consumers=[onlooker])
    async with running(consumer), _producing(one_rig) as producer:
        async with producer.transaction():
            for number in range(9):
                sent = message(number, partition=number % 3)
                await producer.send(
                    one_rig.prefix + REPORTS.name,
                    sent.value,
                    key=sent.key,
                    headers=list(sent.headers),
                    partition=sent.partition,
                )
        await _drained(elsewhere)
        assert set(await one_rig.effects()) == set(range(9))
    await onlooker.stop()


async def test_the_outbox_and_parts_hold_the_horizon(one_rig: Rig) -> None:
    one_rig.clock = _Steps()
    held = Part(drained=False, horizon=MOMENT + timedelta(minutes=5), details={"open": 3})

    async def jobs(_now: datetime) -> Part:
        return held

    flow = Flow(service="probe", clock=one_rig.clock, pool=one_rig.pool, parts={"jobs": jobs})
    report = await flow.report()
    assert (report.drained, report.horizon) == (False, MOMENT + timedelta(minutes=5))
    async with transaction(one_rig.pool) as connection:
        await append(connection, [OutboxMessage(RESULTS, "key", envelope(1), b"1")])
    held = Part(drained=True)
    report = await flow.report()
    assert (report.drained, report.horizon, report.outbox_rows) == (False, MOMENT, 1)
    assert report.body()["parts"] == {"jobs": {"drained": True}}
