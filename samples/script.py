"""The whole story, ready to be played: files to import, lines of history, and the live steps with their deliveries.

Pure: every call gives the same, to the byte. Whoever plays it signs the deliveries when sending them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from samples.calendar import IMPORTED_AT
from samples.characters import tell_history
from samples.company import Company, Person, company
from samples.facts import Fact
from samples.history_lines import history_lines
from samples.liveday import ENTERED_CSV, live_steps
from samples.webhooks import Delivery, deliveries_of


@dataclass(frozen=True, slots=True)
class Step:
    """The clock goes to `clock`, `contacts_csv` is imported, then everything is delivered in this order."""

    name: str
    clock: datetime
    title: str
    deliveries: tuple[Delivery, ...] = ()
    """Those that are forged must be refused with 401."""
    contacts_csv: bytes | None = None
    entered: tuple[Person, ...] = ()
    """Who stands in `contacts_csv`."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that is played, and everything that is true."""

    company: Company
    facts: tuple[Fact, ...]
    """What happened, before and on the live day, each once."""
    imported_at: datetime
    lines: tuple[bytes, ...]
    """History for the import's door."""
    steps: tuple[Step, ...]


@cache
def story() -> Story:
    """Tell it."""
    everybody = company()
    history = tuple(tell_history(everybody))
    live = live_steps(everybody, history)
    steps = tuple(
        Step(
            step.name,
            step.clock,
            step.title,
            (
                *(delivery for fact in step.facts for delivery in deliveries_of(fact, everybody)),
                *(_forged(delivery) for fact in step.forged for delivery in deliveries_of(fact, everybody)),
            ),
            ENTERED_CSV if step.entered else None,
            step.entered,
        )
        for step in live
    )
    told_live = dict.fromkeys(fact for step in live for fact in step.facts)
    return Story(everybody, (*history, *told_live), IMPORTED_AT, tuple(history_lines(everybody, history)), steps)


def _forged(delivery: Delivery) -> Delivery:
    return Delivery(
        delivery.door, delivery.source, delivery.path, delivery.body, delivery.signature, delivery.headers, forged=True
    )
