"""A line read in one go becomes the record that the other reader makes of it, byte by byte, or is left to it."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts import standins
from contracts.codec import encode, event_envelope
from contracts.values import Authority
from services.ingest import strict_json
from services.ingest.domain.mapping import Invalid
from services.ingest.domain.written import Written
from services.ingest.sources.cloudevents import read_cloudevent
from services.ingest.sources.quick import QuickReader
from tests.unit.ingest.golden import origin
from tests.unit.ingest.test_quick_reading import EVENTS, mutations

SYSTEMS = frozenset({"zendesk:acme", "erp:other"})
ORIGIN = replace(origin("history"), authority=Authority.IMPORT)
QUICK = QuickReader(ORIGIN, SYSTEMS)


def slow(line: bytes) -> Written | None:
    """What the other reader makes of a line; None for what it refuses."""
    try:
        item = strict_json.loads(line)
        event = read_cloudevent(item, ORIGIN, SYSTEMS)
    except (Invalid, strict_json.BadJson):
        return None
    value = standins.encode(event) if standins.is_stand_in(event) else encode(event)
    headers = dict(event_envelope(event, ORIGIN.received_at).headers())
    return Written(event.id, event.interaction.id, event.TYPE, headers["ce_time"], value, item["source"])


def agrees(line: bytes) -> bool:
    """Demand that both say the same where the quick reader says something; say whether it did."""
    found = QUICK.read(line)
    if found is None:
        return False
    assert found == slow(line), line
    return True


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_every_type_is_read_in_one_go_and_every_mutation_of_it_as_the_other_reader_would(event: dict[str, Any]) -> None:
    assert agrees(orjson.dumps(event)) is ("kind" not in event["data"])
    for mutated in mutations(event):
        agrees(orjson.dumps(mutated))


@pytest.mark.parametrize(
    "change",
    [
        {"system": "erp:other"},
        {"system": "erp:unknown"},
        {"system": 1},
        {"sequence": "12"},
        {"sequence": 12},
        {"sequence": "12x"},
        {"sequence": "1234567890123456789"},
        {"source": " "},
        {"subject": "\u2003"},
        {"subject": 'Ünï \u2028 \\ " / \x7f'},
        {"subject": "a\x00b"},
        {"subject": "x" * 1025},
        {"id": "\U0001f600"},
        {"time": "2026-03-02T09:30:00.5+02:00"},
        {"time": "2026-03-02t09:30:00z"},
        {"time": "2026-03-02T09:30:00.1234567Z"},
        {"time": "2026-W10-1T09:30:00Z"},
        {"time": "2199-03-02T09:30:00Z"},
        {"datacontenttype": "application/json"},
        {"datacontenttype": "text/plain"},
        {"specversion": "0.3"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"more": 18446744073709551615},
        {"data": []},
        {"data": None},
    ],
)
def test_attributes_are_read_as_the_other_reader_reads_them(change: dict[str, Any]) -> None:
    for event in EVENTS[:6]:
        agrees(orjson.dumps({**event, **change}))
        agrees(orjson.dumps({**event, **change, "data": {**event["data"], "text": "x"}}))


def test_another_writing_of_the_same_is_left_to_the_other_reader() -> None:
    line = orjson.dumps(EVENTS[0])
    for odd in (line.replace(b'":', b'" :', 1), line + b" ", line[:-1] + b',"id":"twice"}', b"[" + line + b"]", b""):
        assert QUICK.read(odd) is None


def test_reading_changes_nothing_that_the_digest_is_over() -> None:
    line = orjson.dumps(EVENTS[0])
    assert QUICK.read(line) == QUICK.read(line) == slow(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(EVENTS), st.data())
def test_whatever_stands_in_place_of_a_part_both_readers_agree(event: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(event)
    place: Any = data.draw(st.sampled_from([changed, changed["data"]]))
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
    try:
        line = orjson.dumps(changed)
    except (orjson.JSONEncodeError, TypeError):
        return
    agrees(line)
