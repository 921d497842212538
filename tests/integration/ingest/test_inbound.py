"""What others put on `tenure.inbound`: good events go on, bad ones are dead letters that stop nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from contracts.topics import INBOUND
from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign
from tests.integration.ingest.conftest import SECRETS, StartIngest
from tests.integration.ingest.test_acceptance import PLACED

SOURCE = """
[sources.others]
provider = "inbound"
[sources.shop-events]
provider = "inbound"
publisher = "/shop"
secret_files = ["erp.secret"]
"""
HEADERS = [(f"ce_{name}", value.encode()) for name, value in PLACED.items() if isinstance(value, str)]
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=utf-8")]
SHOP = orjson.dumps({**PLACED, "source": "/shop", "subject": "S-1"})
SIGNED = [
    *STRUCTURED,
    *(
        (name, value.encode())
        for name, value in sign(
            SchemeName.STANDARD_WEBHOOKS, SECRETS["erp.secret"], SHOP, identifier="msg_1", now=1_700_000_000
        ).items()
    ),
]
DATA = orjson.dumps(PLACED["data"])


async def test_good_events_go_on_and_bad_ones_become_dead_letters(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCE)
    good: list[tuple[bytes | None, Any]] = [
        (DATA, HEADERS),
        (orjson.dumps({**PLACED, "subject": "4712"}), STRUCTURED),
        (SHOP, SIGNED),
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
        # Nobody else may speak for a publisher that has a secret.
        (SHOP, STRUCTURED),
        (SHOP.replace(b"S-1", b"S-2"), SIGNED),
        (DATA, [*SIGNED[1:], *(header for header in HEADERS if header[0] != "ce_source"), ("ce_source", b"/shop")]),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=ingest.settings.kafka_bootstrap)
    await producer.start()
    for value, headers in [bad[0], *good, *bad[1:]]:
        await producer.send_and_wait(ingest.settings.physical(INBOUND.name), value, key=b"k", headers=headers)
    await producer.stop()

    events = await ingest.events(3)

    told = {(event.interaction.system, event.interaction.native_id, event.source) for event in events}
    assert told == {
        ("inbound:/erp", "4711", "others"),
        ("inbound:/erp", "4712", "others"),
        ("inbound:/shop", "S-1", "shop-events"),
    }
    async with asyncio.timeout(60):
        while (await ingest.operations.get("/flow")).json()["dead_letters_waiting"] < len(bad):
            await asyncio.sleep(0.2)
    letters = (await ingest.http.get("/v1/dead-letters", headers=ingest.bearer("operator"))).json()["items"]
    assert len(letters) == len(bad)
