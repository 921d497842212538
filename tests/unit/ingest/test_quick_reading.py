"""A CloudEvent read into a stand-in says what the model would have said, and whatever the model refuses is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from contracts import standins
from contracts.codec import encode
from contracts.events import BY_TYPE, Event
from services.ingest.domain.mapping import Invalid
from services.ingest.sources.cloudevents import Reader
from tests.unit.ingest.golden import origin

READER = Reader(origin("erp"))
EXAMPLES = Path(__file__).parents[3] / "contracts" / "examples"
OURS = {"interaction", "report", "revision", "source", "occurred_at"}
ODD: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 1.5, 10**18, "", "x", "a\n", "x" * 1001, "y" * 20_001, "12.50", "012.50", "-0", "-1"),
    *("1e3", "0.1234567", "2026-03-02", "2026-03-02T09:30:00Z", "2026-03-02T09:30:00+01:00", "2026-03-02T09:30:00"),
    *("1980-01-01T00:00:00Z", "EUR", "eur", "a\u0000b", [], {}, [{}], {"unknown": 1}, [None], ["x"]),
)


def cloud_event(example: dict[str, Any]) -> dict[str, Any]:
    """The structured CloudEvent that would have led to a golden example."""
    data, headers = example["data"], example["headers"]
    stated = {name: value for name, value in data.items() if name not in OURS}
    if BY_TYPE[headers["ce_type"]].KIND is None:
        stated["kind"] = data["interaction"]["kind"]
    return {
        "specversion": "1.0",
        "id": data["report"],
        "source": "/erp",
        "type": headers["ce_type"],
        "subject": data["interaction"]["native_id"],
        "time": data["occurred_at"],
        "data": stated,
    }


EVENTS = [cloud_event(orjson.loads((EXAMPLES / f"{name}.json").read_bytes())) for name in BY_TYPE]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below `value`."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def mutations(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The event itself, and with each part missing, doubled, renamed or odd."""
    yield event
    count = sum(1 for _ in places(event["data"]))
    for number in range(count):
        for odd in ODD:
            changed = copy.deepcopy(event)
            container, key = list(places(changed["data"]))[number]
            container[key] = odd
            yield changed
        changed = copy.deepcopy(event)
        container, key = list(places(changed["data"]))[number]
        inner = container.pop(key)
        yield copy.deepcopy(changed)
        if isinstance(container, dict):
            container[f"{key}_too"] = inner
            yield changed
        if isinstance(inner, dict):
            changed = copy.deepcopy(event)
            container, key = list(places(changed["data"]))[number]
            container[key] = {**inner, "unknown": 1}
            yield changed


def verdict(event: dict[str, Any]) -> object:
    """What is read of it, as it goes to the topic, or what is wrong with it."""
    try:
        read = READER.read(copy.deepcopy(event))
    except Invalid as bad:
        return bad.errors
    return _written(read), read.id, read.interaction.id


def _written(event: Event) -> bytes:
    return standins.encode(event) if standins.is_stand_in(event) else encode(event)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_the_quick_way_and_the_model_say_the_same(event: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert standins.is_stand_in(READER.read(copy.deepcopy(event)))
    tried = [copy.deepcopy(one) for one in mutations(event)]
    quickly = [verdict(one) for one in tried]
    monkeypatch.setattr(standins, "made", lambda _model, _fields: None)
    for one, found in zip(tried, quickly, strict=True):
        assert verdict(one) == found, one["data"]
