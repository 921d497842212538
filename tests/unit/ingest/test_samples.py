"""What `tenure sources test` sends is understood, so that a failure is the configuration's."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest

from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest.golden import delivery, origin

WITHOUT = {"ses", "rows"}
"""Amazon signs with a key of its own; rows mean what the company's own mapping says. These need a --body."""
OPTIONS: dict[str, Any] = {"mailbox": "support@brightwell.example", "own_numbers": ["+4930999000"]}


@pytest.mark.parametrize("name", sorted(set(WEBHOOKS) - WITHOUT))
def test_the_sample_of_every_provider_becomes_events(name: str) -> None:
    sample: dict[str, Any] = json.loads(
        files("services.ingest.sources").joinpath("samples", f"{name}.json").read_text(encoding="utf-8")
    )
    provider = WEBHOOKS[name]
    options = {field: value for field, value in OPTIONS.items() if field in provider.options.model_fields}
    read = provider.bind(provider.options.model_validate(options))
    assert read(delivery({"headers": {}, **sample}), origin(name)).events
