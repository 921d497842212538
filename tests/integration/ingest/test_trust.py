"""A source's rhythm is learned from what it delivers, and its silence is measured by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from services.ingest.domain.schemes import SchemeName
from services.runtime.clock import write_moment
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import SOLVED

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)


async def desk(ingest: Ingest) -> dict[str, Any]:
    """What `/flow` says about the desk."""
    said: dict[str, Any] = (await ingest.operations.get("/flow")).json()["parts"]["sources"]["desk"]
    return said


async def deliver(ingest: Ingest) -> None:
    """Deliver as providers do: again, while the broker is too slow."""
    status = 503
    while status == 503:
        answer = await ingest.post("/v1/webhooks/desk", orjson.dumps(SOLVED), SchemeName.ZENDESK, "desk.secret")
        status = answer.status_code
    assert status == 200


async def test_a_source_that_is_silent_against_its_own_rhythm_is_quiet_until_it_delivers_also_after_a_restart(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    write_moment(clock, MONDAY)
    settings = {"clock": f"file:{clock}"}
    ingest = await start_ingest(**settings)
    # Three weeks, Monday to Friday, in every second hour of the day.
    moments = [
        MONDAY + timedelta(days=7 * week + day, hours=hour)
        for week in range(3)
        for day in range(5)
        for hour in range(0, 8, 2)
    ]
    for moment in moments:
        write_moment(clock, moment)
        await deliver(ingest)
    friday = moments[-1]
    assert (await desk(ingest))["quiet"] is False
    # A weekend says nothing; a Monday without a word does.
    write_moment(clock, friday + timedelta(days=2, hours=12))
    assert (await desk(ingest))["quiet"] is False
    write_moment(clock, friday + timedelta(days=4))
    said = await desk(ingest)
    assert said["quiet"] is True
    assert friday < datetime.fromisoformat(said["expected_by"]) <= datetime.fromisoformat(said["unusual_from"])
    assert 'tenure_source_quiet{source="desk"} 1.0' in (await ingest.operations.get("/metrics")).text
    await ingest.stop()
    settings["database_url"] = ingest.settings.database_url
    again = await start_ingest(**settings)
    assert (await desk(again))["quiet"] is True
    await deliver(again)
    assert (await desk(again))["quiet"] is False
    await again.stop()
    # While nobody was there to open, nobody was silent.
    write_moment(clock, friday + timedelta(days=30))
    late = await start_ingest(**settings)
    assert (await desk(late))["quiet"] is False
