"""Looking at records before they are taken changes nothing about what is taken, nor about where reading goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import CorruptRecordException
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c_py
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope, Unreadable
from services.runtime.lookahead import LookAhead, Parsed
from services.runtime.overlap import in_turns
from services.runtime.records import Received, Record

PLACE = TopicPartition("topic", 0)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ENVELOPE = Envelope(id="one", source="/a", type="t", subject="s", time=NOW, recordedtime=NOW)
CONTROL = 0x20


def _batch(base: int, count: int, *, control: bool = False, broken: bool = False) -> bytes:
    """A batch of `count` records from offset `base` on; `control`: of markers, which nobody is given."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
    for number in range(count):
        builder.append(number, 0, b"\0\0\0\1" if control else b"key", b"value", [])
    built = bytearray(builder.build())
    built[0:8] = base.to_bytes(8, "big")
    if control:
        built[22] |= CONTROL
        built[17:21] = calc_crc32c_py(bytes(built[21:])).to_bytes(4, "big")
    if broken:
        built[-1] ^= 0xFF
    return bytes(built)


def _fetched(batches: Sequence[tuple[int, str]]) -> tuple[Assignment, FetchResult]:
    """What aiokafka holds of a partition after a fetch of such batches: (records, "plain", "control" or "broken")."""
    content, base = b"", 0
    for count, sort in batches:
        content += _batch(base, count, control=sort == "control", broken=sort == "broken")
        base += count
    records = PartitionRecords(
        PLACE, MemoryRecords(content), [], 0, None, None, check_crcs=True, isolation_level=READ_COMMITTED
    )
    records._consumer_record = lambda place, one: Record(place.topic, 0, one.offset, one.key, one.value, [])  # noqa: SLF001 - as `buffer` does
    assignment = Assignment({PLACE})
    assignment.state_value(PLACE).seek(0)
    return assignment, FetchResult(PLACE, assignment=assignment, partition_records=records, backoff=0.1)


def _drained(assignment: Assignment, result: FetchResult, steps: Sequence[tuple[int, int]]) -> list[Any]:
    """What each take gave, or raised, and where reading went on after it; before each one, some are looked at."""
    told: list[Any] = []
    for look, take in [*steps, *[(0, 3)] * 20]:
        records = result._partition_records  # noqa: SLF001 - where `buffer` puts itself in between
        if records is None:
            break
        if look and isinstance(records, Parsed):
            records.look(look)
        try:
            told.append([record.offset for record in result.getall(take)])
        except CorruptRecordException as error:
            told.append(type(error))
        told.append(assignment.state_value(PLACE).position)
    return told


_BATCHES = st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["plain", "plain", "control", "broken"])), max_size=5)
_STEPS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=8)


@given(_BATCHES, _STEPS)
def test_records_that_were_looked_at_are_given_as_if_nobody_had(
    batches: list[tuple[int, str]], steps: list[tuple[int, int]]
) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        assignment, plain = _fetched(batches)
        expected = _drained(assignment, plain, steps)
        assignment, result = _fetched(batches)
        result._partition_records = Parsed(result._partition_records)  # noqa: SLF001 - as `buffer` does
        return _drained(assignment, result, steps), expected

    # What aiokafka holds belongs to a running loop.
    found, expected = asyncio.run(both())
    assert found == expected


async def test_who_takes_gets_the_very_object_that_was_looked_at() -> None:
    _, result = _fetched([(4, "plain")])
    parsed = result._partition_records = Parsed(result._partition_records)  # noqa: SLF001 - as `buffer` does
    looked = parsed.look(3)
    assert parsed.waiting == 3
    assert all(one is other for one, other in zip(looked, result.getall(9), strict=False))


class Decoder:
    """Counts what it decodes; records with the value b"bad" cannot be read."""

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def __call__(self, record: Record) -> Received[str]:
        """As a handler's `decode`."""
        self.decoded.append(record.offset)
        if record.value == b"bad":
            raise Unreadable("bad", "no event")
        return Received(record, f"event {record.offset}", ENVELOPE)


def _records(first: int, count: int, value: bytes = b"") -> list[Record]:
    return [Record("topic", 0, offset, None, value, []) for offset in range(first, first + count)]


def _giving(records: list[Record]) -> Callable[[int], Sequence[Record]]:
    waiting = list(records)

    def some(at_once: int) -> Sequence[Record]:
        given = waiting[:at_once]
        del waiting[:at_once]
        return given

    return some


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_was_decoded_during_a_batch_is_not_decoded_again_in_the_next_one() -> None:
    decoder, coming = Decoder(), _records(0, 50)
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    async with ahead.beside(100, _giving(coming)):
        await _until(lambda: len(decoder.decoded) == 50)
    async with ahead.beside(100, _giving([])):
        assert [ahead.decode(record).event for record in coming] == [f"event {number}" for number in range(50)]
    assert len(decoder.decoded) == 50


async def test_records_that_are_fetched_again_are_decoded_again() -> None:
    decoder = Decoder()
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    async with ahead.beside(100, _giving(_records(0, 10))):
        await _until(lambda: len(decoder.decoded) == 10)
    again = _records(0, 10, b"another topic of the same name")
    async with ahead.beside(100, _giving([])):
        assert all(ahead.decode(record).record is record for record in again)
    assert len(decoder.decoded) == 20


async def test_what_cannot_be_decoded_is_told_in_its_own_batch() -> None:
    decoder, coming = Decoder(), [*_records(0, 3), *_records(3, 1, b"bad"), *_records(4, 3)]
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    async with ahead.beside(100, _giving(coming)):
        await _until(lambda: len(decoder.decoded) == 7)
    async with ahead.beside(100, _giving([])):
        with pytest.raises(Unreadable):
            ahead.decode(coming[3])
        assert ahead.decode(coming[6]).event == "event 6"


async def test_no_more_bytes_are_decoded_ahead_than_a_batch_may_have() -> None:
    decoder = Decoder()
    ahead = LookAhead(decoder, most=1_000, most_bytes=10_000)
    async with ahead.beside(1_000, _giving(_records(0, 100, b"x" * 5_000))):
        await _until(lambda: len(decoder.decoded) >= 2)
        await asyncio.sleep(0.05)
    # What was parsed together is decoded together.
    assert len(decoder.decoded) <= 40


async def test_during_a_small_batch_nobody_looks_ahead() -> None:
    decoder = Decoder()
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    async with ahead.beside(25, _giving(_records(0, 10))):
        await asyncio.sleep(0.02)
    assert decoder.decoded == []


async def test_who_computes_in_turns_goes_first() -> None:
    decoder = Decoder()
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    async with ahead.beside(100, _giving(_records(0, 10))):
        async for _ in in_turns(range(10), at_once=1):
            assert decoder.decoded == []
        await _until(lambda: len(decoder.decoded) == 10)


async def test_when_the_batch_has_ended_or_failed_nobody_looks_any_more() -> None:
    decoder, coming = Decoder(), _records(0, 1)
    ahead = LookAhead(decoder, most=100, most_bytes=10_000)
    with pytest.raises(ZeroDivisionError):
        async with ahead.beside(100, _giving(coming)):
            raise ZeroDivisionError
    await asyncio.sleep(0.02)
    assert decoder.decoded == []
