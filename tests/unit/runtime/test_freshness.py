"""Reads are refused when what we know of owners is older than five minutes."""

from __future__ import annotations

import pytest

from services.runtime.freshness import Freshness
from services.runtime.problems import Problem


class Lag:
    """What the consumer says, and a clock that a test moves."""

    def __init__(self, records: int | Exception) -> None:
        self.records = records
        self.asked = 0
        self.now = 1000.0

    async def ask(self) -> int:
        """Say how many records wait."""
        self.asked += 1
        if isinstance(self.records, Exception):
            raise self.records
        return self.records


async def test_reads_go_on_for_five_minutes_after_the_copy_was_last_up_to_date() -> None:
    lag = Lag(0)
    fresh = Freshness(lag.ask, lambda: lag.now)
    await fresh.require()
    lag.records = OSError("the broker is away")
    lag.now += 299
    await fresh.require()
    lag.now += 10
    with pytest.raises(Problem) as refused:
        await fresh.require()
    assert refused.value.status == 503
    lag.records = 0
    lag.now += 10
    await fresh.require()


async def test_a_copy_that_was_never_up_to_date_is_not_read() -> None:
    lag = Lag(7)
    with pytest.raises(Problem):
        await Freshness(lag.ask, lambda: lag.now).require()


async def test_it_does_not_ask_for_every_read() -> None:
    lag = Lag(0)
    fresh = Freshness(lag.ask, lambda: lag.now)
    for _ in range(100):
        await fresh.require()
    assert lag.asked == 1
