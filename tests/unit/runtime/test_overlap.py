"""Computing while a statement runs."""

from __future__ import annotations

import asyncio

import pytest

from services.runtime.overlap import in_turns, meanwhile


async def test_a_statement_is_on_its_way_before_the_block_begins_and_over_when_it_ends() -> None:
    seen = []

    async def statement() -> None:
        seen.append("sent")
        await asyncio.sleep(0)
        seen.append("done")

    async with meanwhile(statement()):
        seen.append("computing")
    assert seen == ["sent", "computing", "done"]


async def test_what_a_statement_raises_comes_out_of_the_block() -> None:
    async def statement() -> None:
        await asyncio.sleep(0)
        raise ConnectionError

    computed = False
    with pytest.raises(ConnectionError):
        async with meanwhile(statement()):
            computed = True
    assert computed


async def test_a_block_that_fails_leaves_no_statement_behind() -> None:
    ended = []

    async def statement() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ZeroDivisionError):
        async with meanwhile(statement()):
            raise ZeroDivisionError
    assert ended


async def test_long_computations_let_the_loop_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    given = list(range(10))
    seen = [one async for some in in_turns(given, 3) for one in some]
    beside.cancel()
    assert seen == given
    assert turns >= 3
