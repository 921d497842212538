"""Runs one of the services' consumers over a topic until everything on it is committed."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from services.runtime.clock import write_moment
from services.runtime.consumer import BatchConsumer
from services.runtime.telemetry import Metrics
from tests.bench import company
from tests.bench.figures import CheckFailed
from tests.bench.stream import Pace

ZONE = "Europe/Berlin"
_LOOK_EVERY = 0.5  # seconds
_PATIENCE = 120.0  # seconds without a commit


def settings_of(bootstrap: str, prefix: str, database: str, batch: int, directory: str) -> dict[str, Any]:
    """Settings as a service has them, with the clock on the evening of the last order."""
    clock = Path(directory) / "clock"
    write_moment(clock, company.RECORDED)
    return {
        "kafka_bootstrap": bootstrap,
        "topic_prefix": prefix,
        "database_url": database,
        "batch_size": batch,
        "clock": f"file:{clock}",
        "time_zone": ZONE,
        "reporting_currency": company.CURRENCY,
        "trace_file": str(Path(directory) / "logs" / "consumer.trace.jsonl"),
    }


class Drain:
    """Notes every commit of a consumer. Give `committed` to it as `after_commit`."""

    def __init__(self, metrics: Metrics, records: int) -> None:
        self.pace = Pace()
        self._metrics = metrics
        self._records = records
        self._done = asyncio.Event()

    def committed(self) -> None:
        """A batch has been committed."""
        self.pace.committed(_processed(self._metrics))
        if self.pace.total >= self._records:
            self._done.set()

    async def run(self, consumer: BatchConsumer[Any], pool: asyncpg.Pool) -> dict[str, float]:
        """What a job answers once all are through: records a second, and microseconds a record by who spent them.

        Raises CheckFailed when the consumer stops or stands still.
        """
        await consumer.start()
        try:
            progress, total = time.monotonic(), 0
            while not self._done.is_set():
                try:
                    await asyncio.wait_for(self._done.wait(), _LOOK_EVERY)
                except TimeoutError:
                    if self.pace.total > total:
                        progress, total = time.monotonic(), self.pace.total
                    if consumer.status.startswith("stopped") or time.monotonic() - progress > _PATIENCE:
                        through = f"{self.pace.total} of {self._records} records were committed, then no more"
                        raise CheckFailed(f"{through}: {consumer.status}") from None
            database = await _processor_seconds(pool)
        finally:
            await consumer.stop()
        return {
            "per_second": self.pace.per_second,
            "processor_us": self.pace.processor_us,
            "database_us": database / self.pace.total * 1e6,
        }


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
