"""What holds for every provider's mapping, whatever the provider: asked of all that the registry lists.

`TENURE_FUZZ=100000` asks more mangled deliveries of each provider than the sixty of every test run.
"""

from __future__ import annotations

import copy
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from msgspec.structs import replace
from pydantic import ValidationError

from contracts.events import Event
from contracts.interactions import assemble
from services.ingest.domain.mapping import LONGEST_TEXT, Mapped, Origin, Unmapped
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.domain.reports import encoded
from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest import golden

MANGLED = int(os.environ.get("TENURE_FUZZ", "60"))
CANARY = "canary 4711@secret.example"
HUGE = "<p>Grüße aus Köln ☃ &amp; mehr.</p>\n" * 6000
ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    7,
    1 << 62,
    (1 << 63) - 1,
    -(1 << 63),
    1.5,
    -0.0,
    1e300,
    "",
    " ",
    CANARY,
    "NUL \x00 and half \ud83d",
    "\u202eoverride\u2066",
    "2026-02-30T25:61:61Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1" * 400,
    "-103",
    "\u017fpecial \u0130 \u00df",
    "x" * 2000,
    "<p><b>" * 300,
    [],
    {},
    [None, 1, "a", {}, []],
    {"id": {"id": []}, "name": 5},
    {CANARY: CANARY},
)


def providers() -> list[Provider[Any]]:
    """All that the registry lists."""
    return [WEBHOOKS[name] for name in sorted(WEBHOOKS)]


def examples(provider: Provider[Any]) -> list[dict[str, Any]]:
    """The golden examples of a provider."""
    paths = sorted(Path(golden.FOLDER / provider.name).glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def read(
    provider: Provider[Any], example: Mapping[str, Any], delivery: Delivery, origin: Origin | None = None
) -> Mapped:
    """What the mapping says, with the options of the example."""
    options = provider.options.model_validate(example.get("options", {}))
    return provider.bind(options)(delivery, origin or golden.origin(provider.name))


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_a_mangled_delivery_is_events_or_not_understood_and_never_an_error_of_ours(provider: Provider[Any]) -> None:
    random = Random(f"mangled {provider.name}")  # noqa: S311 - not for secrets
    known = [(example, golden.delivery(example)) for example in examples(provider)]
    for _ in range(MANGLED):
        example, delivery = random.choice(known)
        mangled = mangle(delivery, random)
        try:
            mapped = read(provider, example, mangled)
        except (Unmapped, ValidationError) as refused:
            assert_tells_nothing(refused.reason if isinstance(refused, Unmapped) else "not_valid")
        else:
            assert_can_be_sent(mapped)


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_a_huge_text_anywhere_is_cut_or_refused(provider: Provider[Any]) -> None:
    random = Random(f"huge {provider.name}")  # noqa: S311 - not for secrets
    known = examples(provider)
    for example in random.sample(known, min(5, len(known))):
        delivery = golden.delivery(example)
        payload = copy.deepcopy(delivery.payload)
        texts = [place for place in places(payload) if isinstance(place[0][place[1]], str)]
        for holder, key in random.sample(texts, min(2, len(texts))):
            before, holder[key] = holder[key], HUGE
            with suppress(Unmapped, ValidationError):
                assert_can_be_sent(read(provider, example, replace(delivery, payload=payload)))
            holder[key] = before


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_which_report_it_is_and_which_one_wins_do_not_depend_on_when_it_came(provider: Provider[Any]) -> None:
    for example in examples(provider):
        delivery = golden.delivery(example)
        now = golden.origin(provider.name)
        later = replace(now, received_at=now.received_at + timedelta(days=3))
        first, second = (golden.told(read(provider, example, delivery, origin)) for origin in (now, later))
        assert [(event.id, event.revision) for event in first] == [(event.id, event.revision) for event in second]


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_deliveries_add_up_to_the_same_in_any_order_and_however_often(provider: Provider[Any]) -> None:
    random = Random(f"order {provider.name}")  # noqa: S311 - not for secrets
    reports: dict[str, list[Event]] = defaultdict(list)
    for example in examples(provider):
        for event in golden.told(read(provider, example, golden.delivery(example))):
            reports[event.interaction.id].append(event)
    for about_one in reports.values():
        whole = assemble(about_one)
        for _ in range(5):
            again = [*about_one, *random.choices(about_one, k=len(about_one))]
            random.shuffle(again)
            assert assemble(again) == whole


def mangle(delivery: Delivery, random: Random) -> Delivery:
    """Return the delivery with some of it lost, of another type, elsewhere, or said by another part of it."""
    payload, headers, files = copy.deepcopy(delivery.payload), dict(delivery.headers), dict(delivery.files)
    for _ in range(random.randint(1, 4)):
        everywhere = list(places(payload))
        if not everywhere or random.random() < 0.05:
            headers = {name: value if random.random() < 0.5 else CANARY for name, value in headers.items()}
            files = {name: noise(content, random) for name, content in files.items()}
            continue
        holder, key = random.choice(everywhere)
        match random.randrange(5):
            case 0:
                del holder[key]
            case 1 | 2:
                holder[key] = (
                    copy.deepcopy(random.choice(ODD)) if delivery.body[:1] in b"[{" else str(random.choice(ODD))
                )
            case 3:
                other, name = random.choice(everywhere)
                if name in other if isinstance(other, dict) else name < len(other):
                    holder[key] = copy.deepcopy(other[name])
            case _ if isinstance(holder, dict):
                holder[random.choice(["id", "type", "status", "created_at", CANARY])] = holder.pop(key)
    body = noise(delivery.body, random) if payload is None else json.dumps(payload).encode()
    if random.random() < 0.01:
        payload = copy.deepcopy(random.choice(ODD))
    return replace(delivery, payload=payload, body=body, headers=headers, files=files)


def noise(content: bytes, random: Random) -> bytes:
    """Return the bytes with some lost, doubled or turned into others."""
    mangled = bytearray(content)
    for _ in range(random.randint(1, 8)):
        start = random.randrange(len(mangled) + 1)
        end = min(len(mangled), start + random.randint(0, 40))
        mangled[start:end] = random.choice([b"", random.randbytes(5), mangled[start:end] * 2])
    return bytes(mangled)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (holder, key) of every value inside."""
    todo = [value]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])


def assert_can_be_sent(mapped: Mapped) -> None:
    """What a mapping gives has an id, can be written down, and says no more than may be kept."""
    if mapped.ignored is not None:
        assert not mapped.events
        assert_tells_nothing(mapped.ignored)
    for event in mapped.events:
        assert len(event.id) == 36
        assert len(event.text or "") <= LONGEST_TEXT
        orjson.loads(encoded(event))


def assert_tells_nothing(code: str) -> None:
    """A reason is a stable code: it goes into counters and logs, where nothing of a content may be."""
    assert code
    assert len(code) <= 100
    assert CANARY not in code
