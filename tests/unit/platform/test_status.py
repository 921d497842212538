"""What `tenure status` concludes from what services say."""

from __future__ import annotations

import pytest

from services.cli.status import ServiceStatus

_FLOWING = {"status": "running", "lag": {"tenure.activity": 0}, "outbox_rows": 0, "parts": {"jobs": {"drained": True}}}


def test_a_service_that_works_has_no_obstacles() -> None:
    assert ServiceStatus("metrics", live=True, flow=_FLOWING).obstacles == []


def test_records_on_their_way_are_no_obstacle() -> None:
    busy = ServiceStatus("metrics", live=True, flow={**_FLOWING, "lag": {"tenure.activity": 9000}, "outbox_rows": 12})
    assert busy.obstacles == []
    assert (busy.lag, busy.outbox_rows) == (9000, 12)


@pytest.mark.parametrize(
    ("said", "obstacle"),
    [
        (ServiceStatus("metrics", live=False), "metrics does not answer"),
        (
            ServiceStatus("metrics", live=True, failing={"postgres": "TimeoutError"}),
            "metrics is not ready: postgres says TimeoutError",
        ),
        (
            ServiceStatus("metrics", live=True),
            "metrics cannot say how far it is; Kafka or PostgreSQL does not answer it",
        ),
        (
            ServiceStatus("metrics", live=True, flow={**_FLOWING, "status": "stopped: handler errors"}),
            "metrics is stopped: handler errors",
        ),
        (
            ServiceStatus("metrics", live=True, flow={**_FLOWING, "dead_letters_waiting": 3}),
            "metrics: 3 dead letters wait for a decision",
        ),
        (
            ServiceStatus("metrics", live=True, flow={**_FLOWING, "missing_records": {"tenure.activity": 7}}),
            "metrics: 7 records of tenure.activity were deleted before it read them",
        ),
        (
            ServiceStatus("metrics", live=True, flow={**_FLOWING, "outbox_rows": 1, "oldest_outbox_age": 300.4}),
            "metrics: a change has waited 300 s to be published",
        ),
        (
            ServiceStatus(
                "ingest", live=True, flow={"parts": {"mailbox": {"drained": False, "error": "login refused"}}}
            ),
            "ingest: mailbox says login refused",
        ),
        (
            ServiceStatus(
                "ingest",
                live=True,
                flow={"parts": {"sources": {"drained": True, "anna": {"provider": "imap", "status": "broken: login"}}}},
            ),
            "the source anna is broken: login",
        ),
    ],
)
def test_what_keeps_events_from_flowing_is_named(said: ServiceStatus, obstacle: str) -> None:
    assert said.obstacles == [obstacle]
