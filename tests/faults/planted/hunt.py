"""Looks for a seed under which a planted bug comes to light."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.planted import Planted
from tests.faults.rounds import Verdict, run

_PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Caught:
    """Which round caught a bug; `seed` None: none of those that were tried."""

    bug: Planted
    seed: int | None
    step: int
    fault: str
    by: str
    """The first thing that the checker had to say."""
    rounds: int
    """How many rounds it took."""

    def __str__(self) -> str:
        if self.seed is None:
            return f"{self.bug.name}: NOT caught in {self.rounds} rounds"
        return f"{self.bug.name}: caught with seed {self.seed}, step {self.step}, {self.fault}: {self.by}"


def hunt(bug: Planted, seeds: Sequence[int], say: Callable[[str], None] = lambda _: None) -> Caught:
    """Play histories with the bug until the checker sees it."""
    rounds = 0

    def report(verdict: Verdict) -> None:
        found = len(verdict.violations)
        say(f"{bug.name}: seed {verdict.seed}, step {verdict.step}, {verdict.fault}: {found} violations")

    for seed in seeds:
        played = run(seed, bug.faults, thorough=False, wrapped=bug.launches, patience=_PATIENCE, report=report)
        rounds += len(played.verdicts)
        last = played.verdicts[-1]
        if last.violations:
            first = last.violations[0]
            by = f"{first.invariant}: expected {first.expected}, found {first.found}"[:160]
            return Caught(bug, seed, last.step, last.fault, by, rounds)
        if last.trouble:
            return Caught(bug, seed, last.step, last.fault, last.trouble[:160], rounds)
    return Caught(bug, None, 0, "", "", rounds)
