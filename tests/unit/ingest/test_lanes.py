"""What waits for one partition: in its order, as much as a batch takes, and nothing that nobody waits for."""

from __future__ import annotations

import asyncio
from collections import deque

from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from services.ingest.lanes import Lane, Outgoing, Waiting

VALUE = b"x" * 100
SMALL = 1000


def lane(*shares: tuple[Waiting, int]) -> Lane:
    """A lane in which so many records of each caller wait."""
    numbered = iter(range(1000))
    gathered = (
        (caller, [Outgoing(b"%d" % next(numbered), VALUE, []) for _ in range(count)]) for caller, count in shares
    )
    return Lane(TopicPartition("t", 0), deque(gathered))


def test_what_a_full_batch_does_not_take_goes_with_the_next_one() -> None:
    async def take_all() -> None:
        first, second = Waiting(), Waiting()
        first.left, second.left = 20, 3
        waiting, taken = lane((first, 20), (second, 3)), 0
        batches = 0
        while waiting.gathered:
            batch = BatchBuilder(SMALL, 0)
            shares = waiting.take(batch)
            assert sum(count for _, count in shares) == batch.record_count() > 0
            taken += batch.record_count()
            batches += 1
            for caller, count in shares:
                assert not caller.answer.done()
                caller.landed(count)
            assert first.answer.done() is (taken >= 20)
        assert (taken, batches > 2, second.answer.done()) == (23, True, True)

    asyncio.run(take_all())


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    async def take_late() -> None:
        gone, there = Waiting(), Waiting()
        gone.fail(TimeoutError())
        waiting, batch = lane((gone, 5), (there, 2)), BatchBuilder(SMALL, 0)
        assert waiting.take(batch) == [(there, 2)]
        assert batch.record_count() == 2
        assert isinstance(gone.answer.exception(), TimeoutError)

    asyncio.run(take_late())
