"""Columns as PostgreSQL has them on the wire; tests/integration/runtime/test_arrays.py asks PostgreSQL itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime import arrays


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00"))))
def test_an_array_of_texts_inside_a_column_is_read_back_as_it_was(texts: list[str]) -> None:
    assert _parsed(arrays.literal_texts(texts)) == texts


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


@pytest.mark.parametrize("make", [arrays.texts, arrays.literal_texts])
@pytest.mark.parametrize("beside", [["one"], ["é"], ["one", None]])
def test_a_text_that_postgresql_cannot_store_is_refused(make: object, beside: list[str]) -> None:
    assert callable(make)
    if make is arrays.literal_texts and None in beside:
        return
    with pytest.raises(ValueError, match="NUL"):
        make([*beside, "two\x00three"])


def test_a_column_without_any_value_is_sent_as_nothing() -> None:
    assert arrays.or_nothing(arrays.ids, [None, None]) == arrays.ids([])
    assert arrays.or_nothing(arrays.ids, [None, ID]) == arrays.ids([None, ID])


ID = "0197a000-0000-7000-8000-000000000001"


def test_ids_stand_as_their_sixteen_bytes() -> None:
    head = bytes.fromhex("00000001 00000000 00000b86 00000001 00000001")
    assert arrays.ids([ID]) == head + bytes.fromhex("00000010" + ID.replace("-", ""))
