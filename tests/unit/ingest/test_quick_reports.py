"""What a mapping makes of stand-ins is what the models would have said, and they judge whatever is in doubt.

`TENURE_FUZZ=100000` asks more mangled deliveries of each provider than the sixty of every test run.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from contracts import standins
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.provider import Delivery, Provider
from services.ingest.reception import written
from tests.unit.ingest import golden
from tests.unit.ingest.test_every_provider import MANGLED, examples, mangle, providers, read


def outcome(provider: Provider[Any], example: Mapping[str, Any], delivery: Delivery) -> object:
    """The records that a delivery becomes, to the byte, or why there are none."""
    try:
        mapped = read(provider, example, delivery)
    except Unmapped as unmapped:
        return unmapped.reason
    except ValidationError:
        return "not_valid"
    return mapped.ignored, [written(event) for event in mapped.events]


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_a_delivery_becomes_the_same_records_whether_models_or_stand_ins_are_made(
    provider: Provider[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(f"quick {provider.name}")  # noqa: S311 - not for secrets
    known = [(example, golden.delivery(example)) for example in examples(provider)]
    mangled = [(example, mangle(delivery, random)) for example, delivery in random.choices(known, k=MANGLED)]
    told = [*known, *mangled]
    quickly = [outcome(provider, *one) for one in told]
    monkeypatch.setattr(standins, "made", lambda _model, _fields: None)
    for one, found in zip(told, quickly, strict=True):
        assert outcome(provider, *one) == found, one[1].payload


@pytest.mark.parametrize("provider", providers(), ids=lambda provider: provider.name)
def test_what_is_not_odd_is_made_without_a_model(provider: Provider[Any]) -> None:
    for example in examples(provider):
        for event in read(provider, example, golden.delivery(example)).events:
            assert standins.is_stand_in(event), (event.TYPE, example)
