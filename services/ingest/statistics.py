"""What each source sent: counted in memory on the hot path, added to the database every few seconds."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

MOST_NAMES = 50
"""Of what is ignored, by source; what has yet another name counts as `OTHER`."""
OTHER = "other"
_REMEMBERED = 10_000
_HOUR_SECONDS = 3600


@dataclass(slots=True)
class Tally:
    """What one source sent since the last time it was taken."""

    accepted: int = 0
    redelivered: int = 0
    """Of the accepted: came before, shortly before. Which reports are really new only accounts' ledger knows."""
    unmapped: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    last_delivery: datetime | None = None
    """The system's clock at the last authentic delivery."""
    hours: set[int] = field(default_factory=set)
    """Hours since 1970, UTC, in which something authentic came."""

    def moments(self) -> Iterator[datetime]:
        """Return the beginnings of the hours in which something came."""
        return (datetime.fromtimestamp(hour * _HOUR_SECONDS, UTC) for hour in self.hours)


class Statistics:
    """Tallies of all sources that sent something. Not shared between threads."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        # Two generations: what is older than the older one is forgotten.
        self._young: set[str] = set()
        self._old: set[str] = set()

    def delivered(
        self, source: str, at: datetime, *, accepted: int = 0, unmapped: int = 0, redelivered: int = 0
    ) -> None:
        """Count an authentic delivery."""
        tally = self._tally(source)
        tally.accepted += accepted
        tally.redelivered += redelivered
        tally.unmapped += unmapped
        tally.hours.add(int(at.timestamp()) // _HOUR_SECONDS)
        if tally.last_delivery is None or at > tally.last_delivery:
            tally.last_delivery = at

    def published(self, source: str, number: int = 1) -> None:
        """Count what is published of an earlier delivery, such as a meeting that has begun."""
        self._tally(source).accepted += number

    def ignored(self, source: str, at: datetime, why: str) -> None:
        """Count an authentic delivery that says nothing that concerns us; `why` is a name without personal data."""
        self.delivered(source, at)
        add_bounded(self._tally(source).ignored, why, 1)

    def rejected(self, source: str, reason: str, number: int = 1) -> None:
        """Count what was refused; `reason` is a stable code."""
        self._tally(source).rejected[reason] += number

    def remember(self, event_ids: Sequence[str]) -> int:
        """Return how many of these events this process has seen shortly before, and remember them."""
        young, old = self._young, self._old
        again = 0
        for event_id in event_ids:
            if event_id in young or event_id in old:
                again += 1
            else:
                young.add(event_id)
        if len(young) >= _REMEMBERED:
            self._old, self._young = young, set()
        return again

    def take(self) -> dict[str, Tally]:
        """Return the tallies of the sources that sent something, and begin anew."""
        taken, self._tallies = self._tallies, {}
        return taken

    def give_back(self, taken: Mapping[str, Tally]) -> None:
        """Add tallies that could not be stored to the present ones."""
        for name, earlier in taken.items():
            tally = self._tally(name)
            tally.accepted += earlier.accepted
            tally.redelivered += earlier.redelivered
            tally.unmapped += earlier.unmapped
            for why, number in earlier.ignored.items():
                add_bounded(tally.ignored, why, number)
            tally.rejected.update(earlier.rejected)
            tally.hours |= earlier.hours
            if tally.last_delivery is None or (earlier.last_delivery and earlier.last_delivery > tally.last_delivery):
                tally.last_delivery = earlier.last_delivery

    def _tally(self, source: str) -> Tally:
        tally = self._tallies.get(source)
        if tally is None:
            tally = self._tallies[source] = Tally()
        return tally


def add_bounded(counter: Counter[str], name: str, number: int) -> None:
    """Count under `name`, or under `OTHER` once there are too many names."""
    counter[name if name in counter or len(counter) < MOST_NAMES else OTHER] += number
