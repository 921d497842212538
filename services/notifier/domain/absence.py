"""Being absent: for a while nobody here knew what happened, and then it is caught up, without a storm of alerts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.notifier.domain.horizon import Horizons

_FEEDS_SIGNALS = frozenset({"ingest", "accounts", "notifier"})
"""What a report passes that fires by itself: metrics says nothing about it."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered across restarts. All moments are readings of the system's clock."""

    complete_at: datetime | None = None
    """Up to then the whole way was known to be complete; None: never yet."""
    absent_since: datetime | None = None
    """What happened since then is being caught up; None: nothing is."""
    why: str | None = None
    epoch: int | None = None
    """The epoch of versions that was known when something was remembered last."""
    present_epoch: int = 1

    @property
    def restored(self) -> bool:
        """Whether the database was restored from a backup since."""
        return self.epoch is not None and self.present_epoch > self.epoch

    def interrupted(self, now: datetime, limit: timedelta, why: str) -> "Watch":
        """Return it absent when nobody looked, or could see, for longer than `limit`."""
        if self.complete_at is None:
            return self
        if self.restored:
            since = min(self.complete_at, self.absent_since or self.complete_at)
            return replace(self, absent_since=since, why="the database was restored from a backup")
        if self.absent_since is not None or now - self.complete_at <= limit:
            return self
        return replace(self, absent_since=self.complete_at, why=why)

    def behind(self, oldest: datetime, now: datetime, limit: timedelta) -> "Watch":
        """Return it absent when a record that was recorded at `oldest` is older than `limit` on its arrival."""
        if now - oldest <= limit or (self.absent_since is not None and self.absent_since <= oldest):
            return self
        return replace(self, absent_since=oldest, why="records that waited are being caught up")


def slack(limit: timedelta) -> timedelta:
    """Return how far behind the clock a horizon may lie while everything flows."""
    return min(limit / 5, timedelta(minutes=1))


def complete(horizons: Horizons, now: datetime, limit: timedelta) -> bool:
    """Say whether everybody on the way answers and has come to the present, but for what is in flight."""
    return bool(horizons.stages) and all(
        stage.horizon is not None and now - stage.horizon <= slack(limit) for stage in horizons.stages
    )


def silent_stages(horizons: Horizons) -> tuple[str, ...]:
    """Return who does not say how far they have come."""
    return tuple(stage.service for stage in horizons.stages if stage.horizon is None)


def signals_flow(horizons: Horizons, now: datetime, limit: timedelta) -> bool:
    """Say whether a report that fires by itself may speak while others are away: nobody whom it passes is behind."""
    return all(
        stage.horizon is None or now - stage.horizon <= slack(limit)
        for stage in horizons.stages
        if stage.service in _FEEDS_SIGNALS
    )


@dataclass(frozen=True, slots=True)
class Pending:
    """A mail that was held while something was caught up, and one step that it carries."""

    delivery_id: str
    destination_id: str
    alert_id: str
    version: int
    settled: bool
    """The alert is resolved by now."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What becomes of the held mails of one destination: `told` go out as one, `obsolete` not at all."""

    destination_id: str
    told: tuple[Pending, ...]
    obsolete: tuple[Pending, ...]


def gather(pending: Iterable[Pending]) -> list[Gathered]:
    """Return one message for each destination: of each alert that is not resolved its last step, in order."""
    by_destination: dict[str, list[Pending]] = {}
    for one in pending:
        by_destination.setdefault(one.destination_id, []).append(one)
    found = []
    for destination_id, theirs in sorted(by_destination.items()):
        last: dict[str, Pending] = {}
        for one in sorted(theirs, key=lambda one: one.version):
            last[one.alert_id] = one
        told = tuple(one for one in last.values() if not one.settled)
        obsolete = tuple(one for one in theirs if one not in told)
        found.append(Gathered(destination_id, told, obsolete))
    return found
