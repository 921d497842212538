"""A stand-in says what its model says, or nothing; both accept the same."""

import json
from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from contracts import standins
from contracts.activity import Attribution
from contracts.codec import ALL_TYPES, encode
from contracts.documents import EXAMPLES, stored
from contracts.events import BY_TYPE, Event
from contracts.interactions import assemble, distinct
from contracts.kpis import AccountKpis, Evidence, KpiValue
from contracts.values import Model
from tests.contracts.test_assemble import histories

NAMES = sorted([*BY_TYPE, Attribution.TYPE, AccountKpis.TYPE])

# What may stand where something else stood: near misses of every type that the contracts know.
ODD: list[Any] = [
    *(None, True, 0, -1, 6, 1 << 31, 1 << 63, 1 << 70, 1.5, "", "x", "X" * 257, "n\x00l", "l\u2028s", "Ü", "1", "007"),
    *(
        "-0",
        "12.50",
        "1e3",
        "NaN",
        "Infinity",
        "+1",
        "1.1234567",
        "9" * 19,
        ".5",
        "5.",
        "1\n",
        "a_b\n",
        "0" * 32 + "\n",
    ),
    *("2026-03-02T09:15:00Z", "2026-03-02T09:15:00.120000Z", "2026-03-02T09:15:00.12Z", "2026-03-02T09:15:00+02:00"),
    *("2026-03-02T09:15:00+00:00", "2026-03-02T09:15:00.1234567Z", "2026-03-02t09:15:00z", "2026-03-02 09:15:00Z"),
    *("1989-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "2199-12-31T23:59:59.999999Z", "2026-02-30T00:00:00Z"),
    *("2026-03-02", "2026-3-2", "20260302", "0198f000-0000-7000-8000-000000000009", "EUR", "XXX", "order", "mail"),
    *([], [None], ["a"], {}, {"kind": "order"}, {"amount": "1", "currency": "EUR"}),
    {"amount": 1, "currency": "EUR"},
    {"kind": "ticket", "system": "s", "native_id": "1"},
]


odd = st.sampled_from(ODD).map(deepcopy)


def example(name: str) -> Model:
    return ALL_TYPES[name].model_validate(stored(EXAMPLES, name)["data"])


def as_written(model: Model) -> bytes:
    """As the service that owns the type writes it."""
    if isinstance(model, Attribution):
        return orjson.dumps(json.loads(encode(model)), option=orjson.OPT_SORT_KEYS)
    if isinstance(model, AccountKpis):
        state = json.loads(encode(model))
        state["order_rhythm"] = in_order(state["order_rhythm"], *RHYTHM)
        return orjson.dumps(in_order(state, *STATE))
    return encode(model)


STATE = ("account_id", "version", "as_of_day", "computed_at", "account_version", "values", "last_touches", "open_items")
RHYTHM = ("orders", "gaps", "last_order_at", "last_order_id", "p90_gap_days")


def in_order(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """The members of these names first, the others after them as they stood."""
    first = {name: given[name] for name in names if name in given}
    return first | {name: value for name, value in given.items() if name not in first}


def by_model(name: str, value: bytes) -> Model | None:
    try:
        return ALL_TYPES[name].model_validate_json(value)
    except ValueError:
        return None


def same(one: Any, other: Any) -> bool:
    """Compare a stand-in with a model, field by field, types included."""
    if isinstance(one, BaseModel):
        assert isinstance(other, msgspec.Struct)
        return all(same(getattr(one, name), getattr(other, name)) for name in type(one).model_fields)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Decimal | datetime | date):
        return type(one) is type(other) and str(one) == str(other)
    return type(one) is type(other) and bool(one == other)


def agree(name: str, value: bytes) -> None:
    """Check that both accept `value` and read the same in it, or that the model alone decides."""
    model = by_model(name, value)
    found = standins.read(ALL_TYPES[name], value)
    if found is not None:
        assert model is not None
        assert as_written(model) == value
        assert same(model, found)
        assert standins.encode(found) == (as_written(model) if isinstance(model, AccountKpis) else encode(model))
        assert standins.encode_sorted(found) == orjson.dumps(json.loads(encode(model)), option=orjson.OPT_SORT_KEYS)
    elif model is not None:
        # It is written in another way, and written in ours it is read.
        assert as_written(model) != value or b"\\u0000" in value
        again = standins.read(ALL_TYPES[name], as_written(model))
        if again is None and isinstance(model, AccountKpis):
            # Its decimals have no bounds; those that metrics never writes, like 1E+3, are the model's to read.
            return
        assert again is not None
        assert same(model, again)
        assert same(model, standins.stand_in(model))


@pytest.mark.parametrize("name", NAMES)
def test_what_we_write_is_read_without_its_model(name: str) -> None:
    model = example(name)
    found = standins.read(ALL_TYPES[name], as_written(model))
    assert found is not None
    assert standins.is_stand_in(found)
    assert same(model, found)
    agree(name, as_written(model))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a JSON value."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        found += places(one, (*path, name))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, bytes]:
    """A record as it is written, with a few members changed, left out, added, moved or repeated."""
    name = draw(st.sampled_from(NAMES))
    data = json.loads(as_written(example(name)))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(places(data)))
        holder = data
        for step in where[:-1]:
            holder = holder[step]
        what = draw(st.sampled_from(["change", "change", "change", "drop", "add", "repeat", "move"]))
        if what == "change":
            holder[where[-1]] = draw(odd | st.text(max_size=8))
        elif what == "drop":
            del holder[where[-1]]
        elif isinstance(holder, list):
            holder.append(deepcopy(holder[0]) if what == "repeat" else draw(odd))
        elif what == "move":
            holder[where[-1]] = holder.pop(where[-1])
        else:
            holder[draw(st.sampled_from(["unknown", "title", "text", "entries", "parent", "amount"]))] = draw(odd)
        if not places(data):
            break
    compact = draw(st.booleans()) or draw(st.booleans())
    text = json.dumps(data, ensure_ascii=draw(st.booleans()), separators=(",", ":") if compact else None)
    return name, text.encode("utf-8", "surrogatepass")


