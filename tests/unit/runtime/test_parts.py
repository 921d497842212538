"""The small pure parts: faults, waiting, headers, partitions, the flow's arithmetic, traces."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope, Unreadable
from services.runtime.backoff import Backoff, pause
from services.runtime.faults import Fault, Rejected, judge, reason_of
from services.runtime.flow import ConsumerFlow
from services.runtime.headers import dump_headers, load_headers
from services.runtime.offsets import Position
from services.runtime.publishing import partition_of
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import TRACED_PER_BATCH, Telemetry

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        OSError("disk"),
        KafkaConnectionError(),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.SerializationError("x"),
        asyncpg.LockNotAvailableError("x"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.CannotConnectNowError("x"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.UndefinedTableError("the migration has not run"),
        asyncpg.InvalidCachedStatementError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_infrastructure_is_waited_out(error: Exception) -> None:
    assert judge(error) is Fault.TRANSIENT


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        RecursionError(),
        asyncpg.DataError("x"),
        asyncpg.CharacterNotInRepertoireError("x"),
        asyncpg.NumericValueOutOfRangeError("x"),
        asyncpg.UniqueViolationError("x"),
        asyncpg.NotNullViolationError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_a_record_may_cause_is_traced_to_the_record(error: Exception) -> None:
    assert judge(error) is Fault.DATA
    assert reason_of(error)[0] == "handler_error"


def test_a_verdict_keeps_its_reason() -> None:
    for verdict in (Rejected("unknown_currency", "XXX"), Unreadable("unknown_currency", "XXX")):
        assert judge(verdict) is Fault.VERDICT
        assert reason_of(verdict) == ("unknown_currency", "XXX")


def test_waiting_grows_to_a_bound_and_never_spins() -> None:
    backoff = Backoff(0.2, 15)
    waits = [backoff.next() for _ in range(100)]
    assert all(0.1 <= wait <= 15 for wait in waits)
    assert min(waits[10:]) >= 7.5
    backoff.reset()
    assert backoff.next() <= 0.2


async def test_a_pause_ends_at_once_when_asked_to_stop() -> None:
    stop = asyncio.Event()
    assert not await pause(stop, 0.001)
    stop.set()
    assert await pause(stop, 10_000)


_HEADERS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8"), max_size=20), st.none() | st.binary(max_size=50)), max_size=8
)


@given(_HEADERS)
def test_headers_survive_the_outbox(headers: list[tuple[str, bytes | None]]) -> None:
    assert load_headers(dump_headers(headers)) == headers


@given(st.binary(min_size=0, max_size=80), st.integers(1, 64))
def test_partitions_are_those_of_the_default_partitioner(key: bytes, partitions: int) -> None:
    everything = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everything, everything)


def test_without_lag_the_horizon_is_the_clock() -> None:
    flow = ConsumerFlow.of(
        "running", NOW, bounds={("t", 0): (0, 0), ("t", 1): (5, 9)}, done={("t", 1): Position(9, None)}
    )
    assert (flow.lag, flow.horizon) == ({"t": 0}, NOW)


def test_the_horizon_is_that_of_the_partition_that_is_furthest_behind() -> None:
    hour = timedelta(hours=1)
    flow = ConsumerFlow.of(
        "running",
        NOW,
        bounds={("t", 0): (0, 10), ("t", 1): (0, 10), ("u", 0): (0, 10)},
        done={
            ("t", 0): Position(8, NOW - hour),
            ("t", 1): Position(3, NOW - 5 * hour),
            ("u", 0): Position(10, NOW - 9 * hour),
        },
    )
    assert (flow.lag, flow.horizon) == ({"t": 9, "u": 0}, NOW - 5 * hour)


def test_a_partition_never_read_holds_the_horizon_at_the_beginning_of_time() -> None:
    flow = ConsumerFlow.of("running", NOW, bounds={("t", 0): (0, 1)}, done={})
    assert flow.horizon.year == 1


def test_records_that_retention_removed_are_no_lag() -> None:
    flow = ConsumerFlow.of("running", NOW, bounds={("t", 0): (100, 110)}, done={})
    assert flow.lag == {"t": 10}
    assert ConsumerFlow.of("running", NOW, bounds={("t", 0): (100, 100)}, done={}).lag == {"t": 0}


@dataclass(frozen=True)
class _Item:
    envelope: Envelope

    def traced(self, traceparent: str) -> _Item:
        return replace(self, envelope=self.envelope.traced(traceparent))


def _item(number: int, flags: str | None) -> _Item:
    traceparent = None if flags is None else f"00-{number + 1:032x}-{number + 1:016x}-{flags}"
    return _Item(Envelope(str(number), "shop", "tenure.test.v1", str(number), NOW, NOW, traceparent))


def _settings(**changes: object) -> RuntimeSettings:
    given: dict[str, object] = {"kafka_bootstrap": "127.0.0.1:1", "database_url": "postgresql://x", **changes}
    return RuntimeSettings.model_validate(given)


def test_without_an_exporter_traces_are_passed_on_untouched() -> None:
    telemetry = Telemetry("probe", _settings())
    items = [_item(number, "01") for number in range(3)]
    with telemetry.batch("probe", items) as traced:
        assert list(traced) == items
    with telemetry.span("door", parent="00-" + "1" * 32 + "-" + "2" * 16 + "-01") as door:
        assert door.traceparent == "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def test_only_sampled_records_are_traced_and_only_so_many(tmp_path: Path) -> None:
    file = tmp_path / "spans"
    telemetry = Telemetry("probe", _settings(trace_file=file, trace_sample_ratio=0))
    items = [_item(number, ("01", "00", None)[number % 3]) for number in range(600)]
    with telemetry.batch("probe", items) as traced:
        changed = [new for old, new in zip(items, traced, strict=True) if new != old]
    telemetry.close()
    assert len(changed) == TRACED_PER_BATCH
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(spans) == TRACED_PER_BATCH + 1
    assert len(spans[-1]["links"]) == TRACED_PER_BATCH


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", "00-1-2-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-" + "z" * 32 + "-" + "1" * 16 + "-01"],
)
def test_a_malformed_traceparent_counts_as_none(tmp_path: Path, traceparent: str) -> None:
    telemetry = Telemetry("probe", _settings(trace_file=tmp_path / "spans"))
    item = replace(_item(1, None), envelope=_item(1, None).envelope.traced(traceparent))
    with telemetry.batch("probe", [item]) as traced:
        assert list(traced) == [item]
    telemetry.close()


def test_a_failed_batch_marks_its_spans(tmp_path: Path) -> None:
    file = tmp_path / "spans"
    telemetry = Telemetry("probe", _settings(trace_file=file))
    with pytest.raises(RuntimeError), telemetry.batch("probe", [_item(1, "01")]):
        raise RuntimeError
    telemetry.close()
    assert {json.loads(line)["status"]["status_code"] for line in file.read_text().splitlines()} == {"ERROR"}


def test_acceptance_is_counted_by_source_and_outcome() -> None:
    telemetry = Telemetry("ingest", _settings())
    telemetry.metrics.accepted("zendesk", events=3)
    telemetry.metrics.accepted("zendesk", "refused")
    text = telemetry.metrics.exposition().decode()
    assert 'tenure_ingest_events_total{outcome="accepted",source="zendesk"} 3.0' in text
    assert 'tenure_ingest_events_total{outcome="refused",source="zendesk"} 1.0' in text
