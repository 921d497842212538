"""Amounts that are plain beyond doubt are read in one step, and mean what the longer way makes of them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest.domain.mapping import Unmapped
from services.ingest.sources import commerce
from services.ingest.sources.rows import values

_NEVER = re.compile(r"(?!)")
WRITTEN = st.from_regex(r"-?[0-9]{0,20}(\.[0-9]{0,14})?", fullmatch=True) | st.text(max_size=8)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    WRITTEN, st.floats(), st.integers(), st.decimals(), st.booleans(), st.none(), st.lists(st.integers(), max_size=2)
)
WRITING = values.Writing(ZoneInfo("UTC"))


def in_a_shop(value: Any) -> object:
    """What a shop's amount is read as, or why it is not."""
    try:
        number = commerce.decimal_of(value, "total")
    except Unmapped as unmapped:
        return unmapped.reason
    return str(number)


def in_a_row(text: str) -> object:
    """The same of a cell."""
    try:
        return str(WRITING.number("total", text))
    except values.BadCell as bad:
        return str(bad)


@given(ANYTHING)
@example(Decimal("1E+5"))
@example("1" * 18)
def test_an_amount_of_a_shop_is_the_same_either_way(value: Any) -> None:
    quickly = in_a_shop(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commerce, "_PLAIN", _NEVER)
        assert in_a_shop(value) == quickly


@given(WRITTEN)
@example("-0.00")
@example("0010.500")
def test_an_amount_of_a_row_is_the_same_either_way(text: str) -> None:
    quickly = in_a_row(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "_PLAIN_NUMBER", _NEVER)
        assert in_a_row(text) == quickly
