"""Are unexpected errors of a handler one source's, or ours? Counted across batches, over a sliding window."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=10)
RECORDS = 100_000
_BESIDE = 2


@dataclass(frozen=True, slots=True)
class _Mishap:
    source: str
    at: datetime
    number: int


class Blame:
    """The unexpected errors of the last ten minutes of the clock, within the last 100,000 records.

    They are ours once `threshold` have gathered and at least two of them are not of the source that has the most:
    however often one source fails, and whatever single mishap of another comes on top, it never stops the consumer.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._mishaps: deque[_Mishap] = deque()
        self._records = 0

    def verdict(self, fresh: Sequence[str], now: datetime) -> str | None:
        """Return why the errors are ours, or None. `fresh`: the sources of this batch's errors, not counted yet."""
        self._forget(now)
        counts = Counter(mishap.source for mishap in self._mishaps)
        counts.update(fresh)
        total = counts.total()
        if total < self._threshold or total - max(counts.values()) < _BESIDE:
            return None
        span = "in one batch" if total == len(fresh) else f"within {WINDOW.total_seconds() / 60:.0f} minutes"
        return f"{total} records from {len(counts)} sources failed {span}"

    def note(self, fresh: Sequence[str], records: int, now: datetime) -> None:
        """Count a batch that was committed: its errors and how many records it had."""
        self._records += records
        self._mishaps.extend(_Mishap(source, now, self._records) for source in fresh)

    def _forget(self, now: datetime) -> None:
        # A clock that was set back keeps a mishap for longer, until the records have passed.
        while self._mishaps and (
            self._mishaps[0].at < now - WINDOW or self._mishaps[0].number < self._records - RECORDS
        ):
            self._mishaps.popleft()
