"""Computing while a statement runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import arrays
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


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"))))
def test_an_array_of_texts_is_read_back_as_it_was(texts: list[str]) -> None:
    assert _parsed(arrays.texts(texts)) == texts


def _parsed(literal: str) -> list[str]:
    """What PostgreSQL reads in an array literal whose elements all stand in quotes."""
    found: list[str] = []
    rest = literal[1:-1]
    while rest:
        assert rest[0] == '"'
        element, at = "", 1
        while rest[at] != '"':
            at += rest[at] == "\\"
            element, at = element + rest[at], at + 1
        found.append(element)
        rest = rest[at + 1 :].removeprefix(",")
    return found


def test_a_text_that_would_move_all_others_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        arrays.texts(["one", "two\x00three"])


@given(st.lists(st.none() | st.binary(max_size=5)))
def test_pieces_can_be_cut_out_again(values: list[bytes | None]) -> None:
    whole, places, sizes = arrays.pieces(values)
    starts = [int(place) for place in places[1:-1].split(",") if place]
    lengths = [size for size in sizes[1:-1].split(",") if size]
    cut = [
        None if size == "NULL" else whole[start - 1 : start - 1 + int(size)]
        for start, size in zip(starts, lengths, strict=True)
    ]
    assert cut == values


def test_moments_are_written_with_their_offset() -> None:
    noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    berlin = noon.astimezone(timezone(timedelta(hours=1)))
    # Equal moments may be written in either way; both are read as the same.
    literal = arrays.moments([noon, berlin])
    assert [datetime.fromisoformat(one) for one in literal[1:-1].split(",")] == [noon, noon]
