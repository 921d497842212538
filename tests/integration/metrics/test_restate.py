"""Figures on a real database equal the fold from scratch."""

from tests.integration.metrics.conftest import Desk
from tests.unit.metrics.builders import ACCOUNT, MARIA, at, mail, order, ticket, withdrawn


async def test_one_mail_becomes_an_account_state(desk: Desk) -> None:
    [state] = await desk.apply([mail(1, at("2026-03-02 08:00"), people=[(MARIA, "from")])], at("2026-03-02 09:00"))
    values = {(value.kpi, value.window): value.value for value in state.values}
    assert state.account_id == ACCOUNT
    assert values["touches_in", 7] == 1
    assert values["touches_out", 7] == 0
    assert state.open_items[0].kind == "unanswered_mail"
    assert state.open_items[0].contact_id == MARIA
    assert [touch.sort for touch in state.last_touches] == ["inbound"]


async def test_the_same_again_publishes_nothing(desk: Desk) -> None:
    first = mail(1, at("2026-03-02 08:00"))
    assert await desk.apply([first], at("2026-03-02 09:00"))
    assert not await desk.apply([first], at("2026-03-02 10:00"))


async def test_a_withdrawal_restates(desk: Desk) -> None:
    states = [order(1, at("2026-03-01 08:00"), "12.5"), ticket(2, at("2026-02-01 08:00"), at("2026-02-01 10:00"))]
    [state] = await desk.apply(states, at("2026-03-02 09:00"))
    values = {(value.kpi, value.window): value.value for value in state.values}
    assert str(values["net_revenue", 7]) == "12.50"
    assert str(values["resolution_hours_p90", 30]) == "2.0000"
    [state] = await desk.apply([withdrawn(state, 2) for state in states], at("2026-03-02 09:00"))
    assert {value.value for value in state.values} == {0, None}
    assert state.history_since is None


async def test_a_reply_within_fourteen_days_is_two_way_also_when_it_comes_in_a_later_batch(desk: Desk) -> None:
    await desk.apply([mail(1, at("2026-02-18 09:00"), "out", people=[(MARIA, "to")])], at("2026-02-18 10:00"))
    [state] = await desk.apply([mail(2, at("2026-03-02 08:00"), people=[(MARIA, "from")])], at("2026-03-02 09:00"))
    assert {touch.sort for touch in state.last_touches} == {"outbound", "inbound", "two_way"}


async def test_a_late_answer_of_long_ago_closes_what_waited(desk: Desk) -> None:
    asked, later = at("2025-10-01 09:00"), at("2026-03-02 09:00")
    [state] = await desk.apply([mail(1, asked, people=[(MARIA, "from")], touch_class="support")], later)
    assert len(state.open_items) == 1
    [state] = await desk.apply([mail(2, at("2025-11-20 09:00"), "out", people=[(MARIA, "to")])], later)
    assert state.open_items == ()
    assert {touch.touch_class for touch in state.last_touches if touch.sort == "outbound"} == {"support"}


async def test_counts_of_a_version_that_knew_one_figure_less_are_read_as_if_a_zero_followed(desk: Desk) -> None:
    now = at("2026-03-02 09:00")
    await desk.apply([mail(1, at("2026-03-02 08:00")), order(2, at("2026-03-02 08:00"))], now)
    # orders are the last figure of each array
    await desk.pool.execute("update bucket set counts = trim_array(counts, 1)")
    await desk.pool.execute("update account_state set counts = trim_array(counts, 9)")
    [state] = await desk.apply([order(3, at("2026-03-02 08:30"))], now)
    values = {value.kpi: str(value.value) for value in state.values if value.window == 7}
    assert (values["touches_in"], values["orders"]) == ("1", "1")
    assert await desk.pool.fetchval("select counts from bucket") == [0, 1, 0, 0, 0, 1]
