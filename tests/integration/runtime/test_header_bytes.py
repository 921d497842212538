"""Header names that are no UTF-8, as another client library may write them, on real Kafka."""

from __future__ import annotations

import confluent_kafka

from tests.integration.runtime.harness import REPORTS, Probe, Rig, message, running


async def test_a_header_name_of_any_bytes_is_a_dead_letter_and_stops_no_partition(one_rig: Rig) -> None:
    topic = one_rig.prefix + REPORTS.name
    good = [message(number, partition=0) for number in range(4)]
    strange = confluent_kafka.Producer({"bootstrap.servers": one_rig.bootstrap, "linger.ms": 50})
    for number, one in enumerate(good):
        if number == 2:
            # librdkafka takes header names as they are; its Python wrapper passes surrogates on as bytes only this way.
            strange.produce(topic, b"bad", b"bad", 0, headers=[("ce_\udcff\udcfe", b"\xff")])
        strange.produce(topic, one.value, one.key, 0, headers=list(one.headers))
    strange.flush(30)
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(4))
