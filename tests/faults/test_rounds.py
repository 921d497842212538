"""A short seeded round of each kind of fault, one after the other on one system, and bugs that must be seen there.

All tests live in one module on purpose: they share the system, whose history goes on from test to test.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.history import Sizes
from tests.faults.nemesis import FAULTS
from tests.faults.planted.catalogue import BUGS
from tests.faults.results import Results, sentence
from tests.faults.rounds import Tour, open_tour

SEED = 1
SIZE: Sizes = "medium"
LONGER = {"calm", "crowd", "many-notifiers", "many-doors", "blocked-outbox", "zombie"}
KINDS = [name for name in FAULTS if name not in LONGER]
"""Without those that take replicas of their own for longer; these are in `make faults` only."""


@pytest.fixture(scope="module")
def tour() -> Iterator[Tour]:
    """A system and a history with a step for each fault and some more."""
    with open_tour(SEED, SIZE, thorough=False) as begun:
        yield begun


@pytest.mark.parametrize("fault", KINDS)
def test_every_promise_is_kept_under_a_fault(tour: Tour, fault: str) -> None:
    why = dict(Results(small_disks=tour.ground.small_disks).not_run()).get(fault)
    if why is not None:
        pytest.skip(f"{fault} is not run: {why}")
    verdict = tour.strike(fault)
    assert verdict.good, sentence(verdict, SIZE, [fault])


def test_every_failpoint_was_reached(tour: Tour) -> None:
    assert tour.verdicts
    assert Results(hits=tour.ground.hits()).never_hit() == []


def test_planted_bugs_are_seen(tour: Tour) -> None:
    """Two at once, in two services, because each would need a system of its own otherwise."""
    for bug, service in ((BUGS["withdrawal-ignored"], "metrics"), (BUGS["swallowed-exception"], "notifier")):
        tour.ground.wrapped[service] = bug.launches[service]
    tour.ground.rewrap()
    seen: set[str] = set()
    while tour.steps_left and not seen >= {"kpi", "dead letters"}:
        verdict = tour.strike("calm")
        assert not verdict.trouble, verdict.trouble
        seen |= {violation.invariant for violation in verdict.violations}
    assert seen >= {"kpi", "dead letters"}
