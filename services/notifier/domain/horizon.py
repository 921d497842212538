"""Up to when we know everything about an account, so that no silence alert speaks of what we have not heard yet."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from services.notifier.domain.wording import at_time, counted


@dataclass(frozen=True, slots=True)
class Source:
    """A source as ingest reports it."""

    name: str
    provider: str
    polled: bool
    horizon: datetime | None
    last_delivery: datetime | None
    status: str
    quiet: bool = False
    """Whether ingest says that it is quiet against its own rhythm; without a rhythm it never is."""
    expected_by: datetime | None = None
    unusual_from: datetime | None = None
    """From when on the silence since the last delivery is unusual for it; None: it has no rhythm."""
    broken_since: datetime | None = None
    """Since when ingest knows that it is down; for one that never worked its horizon says nothing."""
    responsible: tuple[str, ...] = ()
    """Whom its configuration names: users' ids, `team:<name>`, `operators`."""

    @property
    def broken(self) -> bool:
        """Whether ingest says that the source does not work."""
        return self.status.startswith("broken")


@dataclass(frozen=True, slots=True)
class Stage:
    """A service on the way as its /flow reports it; `horizon` None: it did not answer or cannot say."""

    service: str
    horizon: datetime | None
    dead_letters_waiting: int = 0
    lag: int = 0
    """Records that it has not processed yet."""


@dataclass(frozen=True, slots=True)
class Horizons:
    """What all services said, asked in the order in which records travel."""

    stages: tuple[Stage, ...]
    sources: Mapping[str, Source] | None
    """By name; None: ingest did not answer."""

    def ourselves_past(self, moment: datetime) -> bool:
        """Say whether we have processed everything that was recorded up to `moment`. We are the last stage."""
        if not self.stages or self.stages[-1].horizon is None:
            return False
        return self.stages[-1].lag == 0 or self.stages[-1].horizon > moment


@dataclass(frozen=True, slots=True)
class Known:
    """Everything of the account up to `horizon` is known, except what `unverified` names."""

    horizon: datetime
    unverified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not everything before the deadline is known: wait and ask again.

    `by` says who holds: a `service` or a `source` that is still catching up, or a source that is `broken`.
    """

    by: Literal["service", "source", "broken"]
    why: str


def known_up_to(
    deadline: datetime,
    sources: Iterable[str],
    horizons: Horizons,
    zone: ZoneInfo,
    vouched: Collection[str] = frozenset(),
) -> Known | Unknown:
    """Say whether a silence alert may speak about time up to `deadline` for an account fed by `sources`.

    A polled source holds the alert until it was synced past the deadline; one that is down holds it too. A source that
    pushes cannot be asked: what it has not delivered since its last delivery is named as unverified. A source of either
    kind that is quiet against its own rhythm since before the deadline holds it, because its feed may be broken, unless
    a person says that the quiet is right (`vouched`): then it is named as unverified.
    """
    behind = _behind(horizons.stages, deadline, zone)
    if behind is not None:
        return behind
    limits = [stage.horizon for stage in horizons.stages if stage.horizon is not None]
    if horizons.sources is None:
        return Unknown("service", "ingest does not say how far its sources have come")
    unsure: list[Source] = []
    for name in sorted(set(sources)):
        source = horizons.sources.get(name)
        if source is None:
            return Unknown("broken", f"source {name} is not known to ingest")
        if source.provider == "import":
            continue
        held = _held(source, deadline, zone) or _quiet(source, deadline, zone, vouched)
        if held is not None:
            return held
        if source.polled and source.horizon is not None:
            limits.append(source.horizon)
        if source.quiet or not source.polled:
            unsure.append(source)
    horizon = min(limits, default=deadline)
    return Known(horizon, (*_unverified(unsure, horizon, zone), *_dead_letters(horizons.stages)))


def _behind(stages: Iterable[Stage], deadline: datetime, zone: ZoneInfo) -> Unknown | None:
    for stage in stages:
        if stage.horizon is None:
            return Unknown("service", f"{stage.service} does not say how far it has come")
        if stage.horizon <= deadline:
            return Unknown("service", f"{stage.service} has come to {at_time(stage.horizon, zone)} only")
    return None


def _quiet(source: Source, deadline: datetime, zone: ZoneInfo, vouched: Collection[str]) -> Unknown | None:
    if not source.quiet or source.name in vouched:
        return None
    if source.last_delivery is None or source.last_delivery > deadline:
        return None
    since = at_time(source.last_delivery, zone)
    return Unknown("broken", f"source {source.name} is quiet against its own rhythm since {since}")


def _held(source: Source, deadline: datetime, zone: ZoneInfo) -> Unknown | None:
    if source.polled and source.horizon is not None and source.horizon > deadline:
        return None
    if source.broken:
        return Unknown("broken", f"source {source.name} is down ({source.status})")
    if not source.polled:
        return None
    if source.horizon is None:
        return Unknown("source", f"source {source.name} has not been synced yet")
    return Unknown("source", f"source {source.name} was synced up to {at_time(source.horizon, zone)} only")


def _unverified(unsure: Iterable[Source], horizon: datetime, zone: ZoneInfo) -> Iterable[str]:
    for source in unsure:
        if source.last_delivery is None:
            yield f"{source.name}: has never delivered; it cannot be polled"
        elif source.last_delivery < horizon:
            last = at_time(source.last_delivery, zone)
            why = "quiet against its own rhythm" if source.quiet else "it cannot be polled"
            yield f"{source.name}: last delivery {last}; {why}"


def _dead_letters(stages: Iterable[Stage]) -> Iterable[str]:
    for stage in stages:
        if stage.dead_letters_waiting:
            waiting = counted(stage.dead_letters_waiting, "record")
            yield f"{stage.service}: {waiting} set aside as dead letters, not counted here"
