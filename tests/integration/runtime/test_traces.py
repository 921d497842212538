"""One trace can be followed through a consumer, its outbox and the next consumer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import asyncpg

from services.runtime.consumer import BatchConsumer
from services.runtime.outbox import OutboxMessage, Relay, append
from services.runtime.records import Received
from services.runtime.telemetry import Telemetry
from tests.integration.runtime.harness import (
    REPORTS,
    RESULTS,
    Message,
    Probe,
    Rig,
    envelope,
    eventually,
    message,
    running,
)


class _Echo(Probe):
    """Says every event again, copying the trace as every handler does."""

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[int]], now: datetime) -> None:
        """Counts and appends."""
        await super().handle(connection, batch, now)
        await append(
            connection, [OutboxMessage(RESULTS, one.envelope.subject, one.envelope, one.record.value) for one in batch]
        )


async def test_a_sampled_trace_leads_through_both_consumers_and_stays_sampled(one_rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    settings = one_rig.settings(trace_file=file, trace_sample_ratio=1.0)
    entrance, echo = Telemetry("entrance", settings), Telemetry("echo", settings)
    with entrance.span("webhook") as door:
        head = envelope(7, traceparent=door.traceparent)
    entrance.close()
    sent = Message(head.id.encode(), message(7).value, head.headers())
    first = BatchConsumer(
        service="echo",
        topics=(REPORTS,),
        handler=_Echo(),
        pool=one_rig.pool,
        settings=settings,
        clock=one_rig.clock,
        telemetry=echo,
    )
    relay = Relay(service="echo", dsn=one_rig.database.worker, settings=settings, telemetry=echo)
    last = Probe()
    listener = one_rig.consumer(last, (RESULTS,))
    async with running(first, listener):
        await relay.start()
        await one_rig.produce([sent, message(8)])

        async def heard() -> bool:
            return len(last.seen_traces) == 2

        await eventually(heard, "both events have come through")
        await relay.stop()
    echo.close()
    trace_id = (door.traceparent or "").split("-")[1]
    (continued,) = [trace for trace in last.seen_traces if trace]
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    in_trace = [span for span in spans if span["context"]["trace_id"] == "0x" + trace_id]
    assert [span["name"] for span in in_trace] == ["webhook", "echo process tenure.test.happened.v1"]
    webhook, handled = in_trace
    assert handled["parent_id"] == webhook["context"]["span_id"]
    assert continued == f"00-{trace_id}-{handled['context']['span_id'][2:]}-01"
    batches = [span for span in spans if span["name"] == "echo process"]
    assert any(link["context"]["trace_id"] == "0x" + trace_id for batch in batches for link in batch["links"])
    assert "00000000-0000-0000-0000-000000000007" in handled["attributes"]["event.id"]
