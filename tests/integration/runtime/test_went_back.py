"""A database that has lost what it had committed: a replica that took over, a backup put in its place."""

from __future__ import annotations

import pytest

from tests.integration.runtime.harness import Probe, Rig, message, running

# Deletes what was done and moves the offsets back, in one statement: what the database was some seconds ago.
_GO_BACK = """
    with undone as (delete from effect where number >= 20)
    update kafka_offset set next_offset = earlier.next_offset
    from unnest($1::text[], $2::int[], $3::bigint[]) as earlier (topic, partition_id, next_offset)
    where kafka_offset.topic = earlier.topic and kafka_offset.partition_id = earlier.partition_id
"""


@pytest.mark.parametrize("more", [0, 20])
async def test_a_running_consumer_reads_again_what_its_database_has_forgotten(one_rig: Rig, more: int) -> None:
    async with running(one_rig.consumer(Probe())):
        await one_rig.produce(message(number) for number in range(20))
        await one_rig.has_effects(range(20))
        rows = await one_rig.pool.fetch("select topic, partition_id, next_offset from kafka_offset")
        await one_rig.produce(message(number) for number in range(20, 40))
        await one_rig.has_effects(range(40))
        columns = [[row[name] for row in rows] for name in ("topic", "partition_id", "next_offset")]
        await one_rig.pool.execute(_GO_BACK, *columns)
        await one_rig.produce(message(number) for number in range(40, 40 + more))
        await one_rig.has_effects(range(40 + more))
    assert set((await one_rig.effects()).values()) == {1}
    assert await one_rig.letters() == []
