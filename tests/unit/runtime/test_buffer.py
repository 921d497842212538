"""What is taken of what aiokafka has fetched, over its own buffer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from services.runtime.buffer import Buffer


class _Fetcher:
    """As much of aiokafka's as a buffer needs: records that have come, and how often more was asked for."""

    def __init__(self, **fetched: int) -> None:
        names = {name: TopicPartition(f"x.{name[0]}", int(name[1:])) for name in fetched}
        self._assignment = Assignment(set(names.values()))
        self._records = OrderedDict((names[name], self._result(names[name], count)) for name, count in fetched.items())
        self._wait_consume_future = None
        self._fetcher_timeout = 0.2
        self.woken = 0

    def _result(self, partition: TopicPartition, count: int) -> FetchResult:
        self._assignment.state_value(partition).seek(0)
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1_000_000)
        for number in range(count):
            builder.append(number, 0, b"key", b"value", [("h", b"1")])
        content = MemoryRecords(bytes(builder.build()))
        records = PartitionRecords(
            partition, content, [], 0, None, None, check_crcs=True, isolation_level=READ_COMMITTED
        )
        return FetchResult(partition, assignment=self._assignment, partition_records=records, backoff=0.1)

    def _notify(self, _: Any) -> None:
        self.woken += 1

    def _get_actions_per_node(self, _: Any) -> tuple[Any, ...]:
        return [], {"asked": True}, 0, False, []


def _buffer(fetcher: _Fetcher) -> Buffer:
    return Buffer(fetcher, {"x.a": "a", "x.b": "b"})


def _taken(buffer: Buffer, most: int) -> dict[str, list[int]]:
    found = buffer.take(most)
    return {f"{rows[0].topic}{partition.partition}": [one.offset for one in rows] for partition, rows in found.items()}


def _asks(fetcher: _Fetcher) -> bool:
    return bool(fetcher._get_actions_per_node(None)[1])  # noqa: SLF001 - where the buffer puts itself in between


async def test_every_partition_gives_an_equal_share_and_what_others_leave() -> None:
    buffer = _buffer(_Fetcher(a0=10, a1=2, b0=10))
    assert _taken(buffer, 12) == {"a0": [0, 1, 2, 3, 4], "a1": [0, 1], "b0": [0, 1, 2, 3, 4]}
    assert _taken(buffer, 12) == {"a0": [5, 6, 7, 8, 9], "b0": [5, 6, 7, 8, 9]}
    assert _taken(buffer, 12) == {}


async def test_fewer_than_there_are_partitions_can_be_taken() -> None:
    buffer = _buffer(_Fetcher(a0=1, a1=1, b0=1))
    assert [len(_taken(buffer, 1)) for _ in range(4)] == [1, 1, 1, 0]


async def test_nothing_is_fetched_during_a_small_batch_and_again_after_it() -> None:
    fetcher = _Fetcher(a0=2)
    buffer = _buffer(fetcher)
    assert _asks(fetcher)
    assert _taken(buffer, 100) == {"a0": [0, 1]}
    assert not _asks(fetcher)
    woken = fetcher.woken
    buffer.wake()
    assert (_asks(fetcher), fetcher.woken) == (True, woken + 1)


async def test_of_a_backlog_more_is_fetched_while_a_batch_is_worked_on() -> None:
    fetcher = _Fetcher(a0=50)
    buffer = _buffer(fetcher)
    _taken(buffer, 40)
    assert _asks(fetcher)
    _taken(buffer, 15)
    assert _asks(fetcher)


async def test_what_is_looked_at_is_of_all_partitions_alike_and_stays_where_it_was() -> None:
    fetcher = _Fetcher(a0=30, a1=5, b0=30)
    buffer = _buffer(fetcher)
    looked: dict[str, list[int]] = {}
    while some := buffer.look(4, 36):
        for record in some:
            looked.setdefault(f"{record.topic}{record.partition}", []).append(record.offset)
    assert {name: len(offsets) for name, offsets in looked.items()} == {"a0": 20, "a1": 5, "b0": 20}
    assert _taken(buffer, 36) == {"a0": list(range(16)), "a1": list(range(5)), "b0": list(range(15))}
    assert buffer.look(4, 0) == []
