"""What a figure is: a ratio of two rates of one run (or a time, where a time is what was promised)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Step = Callable[[str], None]
"""Told what is being done now, in a few words."""


class CheckFailed(Exception):
    """A run ended in another state than its input demands. A bench that matches nothing would be fast."""


@dataclass(frozen=True)
class Plan:
    """How much is run. `records` for each consumer; the other workloads take their share of it."""

    records: int = 30_000
    rounds: int = 3
    accounts: int = 10_000
    conversations: int = 30_000
    batch: int = 5_000
    seconds: int = 8
    """How long each step of an open loop lasts."""
    history: int = 1_000_000
    """Events of history up to which growth is measured."""
    crowd: int = 100_000
    """Accounts up to which growth is measured."""

    @property
    def many_rounds(self) -> int:
        """Rounds of what is over in seconds, so that its median stands still: five where others have three."""
        return max(1, 2 * self.rounds - 1)

    def share(self, divisor: int, at_least: int) -> int:
        """A part of the records, for a workload whose single step takes longer."""
        return max(at_least, self.records // divisor)


@dataclass(frozen=True, slots=True)
class Figure:
    """One promise. `first`: what must be reached first; `goal`: what is wanted; both None: shown for orientation.

    More is better of a ratio; less is better of a time, and of how many times as much something costs.
    """

    name: str
    workload: str
    baseline: str
    first: float | None = None
    goal: float | None = None
    unit: Literal["ratio", "ms", "times"] = "ratio"


Verdict = Literal[
    "goal reached", "first mark reached", "falls short", "goal not reached", "for orientation", "not measured"
]


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure with one sample per round; without any it was not measured, and `note` says why.

    `rates` are operations a second on this machine, by who did them.
    """

    figure: Figure
    samples: tuple[float, ...]
    rates: Mapping[str, float]
    note: str = ""
    """What a reader of the number has to know besides."""

    @property
    def value(self) -> float:
        """The median over the rounds; not a number where nothing was measured."""
        return median(self.samples) if self.samples else float("nan")

    @property
    def verdict(self) -> Verdict:
        """Where the median stands."""
        if not self.samples:
            return "not measured"
        if self.figure.first is None and self.figure.goal is None:
            return "for orientation"
        if self.figure.goal is not None and self._reaches(self.figure.goal):
            return "goal reached"
        if self.figure.first is None:
            return "goal not reached"
        return "first mark reached" if self._reaches(self.figure.first) else "falls short"

    def _reaches(self, mark: float) -> bool:
        return self.value >= mark if self.figure.unit == "ratio" else self.value <= mark


def alternate(rounds: int, step: Step, **contestants: Callable[[], float]) -> dict[str, list[float]]:
    """The rates of each contestant, round by round.

    Every second round goes backwards, so that a machine that gets slower or faster favours nobody.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        order = list(contestants) if number % 2 == 0 else list(contestants)[::-1]
        for name in order:
            step(f"round {number + 1} of {rounds}: {name.replace('_', ' ')}")
            rates[name].append(contestants[name]())
    return rates


def compare(figure: Figure, ours: Sequence[float], baseline: Sequence[float]) -> Measured:
    """The ratio of two rates, round by round."""
    ratios = tuple(one / other for one, other in zip(ours, baseline, strict=True))
    return Measured(figure, ratios, {"tenure": median(ours), "baseline": median(baseline)})


def expect(what: str, found: object, wanted: object) -> None:
    """Raises CheckFailed when the end state is not what the input demands."""
    if found != wanted:
        raise CheckFailed(f"{what}: {found} instead of {wanted}")


def show_mark(mark: float | None, unit: str) -> str:
    """How a mark is written: at least so much, or at most."""
    return "-" if mark is None else f"{'≥' if unit == 'ratio' else '≤'} {show_number(mark, unit)}"


def show_number(value: float, unit: str) -> str:
    """How a value is written."""
    if unit == "ms":
        return f"{value:.1f} ms"
    if unit == "times":
        return f"{value:.2f}x"
    return f"{value:.0f}x" if value >= 10 else f"{value:.2f}"
