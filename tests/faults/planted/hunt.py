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
        seen = next((one for one in last.violations if one.invariant in bug.seen_as), None)
        if seen is not None:
            by = f"{seen.invariant}: {seen.subject}: expected {seen.expected}, found {seen.found}"[:200]
            return Caught(bug, seed, last.step, last.fault, by, rounds)
        if not last.good:
            say(
                f"{bug.name}: not by {', '.join(bug.seen_as)}: {last.trouble} {'; '.join(map(str, last.violations))}"[
                    :600
                ]
            )
    return Caught(bug, None, 0, "", "", rounds)
