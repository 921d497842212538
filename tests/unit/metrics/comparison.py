"""Holds a published state against the fold."""

from contracts.kpis import AccountKpis
from services.metrics.domain.fold import AccountFold


def check(state: AccountKpis, expected: AccountFold) -> None:
    """Assert that every value of `state` is what the fold says."""
    values = {(value.kpi, value.window, value.currency): (value.value, value.previous) for value in state.values}
    wanted = dict(expected.values)
    assert {key: pair for key, pair in values.items() if wanted.get(key) != pair} == {}
    assert values.keys() == wanted.keys()
    for value in state.values:
        both = value.value is not None and value.previous is not None
        assert (value.change is not None) == both
    touches = {
        (touch.sort, touch.touch_class, touch.role): (touch.at, touch.interaction_id) for touch in state.last_touches
    }
    assert touches == expected.last_touches
    items = [
        (item.since, item.interaction_id, item.kind, item.contact_id or item.priority) for item in state.open_items
    ]
    assert items == list(expected.open_items)
    rhythm = state.order_rhythm
    assert (rhythm.orders, rhythm.last_order_id, rhythm.gaps, rhythm.p90_gap_days) == (
        expected.orders,
        expected.last_order,
        expected.gaps,
        expected.p90_gap_days,
    )
    assert state.tickets_norm_30d == expected.tickets_norm
    assert state.history_since == expected.history_since
