"""One ticket's life as each desk tells it: `life_*.json` of the golden examples, the same story at the same times."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from contracts.events import Event
from contracts.values import Kind
from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest import golden

DESKS = ("freshdesk", "intercom", "jira", "zammad", "zendesk")

OPENED = datetime(2026, 2, 27, 10, 12, 7, tzinfo=UTC)
ASKED = datetime(2026, 2, 28, 9, tzinfo=UTC)
ANSWERED = datetime(2026, 2, 28, 10, tzinfo=UTC)
RESOLVED = datetime(2026, 3, 2, 8, 11, tzinfo=UTC)
REOPENED = datetime(2026, 3, 2, 15, 1, 12, tzinfo=UTC)
RESOLVED_AGAIN = datetime(2026, 3, 4, 16, 20, tzinfo=UTC)


@lru_cache
def life(desk: str) -> tuple[dict[str, Any], ...]:
    """The deliveries about the ticket, in the order in which things happened."""
    paths = sorted((golden.FOLDER / desk).glob("life_*.json"))
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths)


def read(desk: str, example: dict[str, Any]) -> list[Event]:
    """What one delivery says."""
    provider = WEBHOOKS[desk]
    options = provider.options.model_validate(example.get("options", {}))
    return golden.told(provider.bind(options)(golden.delivery(example), golden.origin(desk)))


@lru_cache
def told(desk: str) -> tuple[tuple[Event, ...], ...]:
    """What each delivery says."""
    return tuple(tuple(read(desk, example)) for example in life(desk))


def about(kind: Kind, deliveries: Any) -> list[Event]:
    """The reports about interactions of one kind."""
    return [event for events in deliveries for event in events if event.interaction.kind is kind]


def in_one_second(desk: str, example: dict[str, Any]) -> dict[str, Any]:
    """The same delivery, had everything happened in the second in which the ticket was first resolved."""
    text = json.dumps(example)
    for moment in (REOPENED, RESOLVED_AGAIN):
        for then, now in (
            (f"{moment:%Y-%m-%dT%H:%M:%S}", f"{RESOLVED:%Y-%m-%dT%H:%M:%S}"),
            (f"{moment:%Y-%m-%d %H:%M:%S}", f"{RESOLVED:%Y-%m-%d %H:%M:%S}"),
            (str(int(moment.timestamp())), str(int(RESOLVED.timestamp()))),
        ):
            text = text.replace(then, now)
    if desk == "zammad":
        # The example's second resolution is earlier in its second than its first one.
        text = text.replace(":00.201Z", ":00.993Z").replace(':00.333Z", "updated_by', ':00.995Z", "updated_by')
    moved: dict[str, Any] = json.loads(text)
    return moved
