"""Several transactions at once, and a clock that steps: nothing is lost, nothing runs backwards."""

import asyncio
from datetime import timedelta

from services.metrics.domain.fold import fold_account
from services.metrics.handlers.loops import RollUps, Slides
from services.metrics.handlers.restate import Restatement
from services.metrics.store import rollups
from services.runtime.postgres import transaction
from tests.integration.metrics.conftest import METRICS_TABLES, Desk
from tests.integration.metrics.front import SteppedClock
from tests.unit.metrics.builders import ACCOUNT, BERLIN, OTHER, at, mail, order, ticket
from tests.unit.metrics.comparison import check

NOW = at("2026-03-02 12:00")


async def test_batches_of_several_processes_and_slides_at_once_give_the_fold(desk: Desk) -> None:
    states = [
        kind(number, NOW - timedelta(days=number % 40, minutes=number), account_id=account)
        for number in range(80)
        for kind in ((mail, order, ticket)[number % 3],)
        for account in (ACCOUNT, OTHER)
    ]
    await desk.apply(states[:20], NOW - timedelta(days=3))
    clock = SteppedClock(NOW)
    slides = Slides(pool=desk.pool, tables=METRICS_TABLES, days=BERLIN, currency="EUR", clock=clock, slid=lambda: None)
    parts = [states[offset::7] for offset in range(7)]
    await asyncio.gather(*(desk.handle(part, NOW) for part in parts), slides.step(), slides.step())
    while await slides.step():
        pass
    await desk.collect()
    for account in (ACCOUNT, OTHER):
        mine = [state for state in states if state.account_id == account]
        check(desk.published[account], fold_account(mine, BERLIN.day(NOW), BERLIN, "EUR"))
    assert (await slides.probe(NOW)).drained


async def test_today_never_runs_backwards_for_an_account(desk: Desk) -> None:
    states = [mail(1, at("2026-03-02 10:00")), mail(2, at("2026-03-01 10:00"))]
    await desk.apply(states[:1], NOW)
    [state] = await desk.apply(states[1:], NOW - timedelta(days=1))
    assert str(state.as_of_day) == "2026-03-02"
    check(state, fold_account(states, state.as_of_day, BERLIN, "EUR"))


async def test_a_day_that_changes_nothing_wakes_nobody(desk: Desk) -> None:
    await desk.apply([mail(1, at("2026-03-02 10:00"), reply_expected=False)], NOW)
    woken = []
    for days in range(1, 800):
        async with transaction(desk.pool) as connection:
            restatement = Restatement(connection, METRICS_TABLES, BERLIN, "EUR", NOW + timedelta(days=days))
            if await restatement.begin_due(10):
                woken.append(days)
                await restatement.finish(NOW, {})
    # when it leaves a window or the one before it, and when there are 90 days of history for a norm
    assert woken == [7, 14, 30, 60, 89, 90, 180, 365, 395, 730]


async def test_what_lies_ahead_counts_when_its_day_comes(desk: Desk) -> None:
    ahead = [mail(1, at("2026-03-03 09:00")), order(2, at("2026-03-03 10:00"))]
    [state] = await desk.apply(ahead, NOW)
    assert (state.open_items, state.last_touches, state.order_rhythm.orders, state.history_since) == ((), (), 0, None)
    [state] = await desk.slide(NOW + timedelta(days=1))
    assert (len(state.open_items), len(state.last_touches), state.order_rhythm.orders) == (1, 1, 1)
    assert str(state.history_since) == "2026-03-03"


async def test_roll_ups_follow_and_say_when_they_are_up_to_date(desk: Desk) -> None:
    loop = RollUps(desk.pool, rollups)
    await desk.apply([mail(1, at("2026-03-02 10:00"))], NOW)
    assert not (await loop.probe(NOW)).drained
    while not (await loop.probe(NOW)).drained:
        await loop.step()
    # the portfolio's row
    [row] = await desk.pool.fetch("select scope, counts from rollup")
    assert (row["scope"], row["counts"][:3]) == ("portfolio", [0, 1, 0])
