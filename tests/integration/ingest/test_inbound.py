"""What others put on `tenure.inbound`: good events go on, bad ones are dead letters that stop nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from contracts.topics import INBOUND
from tests.integration.ingest.conftest import StartIngest
from tests.integration.ingest.test_acceptance import PLACED

SOURCE = """
[sources.others]
provider = "inbound"
"""
HEADERS = [(f"ce_{name}", value.encode()) for name, value in PLACED.items() if isinstance(value, str)]
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]
DATA = orjson.dumps(PLACED["data"])


async def test_good_events_go_on_and_bad_ones_become_dead_letters(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCE)
    good: list[tuple[bytes | None, Any]] = [
        (DATA, HEADERS),
        (orjson.dumps({**PLACED, "subject": "4712"}), STRUCTURED),
    ]
    bad: list[tuple[bytes | None, Any]] = [
        (b"{", HEADERS),
        (None, HEADERS),
        (DATA, []),
        (DATA, [*HEADERS[:-1], ("ce_time", b"\xff")]),
        (b'{"net": {"amount": NaN}}', HEADERS),
        (b'{"title": "\\u0000"}', HEADERS),
        (b'{"net": {"amount": "1.00", "currency": "XQQ"}}', HEADERS),
        (orjson.dumps({**PLACED, "time": "2100-01-01T00:00:00Z"}), STRUCTURED),
        (orjson.dumps({**PLACED, "type": "tenure.order.placed.v9"}), STRUCTURED),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=ingest.settings.kafka_bootstrap)
    await producer.start()
    for value, headers in [bad[0], *good, *bad[1:]]:
        await producer.send_and_wait(ingest.settings.physical(INBOUND.name), value, key=b"k", headers=headers)
    await producer.stop()

    events = await ingest.events(2)

    assert {event.interaction.native_id for event in events} == {"4711", "4712"}
    assert {event.interaction.system for event in events} == {"inbound:/erp"}
    async with asyncio.timeout(60):
        while (await ingest.operations.get("/flow")).json()["dead_letters_waiting"] < len(bad):
            await asyncio.sleep(0.2)
    letters = (await ingest.http.get("/v1/dead-letters", headers=ingest.bearer("operator"))).json()["items"]
    assert len(letters) == len(bad)
