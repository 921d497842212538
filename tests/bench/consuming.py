"""Runs one of the services' consumers over a topic until everything on it is committed."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from contracts.topics import Topic
from services.runtime import garbage
from services.runtime.clock import write_moment
from services.runtime.consumer import BatchConsumer
from services.runtime.telemetry import Metrics
from tests.bench import company
from tests.bench.figures import CheckFailed
from tests.bench.stream import Pace

ZONE = "Europe/Berlin"
_LOOK_EVERY = 0.5  # seconds
_PATIENCE = 120.0  # seconds without a commit
_MEET_WITHIN = 60.0  # seconds


def settings_of(bootstrap: str, prefix: str, database: str, batch: int, directory: str) -> dict[str, Any]:
    """Settings as a service has them, with the clock on the evening of the last order."""
    # Each process writes its own: two that replace one file at once are in each other's way.
    clock = Path(directory) / f"clock-{os.getpid()}"
    write_moment(clock, company.RECORDED)
    return {
        "kafka_bootstrap": bootstrap,
        "topic_prefix": prefix,
        "database_url": database,
        "batch_size": batch,
        # A second process gets its share within a second, not when the first has done nearly everything.
        "session_seconds": 3,
        "clock": f"file:{clock}",
        "time_zone": ZONE,
        "reporting_currency": company.CURRENCY,
        "trace_file": str(Path(directory) / "logs" / "consumer.trace.jsonl"),
    }


async def meet(place: str, parties: int) -> None:
    """Returns when so many processes have come to the directory `place`."""
    Path(place, str(os.getpid())).touch()  # noqa: ASYNC240 - nothing else runs here yet
    async with asyncio.timeout(_MEET_WITHIN):
        while len(os.listdir(place)) < parties:  # noqa: PTH208 - the same
            await asyncio.sleep(0.01)


class Drain:
    """Notes every commit of a consumer. Give `committed` to it as `after_commit`.

    `together`: so many processes share the records; then what is stored of `topic`'s offsets says when all are through.
    """

    def __init__(
        self, metrics: Metrics, records: int, *, topic: Topic, together: int = 1, meeting: str | None = None
    ) -> None:
        self.pace = Pace()
        self._topic = topic.name
        self._together = together
        self._meeting = meeting
        self._metrics = metrics
        self._records = records
        self._done = asyncio.Event()

    def committed(self) -> None:
        """A batch has been committed."""
        self.pace.committed(_processed(self._metrics))
        if self._together == 1 and self.pace.total >= self._records:
            self._done.set()

    async def run(self, consumer: BatchConsumer[Any], pool: asyncpg.Pool) -> dict[str, Any]:
        """What a job answers once all are through: records a second, and microseconds a record by who spent them.

        Raises CheckFailed when the consumer stops or stands still.
        """
        if self._meeting is not None:
            await meet(self._meeting, self._together)
        await consumer.start()
        garbage.settle()  # as a service does once its components have begun
        try:
            progress, total = time.monotonic(), 0
            while not self._done.is_set():
                try:
                    await asyncio.wait_for(self._done.wait(), _LOOK_EVERY)
                except TimeoutError:
                    if self._together > 1 and await self._all_through(pool):
                        break
                    if self.pace.total > total:
                        progress, total = time.monotonic(), self.pace.total
                    if consumer.status.startswith("stopped") or time.monotonic() - progress > _PATIENCE:
                        through = f"{self.pace.total} of {self._records} records were committed, then no more"
                        raise CheckFailed(f"{through}: {consumer.status}") from None
            database = await _processor_seconds(pool)
        finally:
            await consumer.stop()
        return {
            "per_second": self.pace.per_second if self._together == 1 else 0.0,
            "processor_us": self.pace.processor_us if self._together == 1 else 0.0,
            "database_us": database / self.pace.total * 1e6 if self._together == 1 else 0.0,
            "marks": self.pace.marks,
        }

    async def _all_through(self, pool: asyncpg.Pool) -> bool:
        # of all partitions, whoever reads them
        stored = await pool.fetchval(
            "select coalesce(sum(next_offset), 0) from kafka_offset where topic = $1", self._topic
        )
        return bool(stored >= self._records)


async def _processor_seconds(pool: asyncpg.Pool) -> float:
    """What PostgreSQL's processes for this database have spent so far."""
    # one process for each connection
    rows = await pool.fetch("select pid from pg_stat_activity where datname = current_database()")
    spent = [psutil.Process(row["pid"]).cpu_times() for row in rows]
    return float(sum(times.user + times.system for times in spent))


def _processed(metrics: Metrics) -> int:
    """All records that batches were about, whatever became of them: the end state says what did."""
    samples = (sample for family in metrics.records.collect() for sample in family.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith("_total")))
