"""Header names that are no UTF-8, as a client library in another language may write them, on real Kafka."""

from __future__ import annotations

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from tests.integration.runtime.harness import REPORTS, Message, Probe, Rig, message, running

_STRANGE = b"ce_\xff\xfe\x00name"


class _Bytes(str):
    """A header name that is written as these bytes; no Python client lets one do that by itself."""

    __slots__ = ()

    def encode(self, *_arguments: object) -> bytes:
        """The bytes."""
        return _STRANGE


async def _produce_strangely(bootstrap: str, topic: str, messages: list[Message], codec: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        batch = producer.create_batch()
        # aiokafka's Python builder asks a name for its bytes; the compiled one, which is used otherwise, does not.
        batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 100_000)  # noqa: SLF001 - see above
        for one in messages:
            batch.append(key=one.key, value=one.value, timestamp=None, headers=list(one.headers))
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


@pytest.mark.parametrize("codec", [0, 1], ids=["plain", "gzip"])
async def test_a_header_name_of_any_bytes_is_a_dead_letter_and_stops_no_partition(one_rig: Rig, codec: int) -> None:
    strange = Message(b"key", b"value", [("ce_id", b"1"), (_Bytes("x"), b"\xff"), ("after", b"wards")])
    messages = [message(0), message(1), strange, message(2), strange, message(3)]
    await _produce_strangely(one_rig.bootstrap, one_rig.prefix + REPORTS.name, messages, codec)
    await one_rig.produce([message(4, partition=0), message(5, partition=1)])
    async with running(one_rig.consumer(Probe())):
        await one_rig.has_effects(range(6))
    first, second = await one_rig.letters()
    assert (first["record_offset"], second["record_offset"]) == (2, 4)
    assert first["header_names"] == [b"ce_id", _STRANGE, b"after"]
    assert first["header_values"] == [b"1", b"\xff", b"wards"]
    assert (first["record_key"], first["value"]) == (b"key", b"value")
