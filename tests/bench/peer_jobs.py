"""What the peers run, each as its own documentation shows it. Starts in an environment that has the peers, not us.

`python -m tests.bench.peer_jobs PEER FILE`: FILE holds the arguments as JSON; the answer is written beside it.

The task: for each account how many orders there were and what they came to, kept in one row of `peer_total`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import psycopg2
from psycopg2.extras import execute_values

Mark = tuple[float, int]
Totals = tuple[str, int, int]
"""Account id, orders, what they came to in cents."""
_UPSERT = """
insert into peer_total (account_id, orders, cents) values %s
on conflict (account_id) do update set orders = excluded.orders, cents = excluded.cents
"""
_CHECKPOINT = 5_000  # records
_IDLE_SECONDS = 15.0


def cents_in(value: bytes) -> int:
    """The net amount of an attribution's order."""
    return int(Decimal(orjson.loads(value)["detail"]["net"]["amount"]) * 100)


class Table:
    """Writes the last totals of each account in a batch, in one statement and one transaction."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg2.connect(database)

    def write(self, rows: Iterable[Totals]) -> None:
        """Upserts; what comes later in `rows` counts."""
        last = {row[0]: row for row in rows}
        with self._connection, self._connection.cursor() as cursor:
            execute_values(cursor, _UPSERT, list(last.values()), page_size=1000)


def quixstreams(*, bootstrap: str, topic: str, records: int, database: str) -> list[Mark]:
    """A stateful dataframe and a batching sink: state in RocksDB with a changelog topic, a checkpoint each 5,000."""
    from quixstreams import Application, State  # noqa: PLC0415 - each peer alone
    from quixstreams.sinks import BatchingSink, SinkBatch  # noqa: PLC0415

    marks: list[Mark] = []

    class Sink(BatchingSink):  # type: ignore[misc] # published without types
        def setup(self) -> None:
            self.table = Table(database)

        def write(self, batch: SinkBatch) -> None:
            self.table.write(tuple(item.value) for item in batch)
            marks.append((time.perf_counter(), (marks[-1][1] if marks else 0) + batch.size))

    def add(value: bytes, key: bytes, _timestamp: int, _headers: Any, state: State) -> Totals:
        orders, cents = state.get("totals", (0, 0))
        totals = [orders + 1, cents + cents_in(value)]
        state.set("totals", totals)
        return key.decode(), totals[0], totals[1]

    with tempfile.TemporaryDirectory() as directory:
        application = Application(
            broker_address=bootstrap,
            # A group of its own for every round: one that has read the topic before would get nothing.
            consumer_group=f"{topic}-quixstreams-{uuid4()}",
            auto_offset_reset="earliest",
            commit_every=_CHECKPOINT,
            state_dir=directory,
            loglevel="ERROR",
        )
        source = application.topic(topic, value_deserializer="bytes", key_deserializer="bytes")
        frame = application.dataframe(source).apply(add, stateful=True, metadata=True)
        frame.sink(Sink())
        application.run(count=records, timeout=_IDLE_SECONDS)
    return marks


def bytewax(*, bootstrap: str, topic: str, records: int, database: str) -> list[Mark]:
    """A keyed stateful map and a sink, with recovery snapshots each ten seconds (its default)."""
    from bytewax import operators as op  # noqa: PLC0415
    from bytewax.connectors.kafka import KafkaSource  # noqa: PLC0415
    from bytewax.dataflow import Dataflow  # noqa: PLC0415
    from bytewax.outputs import DynamicSink, StatelessSinkPartition  # noqa: PLC0415
    from bytewax.recovery import RecoveryConfig, init_db_dir  # noqa: PLC0415
    from bytewax.run import cli_main  # noqa: PLC0415

    marks: list[Mark] = []

    class Partition(StatelessSinkPartition):  # type: ignore[misc] # published without types
        def __init__(self) -> None:
            self.table = Table(database)

        def write_batch(self, items: Sequence[tuple[str, Totals]]) -> None:
            self.table.write(totals for _, totals in items)
            marks.append((time.perf_counter(), (marks[-1][1] if marks else 0) + len(items)))

    class Sink(DynamicSink):  # type: ignore[misc] # the same
        def build(self, _step: str, _index: int, _count: int) -> Partition:
            return Partition()

    def add(totals: tuple[int, int] | None, item: tuple[str, int]) -> tuple[tuple[int, int], Totals]:
        orders, cents = totals or (0, 0)
        account, more = item
        return (orders + 1, cents + more), (account, orders + 1, cents + more)

    def keyed(message: Any) -> tuple[str, tuple[str, int]]:
        account = message.key.decode()
        return account, (account, cents_in(message.value))

    flow = Dataflow("totals")
    source = KafkaSource([bootstrap], [topic], tail=False, batch_size=_CHECKPOINT)
    messages = op.input("orders", flow, source)
    totals = op.stateful_map("add", op.map("keyed", messages, keyed), add)
    op.output("table", totals, Sink())
    with tempfile.TemporaryDirectory() as directory:
        init_db_dir(Path(directory), 1)
        cli_main(flow, recovery_config=RecoveryConfig(directory))
    if marks[-1][1] < records:
        sys.stderr.write(f"only {marks[-1][1]} of {records} records came out\n")
    return marks


PEERS: dict[str, Callable[..., list[Mark]]] = {"quixstreams": quixstreams, "bytewax": bytewax}


def _main(peer: str, file: Path) -> None:
    marks = PEERS[peer](**json.loads(file.read_text()))
    (began, before), (ended, after) = marks[0], marks[-1]
    answer = {"per_second": (after - before) / (ended - began)}
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(answer))
    draft.rename(file.with_suffix(".answer.json"))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
