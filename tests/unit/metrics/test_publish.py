"""The bytes that are published say what the figures say, and differ only when these do."""

from datetime import date, timedelta
from decimal import Decimal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from contracts.kpis import AccountKpis
from services.metrics.domain.figures import Figure, of_account
from services.metrics.domain.numbers import hours
from services.metrics.domain.publish import content, envelope_of
from services.metrics.domain.state import AccountState, Item, Rhythm, Touch
from services.metrics.domain.windows import ADDITIVE, WINDOWS, Bucket, Sums
from tests.unit.metrics.builders import ACCOUNT, MARIA, at, uid

TODAY = date(2026, 3, 2)
amounts = st.sampled_from(["0", "12.30", "-12.30", "5", "0.001", "1E+3", "0.00"]).map(Decimal)
buckets = st.builds(
    Bucket,
    st.lists(st.integers(0, 3), min_size=len(ADDITIVE), max_size=len(ADDITIVE)),
    st.dictionaries(st.sampled_from(["EUR", "USD"]), amounts),
)


@st.composite
def states(draw: st.DrawFn) -> AccountState:
    """A state with whatever may be in it."""
    sums = Sums(TODAY)
    for age, bucket in draw(st.lists(st.tuples(st.integers(0, 800), buckets), max_size=8)):
        sums.include(TODAY - timedelta(days=age), bucket)
    state = AccountState(ACCOUNT, sums)
    first = draw(st.one_of(st.none(), st.integers(0, 800)))
    if first is not None:
        state.rhythm = Rhythm(1, at("2026-01-01 10:00"), uid(9), 2, Decimal("3.5000"), TODAY - timedelta(days=first))
    durations = st.lists(st.integers(0, 10**10), min_size=1, max_size=3).map(hours)
    state.hours = [draw(st.one_of(st.none(), durations)) for _ in range(2 * len(WINDOWS))]
    state.opened = [[uid(1)] for _ in WINDOWS]
    state.since = draw(st.sampled_from([None, date(2025, 1, 1)]))
    if draw(st.booleans()):
        state.items = [Item("unanswered_mail", uid(5), "mail", at("2026-03-01 10:00"), MARIA, None)]
        state.touches = {("inbound", "routine", bit): Touch(at("2026-03-01 10:00"), uid(5)) for bit in (None, 0, 11)}
    return state


def said(figure: Figure) -> dict[str, object]:
    """What the bytes must say about a value."""
    plain = {"kpi": figure.kpi, "window": figure.window, "currency": figure.currency}
    for name in ("value", "previous", "change"):
        value = getattr(figure, name)
        plain[name] = None if value is None else str(value)
    return {name: value for name, value in plain.items() if value is not None}


@given(states())
def test_the_published_values_are_the_figures_to_the_last_digit(state: AccountState) -> None:
    body, _ = content(state)
    published = orjson.loads(envelope_of(state, body, at("2026-03-02 10:00")))
    values = [{name: value for name, value in one.items() if name != "evidence"} for one in published["values"]]
    assert values == [said(figure) for figure in of_account(state)]


@given(states())
def test_what_is_published_can_be_read(state: AccountState) -> None:
    body, _ = content(state)
    read = AccountKpis.model_validate_json(envelope_of(state, body, at("2026-03-02 10:00")))
    assert (read.account_id, read.as_of_day, read.history_since) == (ACCOUNT, TODAY, state.history_since)
    assert [item.interaction_id for item in read.open_items] == [item.interaction_id for item in state.items]
    assert len(read.last_touches) == len(state.touches)
    for value in read.values:
        assert (value.evidence is not None) == (value.kpi == "tickets_opened" and bool(value.value))


def test_a_day_that_passes_is_by_itself_no_news() -> None:
    state = AccountState(ACCOUNT, Sums(TODAY))
    state.sums.include(TODAY, Bucket([0, 0, 1, 1, 0, 0]))
    _, before = content(state)
    state.sums.slide(TODAY + timedelta(days=1), {})
    body, after = content(state)
    assert before == after
    assert b"as_of=2026-03-03" in body
    state.account_version += 1
    assert content(state)[1] != before
