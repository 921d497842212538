"""Does everything flow, and up to when do we know everything? The arithmetic of drained and horizon, in one place."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg

from contracts.envelope import format_instant
from services.runtime import dead_letters, outbox
from services.runtime.clock import Clock
from services.runtime.offsets import Partition, Position
from services.runtime.postgres import acquire
from services.runtime.telemetry import Metrics

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_NOTHING_DONE = Position(0, None)


@dataclass(frozen=True, slots=True)
class Part:
    """What another part of a service (jobs, a poller, sources) says about itself.

    `drained`: nothing left to do as of the clock's present reading (a poller: it has completed a pass begun at or after
    it). `horizon`: None when the part does not hold it back. `details` are for people and must be JSON values.
    """

    drained: bool
    horizon: datetime | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConsumerFlow:
    """How far a consumer group has come, for all partitions of its topics, whichever replica reads them.

    `lag` counts records by topic. `horizon`: every record accepted by ingest up to then has been processed here.
    `missing`: records by topic that retention had deleted before this process could read them.
    """

    status: str
    lag: Mapping[str, int]
    horizon: datetime
    missing: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        status: str,
        now: datetime,
        *,
        bounds: Mapping[Partition, tuple[int, int]],
        done: Mapping[Partition, Position],
        missing: Mapping[str, int] | None = None,
    ) -> "ConsumerFlow":
        """Compare the broker's (first, next) offsets, asked after `now` was read, with what is done.

        A partition without lag is complete up to `now`; one with lag up to the record it processed last.
        """
        lag = dict.fromkeys((topic for topic, _ in bounds), 0)
        horizon = now
        for partition, (first, end) in bounds.items():
            position = done.get(partition, _NOTHING_DONE)
            behind = end - max(position.next_offset, first)
            if behind > 0:
                lag[partition[0]] += behind
                horizon = min(horizon, position.recordedtime or _BEGINNING)
        return cls(status, lag, horizon, missing or {})


class Consumer(Protocol):
    """A `BatchConsumer`, as far as `/flow` is concerned."""

    async def flow(self) -> ConsumerFlow:
        """Say how far it has come."""
        ...


Probe = Callable[[datetime], Awaitable[Part]]


@dataclass(frozen=True, slots=True)
class FlowReport:
    """Answer of `/flow`. Everything that ingest recorded up to `horizon` has been processed and published here."""

    service: str
    clock: datetime
    drained: bool
    horizon: datetime
    status: str
    lag: Mapping[str, int]
    outbox_rows: int
    oldest_outbox_age: float
    dead_letters_waiting: int
    parts: Mapping[str, Part]
    missing: Mapping[str, int] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the report as JSON values; `oldest_outbox_age` is in seconds of real time."""
        return {
            "service": self.service,
            "clock": format_instant(self.clock),
            "drained": self.drained,
            "horizon": format_instant(self.horizon),
            "status": self.status,
            "lag": dict(self.lag),
            "outbox_rows": self.outbox_rows,
            "oldest_outbox_age": round(self.oldest_outbox_age, 3),
            "dead_letters_waiting": self.dead_letters_waiting,
            "missing_records": dict(self.missing),
            "parts": {
                name: {
                    "drained": part.drained,
                    **({"horizon": format_instant(part.horizon)} if part.horizon else {}),
                    **part.details,
                }
                for name, part in self.parts.items()
            },
        }


class Flow:
    """Asks, in the order that makes the answer true: the clock, the consumers, the service's parts, the outbox last.

    Work only moves in that direction (a record causes jobs and outbox rows, a job causes outbox rows), so what has left
    one place before it is asked is seen in a later one, or has been published.
    """

    def __init__(
        self,
        *,
        service: str,
        clock: Clock,
        pool: asyncpg.Pool | None = None,
        consumers: Sequence[Consumer] = (),
        parts: Mapping[str, Probe] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._service = service
        self._clock = clock
        self._pool = pool
        self._consumers = consumers
        self._parts = dict(parts or {})
        self._metrics = metrics

    async def report(self) -> FlowReport:
        """Return the report; raises the infrastructure's fault when the broker or the database is away."""
        now = self._clock.now()
        consumers = [await consumer.flow() for consumer in self._consumers]
        parts = {name: await probe(now) for name, probe in self._parts.items()}
        waiting, backlog = 0, outbox.Backlog(0, None, None)
        if self._pool is not None:
            async with acquire(self._pool) as connection:
                waiting = await dead_letters.count_waiting(connection)
                backlog = await outbox.backlog(connection)
        held = [consumer.horizon for consumer in consumers]
        held += [part.horizon for part in parts.values() if part.horizon is not None]
        held += [backlog.oldest_recordedtime] if backlog.oldest_recordedtime is not None else []
        age = (datetime.now(UTC) - backlog.oldest_created_at).total_seconds() if backlog.oldest_created_at else 0.0
        lag = {topic: records for consumer in consumers for topic, records in consumer.lag.items()}
        stuck = [consumer.status for consumer in consumers if consumer.status != "running"]
        report = FlowReport(
            service=self._service,
            clock=now,
            drained=not any(lag.values()) and backlog.rows == 0 and all(part.drained for part in parts.values()),
            horizon=min([now, *held]),
            status=stuck[0] if stuck else "running",
            lag=lag,
            outbox_rows=backlog.rows,
            oldest_outbox_age=max(age, 0.0),
            dead_letters_waiting=waiting,
            parts=parts,
            missing={topic: count for consumer in consumers for topic, count in consumer.missing.items()},
        )
        self._publish(report)
        return report

    def _publish(self, report: FlowReport) -> None:
        if self._metrics is None:
            return
        self._metrics.outbox_rows.set(report.outbox_rows)
        self._metrics.outbox_oldest_age.set(report.oldest_outbox_age)
        self._metrics.dead_letters_waiting.set(report.dead_letters_waiting)
        self._metrics.horizon_age.set((report.clock - report.horizon).total_seconds())
