"""`python -m tests.bench.poison`: by how much bad records delay a batch of 5,000 of accounts' consumer.

A bad record fails after everything else of its batch was done, the most expensive moment. *code*: Python raises while
it looks at the record. *database*: PostgreSQL refuses a value and nobody knows of which record. Real PostgreSQL, all
tables, dead letters included; no broker, because nothing of this concerns it. Processor seconds (ours and PostgreSQL's)
stand beside those of the clock: on a machine that does other things as well, only they say anything.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import asyncpg
import psutil

from contracts.events import Event
from contracts.topics import INTERACTIONS
from deploy.local.postgres import LocalPostgres
from services.accounts.handlers.batch import InteractionsHandler
from services.accounts.handlers.fold import Fold
from services.accounts.store import conservation
from services.accounts.store.interactions import InteractionTables
from services.runtime import logs
from services.runtime.clock import RealClock
from services.runtime.postgres import create_pool
from services.runtime.processing import BatchProcessor
from services.runtime.records import Received, Record
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry
from tests.bench import company
from tests.bench.consuming import ZONE
from tests.bench.figures import expect
from tests.databases import clone_database

BATCH = 5000
_ROUNDS = 1
_BAD = (0, 1, 50)
_PARTITIONS = 24
Kind = Literal["code", "database"]


class Failing(InteractionsHandler):
    """Does everything, then fails at bad records."""

    def __init__(self, fold: Fold) -> None:
        super().__init__(fold, conservation.count)
        self.bad: frozenset[int] = frozenset()
        self.kind: Kind = "code"
        self.calls = 0

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Event]], now: datetime) -> None:
        """Handles the batch, then looks for bad records."""
        self.calls += 1
        await super().handle(connection, batch, now)
        if self.kind == "database":
            divisors = [0 if one.record.offset in self.bad else 1 for one in batch]
            await connection.execute("select 1 / unnest($1::int[])", divisors)
            return
        for one in batch:
            if one.record.offset in self.bad:
                raise ValueError("cannot digest this")


def records(orders: Sequence[company.Order]) -> list[Record]:
    """Orders over all partitions."""
    made = []
    for order in orders:
        sent = company.record_of(order)
        made.append(
            Record(INTERACTIONS.name, order.number % _PARTITIONS, order.number, sent.key, sent.value, sent.headers)
        )
    return made


async def measure(dsn: str) -> None:
    """Prints a table: seconds a batch, how much more than a clean one, calls of the handler."""
    worker = (await clone_database(dsn, "accounts")).worker
    pool = await create_pool(worker, name="accounts", max_size=1)
    settings = RuntimeSettings(kafka_bootstrap="none:1", database_url=worker)
    handler = Failing(Fold(InteractionTables, ZoneInfo(ZONE)))
    processor = BatchProcessor(
        service="accounts",
        group="accounts",
        topics=(INTERACTIONS,),
        handler=handler,
        pool=pool,
        clock=RealClock(),
        telemetry=Telemetry("accounts", settings),
        # As if one source had sent them all.
        fault_threshold=1_000_000,
    )
    taken: dict[tuple[Kind, int], list[tuple[float, float]]] = {}
    calls: dict[tuple[Kind, int], int] = {}
    first = 0
    orders = list(company.orders((_ROUNDS + 1) * 2 * len(_BAD) * BATCH, accounts=2000, conversations=6000))
    kinds: tuple[Kind, ...] = ("code", "database")
    for number in range(_ROUNDS + 1):
        for kind in kinds:
            for bad in _BAD:
                batch = records(orders[first : first + BATCH])
                handler.kind, handler.calls = kind, 0
                handler.bad = frozenset(first + place * BATCH // bad + 37 for place in range(bad))
                ends = {(INTERACTIONS.name, partition): first + BATCH for partition in range(_PARTITIONS)}
                backend = psutil.Process(await pool.fetchval("select pg_backend_pid()"))
                began, spent_before = time.perf_counter(), _spent(backend)
                outcome = await processor.process(batch, ends)
                # The first round warms up.
                if number:
                    spent = (time.perf_counter() - began, _spent(backend) - spent_before)
                    taken.setdefault((kind, bad), []).append(spent)
                calls[kind, bad] = handler.calls
                expect("dead letters", len(outcome.dead), bad)
                expect("processed", outcome.processed, BATCH - bad)
                first += BATCH
    await pool.close()
    say(f"{'bad':>4} {'where':<9} {'seconds':>8} {'processor':>10} {'delay':>7} {'x clean':>8} {'calls':>6}")
    for (kind, bad), rounds in taken.items():
        clean = min(spent for _, spent in taken[kind, 0])
        clock, total = min(one[0] for one in rounds), min(one[1] for one in rounds)
        say(
            f"{bad:>4} {kind:<9} {clock:>8.2f} {total:>10.2f} {total - clean:>7.2f} {total / clean:>8.1f}"
            f" {calls[kind, bad]:>6}"
        )


def say(line: str) -> None:
    """Print a line of the answer at once."""
    print(line, flush=True)  # noqa: T201 - this is a command


def _spent(backend: psutil.Process) -> float:
    times = backend.cpu_times()
    return float(time.process_time() + times.user + times.system)


@contextmanager
def _postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tenure-poison-") as directory:
        Path(directory).chmod(0o711)
        server = LocalPostgres(Path(directory) / "postgres")
        server.start()
        try:
            yield server.admin_dsn
        finally:
            server.stop()


if __name__ == "__main__":
    logs.configure("bench", "error")
    with _postgres() as admin:
        asyncio.run(measure(admin))
