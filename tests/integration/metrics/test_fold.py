"""Whatever the order, repetition and lateness, and however often days slide in between: the fold's figures."""

import asyncio
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.activity import Attribution
from deploy.databases import DatabaseAccess
from services.metrics.domain.fold import fold_account
from services.runtime.postgres import create_pool
from tests.integration.metrics.conftest import NO_SHRINKING, TABLES, Desk
from tests.unit.metrics.builders import ACCOUNT, BERLIN, MARIA, TOM, account, contact
from tests.unit.metrics.comparison import check
from tests.unit.metrics.histories import batches, histories

CHAMPION_UNTIL = date(2025, 12, 20)
COPY = account(
    version=7,
    contacts=(
        contact(MARIA, ("champion", date(2020, 1, 1), CHAMPION_UNTIL), "decision_maker"),
        contact(TOM, "champion", since=date(2025, 12, 1)),
    ),
)


def test_any_history_gives_the_figures_of_the_fold(database: Callable[[str], DatabaseAccess]) -> None:
    access = database("metrics")

    @settings(
        phases=NO_SHRINKING,
        max_examples=int(os.environ.get("TENURE_EXAMPLES", "60")),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        states = data.draw(histories())
        parts = data.draw(batches(states))
        copy_at = data.draw(st.integers(0, len(parts)))
        later = data.draw(st.sampled_from([0, 1, 6, 31, 100, 366, 800]))
        asyncio.run(_play(access, parts, copy_at, timedelta(days=later)))

    run()


async def _play(
    access: DatabaseAccess, parts: list[tuple[datetime, list[Attribution]]], copy_at: int, later: timedelta
) -> None:
    pool = await create_pool(access.worker, max_size=2)
    try:
        await pool.execute("; ".join(f"delete from {table}" for table in TABLES))  # noqa: S608 - constants
        desk = Desk(pool, access)
        seen: list[Attribution] = []
        copy = None
        for place, (now, states) in enumerate(parts):
            if place == copy_at:
                copy = COPY
                await desk.apply([COPY], now)
            await desk.slide(now)
            await desk.apply(states, now)
            seen += states
            check(desk.published[ACCOUNT], fold_account(seen, BERLIN.day(now), BERLIN, "EUR", copy))
        now += later
        await desk.slide(now)
        check(desk.published[ACCOUNT], fold_account(seen, BERLIN.day(now), BERLIN, "EUR", copy))
    finally:
        await pool.close()
