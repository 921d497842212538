"""JSON that two readers could understand differently, or that cannot be kept, is refused with its place."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.strict_json import BadJson, loads

BAD = {
    "malformed": (b'{"a": ', ""),
    "empty": (b"", ""),
    "two documents": (b"{} {}", ""),
    "a trailing comma": (b"[1,]", ""),
    "NaN": (b'{"amount": NaN}', ""),
    "Infinity": (b"[-Infinity]", ""),
    "a number beyond floats": (b"[1e999]", ""),
    "a number beyond 64 bits": (b"[9223372036854775808]", ""),
    "a thousand digits": (b"[" + b"9" * 1000 + b"]", ""),
    "a name twice": (b'{"id": 1, "id": 2}', "id"),
    "NUL": (b'{"data": {"lines": [{"product": "a\\u0000b"}]}}', "data.lines.0.product"),
    "a lone surrogate": (b'{"title": "\\ud83d"}', "title"),
    "NUL in a name": (b'{"a\\u0000": 1}', ""),
    "not UTF-8": (b'{"a": "\xff"}', ""),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), ""),
    "65 levels": (b"[" * 65 + b"]" * 65, ""),
    "100,000 levels": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_json_is_refused_with_its_place_and_a_remedy(name: str) -> None:
    body, field = BAD[name]
    with pytest.raises(BadJson) as refused:
        loads(body)
    assert refused.value.field == field
    assert refused.value.message
    assert refused.value.remedy


def test_64_levels_a_whole_surrogate_pair_and_the_largest_number_are_fine() -> None:
    assert loads(b"[" * 64 + b"]" * 64)
    assert loads(b'"\\ud83d\\ude00"') == "\U0001f600"
    assert loads(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]


def test_a_provider_may_send_what_cannot_be_kept() -> None:
    assert loads(b'{"body": "a\\u0000\\ud800"}', storable=False) == {"body": "a\x00\ud800"}


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_everything_else_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    assert loads(json.dumps(value).encode()) == value
    assert loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes) -> None:
    with contextlib.suppress(BadJson):
        loads(body)
