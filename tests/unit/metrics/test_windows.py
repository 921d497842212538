"""Buckets and running sums: whatever enters, leaves and slides, they equal a sum over days."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.days import CompanyDays
from services.metrics.domain.windows import ADDITIVE, LENGTHS, Bucket, Sums, edges, next_change, summed

TODAY = date(2026, 3, 2)
days = st.integers(-2, 800).map(lambda age: TODAY - timedelta(days=age))
buckets = st.builds(
    lambda count, amount: Bucket([count] * len(ADDITIVE), {"EUR": amount}),
    st.integers(-3, 3),
    st.decimals(min_value=-1000, max_value=1000, places=2),
)
steps = st.lists(st.one_of(st.tuples(days, buckets), st.integers(0, 40)), max_size=30)


@given(steps)
def test_running_sums_equal_sums_over_days_whatever_slides_in_between(
    steps: Sequence[tuple[date, Bucket] | int],
) -> None:
    sums, stored = Sums(TODAY), dict[date, Bucket]()
    for step in steps:
        if isinstance(step, int):
            day = sums.as_of + timedelta(days=step)
            needed = edges(sums.as_of, day)
            sums.slide(day, {on: bucket for on, bucket in stored.items() if on in needed})
        else:
            sums.include(*step)
            stored.setdefault(step[0], Bucket()).add(step[1])
    for length in LENGTHS:
        inside = [bucket for on, bucket in stored.items() if 0 <= (sums.as_of - on).days < length]
        assert [sums.count(metric, length) for metric in range(len(ADDITIVE))] == [
            sum(bucket.counts[metric] for bucket in inside) for metric in range(len(ADDITIVE))
        ]
        assert sums.amount("EUR", length) == sum((bucket.money["EUR"] for bucket in inside), Decimal(0))


@given(days, days)
def test_between_two_changes_the_sums_stay(day: date, as_of: date) -> None:
    bucket = Bucket([1] * len(ADDITIVE))
    change = next_change(day, as_of)
    last = as_of + timedelta(days=800) if change is None else change - timedelta(days=1)
    assert summed([(day, bucket)], as_of).counts == summed([(day, bucket)], last).counts
    if change is not None:
        assert change > as_of
        assert summed([(day, bucket)], last).counts != summed([(day, bucket)], change).counts


def test_a_day_is_the_companys_day_also_where_the_clocks_change() -> None:
    berlin = CompanyDays(ZoneInfo("Europe/Berlin"))
    spring, autumn = date(2026, 3, 29), date(2026, 10, 25)
    length = {day: berlin.end(day) - berlin.end(day - timedelta(days=1)) for day in (spring, autumn)}
    assert length == {spring: timedelta(hours=23), autumn: timedelta(hours=25)}
    for day in (spring, autumn):
        end = berlin.end(day)
        assert berlin.day(end - timedelta(microseconds=1)) == day
        assert berlin.day(end) == day + timedelta(days=1)
    assert berlin.day(datetime.fromisoformat("2026-03-01T23:30:00+00:00")) == date(2026, 3, 2)
