"""Whatever an authentic delivery holds, a mapping understands it or says why not. Anything else would be a 500."""

from __future__ import annotations

import os
import random

import pytest
from pydantic import ValidationError

from contracts.codec import encode
from contracts.standins import model_of
from services.ingest.domain.mapping import Mapped, Unmapped
from services.ingest.domain.provider import Options
from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest.golden import origin
from tests.unit.ingest.mutations import damaged_delivery, goldens_once, providers

ROUNDS = int(os.environ.get("TENURE_TEST_FUZZ", "150"))
"""Damaged deliveries of each provider."""


@pytest.mark.parametrize("name", providers())
def test_a_damaged_delivery_is_understood_or_unmapped(name: str) -> None:
    chance = random.Random(f"deliveries of {name}")  # noqa: S311 - the same in every run
    provider = WEBHOOKS[name]
    options = [golden.get("options", {}) for golden in goldens_once(name)]
    bound = [provider.bind(_options(provider.options, chosen)) for chosen in options]
    for number in range(ROUNDS):
        delivery = damaged_delivery(chance, name)
        try:
            mapped = bound[number % len(bound)](delivery, origin(name))
        except Unmapped as unmapped:
            # The reason is counted, logged and kept: it is a name.
            mapped = Mapped(ignored=unmapped.reason)
        except ValidationError:
            continue
        check(mapped)


def _options(kind: type[Options], chosen: dict[str, object]) -> Options:
    return kind.model_validate(chosen)


def check(mapped: Mapped) -> None:
    """What was understood can be written, and what is ignored has a short plain name."""
    if mapped.ignored is not None:
        assert len(mapped.ignored) <= 120
        assert mapped.ignored.isprintable()
    for event in mapped.events:
        assert encode(model_of(event))