@given(mutated())
@settings(max_examples=600)
def test_a_changed_record_is_accepted_by_both_or_by_neither(case: tuple[str, bytes]) -> None:
    agree(*case)


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=250)
def test_a_damaged_record_is_accepted_by_both_or_by_neither(name: str, data: st.DataObject) -> None:
    value = bytearray(as_written(example(name)))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.integers(0, len(value) - 1))
        match data.draw(st.sampled_from(["byte", "cut", "double", "drop"])):
            case "byte":
                value[place] = data.draw(st.sampled_from(b'0159-+.:TZez"\\{}[],\x00\n \xff') | st.integers(0, 255))
            case "cut":
                value = value[: place + 1]
            case "double":
                value[place:place] = value[place : place + data.draw(st.integers(1, 30))]
            case _:
                del value[place]
    agree(name, bytes(value))


@pytest.mark.parametrize("value", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"NaN"])
def test_what_is_no_report_is_left_to_the_model(value: bytes) -> None:
    for name in NAMES:
        assert standins.read(ALL_TYPES[name], value) is None


@given(histories())
def test_stand_ins_add_up_to_what_their_models_add_up_to(reports: list[Event]) -> None:
    expected = assemble(reports)
    found = assemble([standins.stand_in(report) for report in reports])
    assert standins.is_stand_in(found)
    assert same(expected, found)
    assert standins.encode(found) == encode(expected)
    assert [standins.model_of(standins.stand_in(report)) for report in reports] == reports
    assert [report.id for report in distinct(reports)] == [
        report.id for report in distinct([standins.stand_in(report) for report in reports])
    ]


@pytest.mark.parametrize(("survey", "score", "accepted"), [("csat", 9, False), ("csat", 5, True), ("nps", 9, True)])
def test_what_a_model_demands_over_several_fields_its_stand_in_demands_too(
    survey: str,
    score: int,
    accepted: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    model = BY_TYPE["tenure.survey.answered.v1"]
    fields = stored(EXAMPLES, model.TYPE)["data"] | {"survey": survey, "score": score}
    assert (standins.made(model, fields) is not None) is accepted
    stated = {name: value for name, value in fields.items() if name in standins.stated_form(model).__struct_fields__}
    if accepted:
        msgspec.convert(stated, standins.stated_form(model))
    else:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(stated, standins.stated_form(model))


@pytest.mark.parametrize("query", ["/v1?x=},{", "},{", '"},{"kpi":"orders"', "}]", "[{"])
def test_what_looks_like_the_end_of_a_piece_ends_none(query: str) -> None:
    state = example(AccountKpis.TYPE)
    assert isinstance(state, AccountKpis)
    value = KpiValue(kpi="orders", window=7, value=Decimal(1), evidence=Evidence(count=1, query=query))
    whole = state.model_copy(update={"values": (value, *state.values, value)})
    agree(AccountKpis.TYPE, as_written(whole))
    assert standins.read(AccountKpis, as_written(whole)) is not None


@pytest.mark.parametrize("wrong", [b'[{"kpi":"orders"}]', b"[{}]", b"[1]", b"[{},{}]", b"{}", b"null", b"[[{}]]"])
def test_pieces_that_are_wrong_are_left_to_the_model(wrong: bytes) -> None:
    whole = as_written(example(AccountKpis.TYPE))
    begin, end = whole.index(b'"values":') + 9, whole.index(b',"last_touches"')
    assert standins.read(AccountKpis, whole[:begin] + wrong + whole[end:]) is None
    agree(AccountKpis.TYPE, whole[:begin] + wrong + whole[end:])
