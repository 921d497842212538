"""What each source sent: counted in memory on the hot path, added to the database every few seconds."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(slots=True)
class Tally:
    """What one source sent since the last time it was taken."""

    accepted: int = 0
    unmapped: int = 0
    ignored: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    last_delivery: datetime | None = None
    """The system's clock at the last authentic delivery."""


class Statistics:
    """Tallies of all configured sources. Not shared between threads."""

    def __init__(self, sources: Iterable[str]) -> None:
        self._names = tuple(sources)
        self._tallies = {name: Tally() for name in self._names}

    def delivered(self, source: str, at: datetime, *, accepted: int = 0, unmapped: int = 0, ignored: int = 0) -> None:
        """Count an authentic delivery."""
        tally = self._tallies[source]
        tally.accepted += accepted
        tally.unmapped += unmapped
        tally.ignored += ignored
        if tally.last_delivery is None or at > tally.last_delivery:
            tally.last_delivery = at

    def rejected(self, source: str, reason: str, number: int = 1) -> None:
        """Count what was refused; `reason` is a stable code."""
        self._tallies[source].rejected[reason] += number

    def take(self) -> dict[str, Tally]:
        """Return the tallies of the sources that sent something, and begin anew."""
        taken, self._tallies = self._tallies, {name: Tally() for name in self._names}
        return {name: tally for name, tally in taken.items() if tally != Tally()}

    def give_back(self, taken: dict[str, Tally]) -> None:
        """Add tallies that could not be stored to the present ones."""
        for name, earlier in taken.items():
            tally = self._tallies[name]
            tally.accepted += earlier.accepted
            tally.unmapped += earlier.unmapped
            tally.ignored += earlier.ignored
            tally.rejected.update(earlier.rejected)
            if tally.last_delivery is None or (earlier.last_delivery and earlier.last_delivery > tally.last_delivery):
                tally.last_delivery = earlier.last_delivery
