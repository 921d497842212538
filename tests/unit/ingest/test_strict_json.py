"""JSON that two readers could understand differently, or that cannot be kept, is refused with its place."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.ingest import strict_json
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


ODDITIES = st.sampled_from(
    [
        *(b'"a"', b'"a" ', b'"b"', b'"\\":"', b'"x\\": 1"', b'"\\u0000"', b'"\\ud800"', b'"a\\u0022:"', b" ", b"\n"),
        *(b":", b" :", b"\t:", b",", b"{", b"}", b"[", b"]", b"1", b"-0", b"-0.0", b"0e5", b"01", b"1.", b"1e999"),
        *(
            b"9" * 15,
            b"9" * 18,
            b"-" + b"9" * 18,
            b"123456789.01234567",
            b"1.7976931348623e308",
            b'"12345678901234567890"',
            b'"a:b"',
            b'"a\\\\":"b"',
            b"9" * 19,
            b"1" * 20,
            b"0." + b"1" * 50,
            b"NaN",
            b"-Infinity",
            b"true",
            b"null",
            b"\xff",
            b"\xef\xbb\xbf",
        ),
        *(b'{"a":1}', b'{"a":1,"a":2}', b'{"a" :1,"a":2}', b'"a":1', b'"a":2', b'"a" :', b'{"a":{"b":1},"b":"\\":"}'),
    ]
)


MEMBERS = st.tuples(
    st.sampled_from([b'"a"', b'"b"', b'"a\\":"']), st.sampled_from([b":", b" :", b": ", b"\n:"]), ODDITIES
).map(b"".join)
OBJECTS = st.lists(MEMBERS, max_size=3).map(lambda members: b"{" + b",".join(members) + b"}")


@given(
    body=OBJECTS
    | st.lists(OBJECTS, max_size=3).map(lambda found: b"[" + b",".join(found) + b"]")
    | st.lists(ODDITIES, max_size=12).map(b"".join),
    storable=st.booleans(),
)
@example(body=b'{"a" :1,"a":2}', storable=True)
@example(body=b'{"a":"\\":","a":1,"b" :2}', storable=True)
def test_the_quick_look_decides_as_the_strict_parser_does(body: bytes, storable: bool) -> None:  # noqa: FBT001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_read_plain", lambda _: strict_json._ODD)  # noqa: SLF001
        strictly = _verdict(body, storable=storable)
    assert _verdict(body, storable=storable) == strictly


def _verdict(body: bytes, *, storable: bool) -> tuple[str, str]:
    try:
        return "read", repr(loads(body, storable=storable))
    except BadJson as bad:
        return bad.field, bad.message
