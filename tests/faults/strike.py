"""What a fault is given: where it may strike, with which luck, and for how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from random import Random

from deploy.databases import SERVICES
from services.runtime.failpoints import RuntimeFailpoint
from tests.faults.ground import Ground

CONSUMERS = ("accounts", "metrics", "notifier")


@dataclass(frozen=True, slots=True)
class Strike:
    """Where, how, and for how long a fault may strike. `thorough`: the long run, with pauses past every time-out."""

    ground: Ground
    chance: Random
    loaded: Callable[[], bool]
    """Whether the load is still on."""
    thorough: bool
    only_deliveries: Callable[[], bool] = lambda: True
    """Whether nothing but reports is left of the load: no edit that a restored backup would undo."""
    hold: Callable[[], object] = lambda: None
    """Have the load wait until `go_on`."""
    go_on: Callable[[], object] = lambda: None
    complaints: list[tuple[str, str, str, str]] = field(default_factory=list)

    def complain(self, invariant: str, subject: str, expected: str, found: str) -> None:
        """Say that a promise was broken while the fault lasted, which nobody could see afterwards."""
        self.complaints.append((invariant, subject, expected, found))

    def wait(self, least: float, most: float) -> None:
        """Let some time pass; half as much where it must be short."""
        time.sleep(self.chance.uniform(least, most) * (1.0 if self.thorough else 0.5))

    def at_most(self, seconds: float) -> float:
        """For how long something may go on; a third where it must be short."""
        return seconds if self.thorough else seconds / 3

    def times(self, short: int, long: int) -> range:
        """How often to do something."""
        return range(long if self.thorough else short)

    def long_enough(self, seconds: float) -> float:
        """Past a time-out."""
        return seconds + self.chance.uniform(1.0, 3.0)


Fault = Callable[[Strike], None]


def named_places() -> dict[str, Sequence[str]]:
    """By service the failpoints that it can reach: those of the runtime and its own."""
    named: dict[str, Sequence[str]] = {}
    for service in SERVICES:
        own: list[str] = []
        if find_spec(f"services.{service}.failpoints") is not None:
            module = import_module(f"services.{service}.failpoints")
            kind = getattr(module, f"{service.capitalize()}Failpoint")
            own = [place.value for place in kind]
        shared = [place.value for place in RuntimeFailpoint]
        named[service] = [*shared, *own]
    return named


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
