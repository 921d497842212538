"""The rhythm of a source: learned from hours in which something came, and silences measured by it."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.rhythm import (
    LEAST_ACTIVE_HOURS,
    WINDOW_WEEKS,
    NotYet,
    Rhythm,
    hour_of,
    judge,
    learn,
    moment_of,
    united,
    weeks_of,
)

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 6, 1, tzinfo=BERLIN)

hours_of_weeks = st.lists(st.integers(0, 10 * 168), min_size=1, max_size=400).map(
    lambda hours: [MONDAY + timedelta(hours=hour) for hour in hours]
)


def office(weeks: int, begin: datetime = MONDAY, hours: range = range(9, 17)) -> list[datetime]:
    """Something in every business hour of so many weeks."""
    return [
        begin + timedelta(days=7 * week + day, hours=hour)
        for week in range(weeks)
        for day in range(5)
        for hour in hours
    ]


def learned(moments: list[datetime]) -> Rhythm:
    rhythm = learn(weeks_of(moments, BERLIN))
    assert isinstance(rhythm, Rhythm)
    return rhythm


def test_a_source_with_few_deliveries_has_no_rhythm_yet() -> None:
    few = [MONDAY + timedelta(days=day) for day in range(10)]
    assert learn(weeks_of(few, BERLIN)) == NotYet(active_hours=10, days=9)
    assert learn({}) == NotYet(0, 0)
    busy_but_new = office(1)
    assert isinstance(learn(weeks_of(busy_but_new, BERLIN)), NotYet)


def test_a_burst_of_a_thousand_counts_as_one_hour() -> None:
    burst = [MONDAY + timedelta(seconds=second) for second in range(1000)]
    assert learn(weeks_of(burst, BERLIN)) == NotYet(1, 0)


def test_a_busy_source_is_quiet_after_some_business_hours_and_never_at_night_or_on_a_weekend() -> None:
    moments = office(6)
    rhythm, last = learned(moments), moments[-1]
    saturday, monday_morning = last + timedelta(hours=20), last + timedelta(days=2, hours=17)
    assert not judge(rhythm, last, saturday, BERLIN).quiet
    assert not judge(rhythm, last, monday_morning, BERLIN).quiet
    found = judge(rhythm, last, last + timedelta(days=2, hours=21), BERLIN)
    assert found.quiet
    assert found.expected_by is not None
    assert found.unusual_from is not None
    assert found.expected_by.weekday() == found.unusual_from.weekday() == 0
    assert 9 <= found.expected_by.hour <= found.unusual_from.hour < 13


def test_a_source_that_delivers_once_a_week_is_not_quiet_after_three_days() -> None:
    weekly = [MONDAY + timedelta(weeks=week, hours=hour) for week in range(8) for hour in (6, 7, 8)]
    rhythm, last = learned(weekly), weekly[-1]
    assert not judge(rhythm, last, last + timedelta(days=3), BERLIN).quiet
    assert judge(rhythm, last, last + timedelta(days=22), BERLIN).quiet


def test_a_holiday_says_nothing() -> None:
    moments = office(6)
    rhythm, last = learned(moments), moments[-1]
    monday = (last + timedelta(days=3)).date()
    evening = last + timedelta(days=3, hours=2)
    assert judge(rhythm, last, evening, BERLIN).quiet
    assert not judge(rhythm, last, evening, BERLIN, {monday}).quiet
    assert judge(rhythm, last, evening + timedelta(days=1), BERLIN, {monday}).quiet


def test_one_outage_does_not_make_us_deaf_but_repeated_long_silences_are_the_sources_own() -> None:
    whole = office(8)
    outage = [one for one in whole if not MONDAY + timedelta(weeks=3) <= one < MONDAY + timedelta(weeks=3, days=4)]
    assert learned(outage).tolerance < 3 * learned(whole).tolerance
    # Every other Tuesday and Wednesday nothing comes, ever.
    pauses = [one for one in whole if not (one.weekday() in {1, 2} and (one - MONDAY).days // 7 % 2)][:-16]
    rhythm, monday = learned(pauses), pauses[-1]
    assert monday.weekday() == 0
    assert not judge(rhythm, monday, monday + timedelta(days=2, hours=2), BERLIN).quiet
    assert judge(learned(whole), monday, monday + timedelta(days=2, hours=2), BERLIN).quiet


def test_only_the_last_weeks_count() -> None:
    then = office(4)
    now = office(WINDOW_WEEKS + 1, MONDAY + timedelta(weeks=20), range(22, 24))
    assert learned(then + now) == learned(now)


@given(moments=hours_of_weeks, cut=st.integers(0, 400))
def test_the_order_of_deliveries_repetitions_and_replicas_change_nothing(moments: list[datetime], cut: int) -> None:
    once = weeks_of(moments, BERLIN)
    assert weeks_of([*reversed(moments), *moments], BERLIN) == once
    assert united(weeks_of(moments[:cut], BERLIN), weeks_of(moments[cut:], BERLIN)) == once
    assert united(once, once) == once


@given(moments=hours_of_weeks, ahead=st.lists(st.integers(0, 60 * 24), min_size=2, max_size=6))
def test_a_silence_only_grows_more_unusual_until_something_comes(moments: list[datetime], ahead: list[int]) -> None:
    rhythm = learn(weeks_of(moments, BERLIN))
    if isinstance(rhythm, NotYet):
        assert rhythm.active_hours < LEAST_ACTIVE_HOURS or rhythm.days < 14
        return
    last = max(moments)
    found = [judge(rhythm, last, last + timedelta(hours=hours), UTC) for hours in sorted(ahead)]
    assert all(before.quiet <= after.quiet for before, after in pairwise(found))
    assert len({one.unusual_from for one in found}) == 1
    if found[0].unusual_from is not None and found[0].expected_by is not None:
        assert last <= found[0].expected_by + timedelta(hours=1) <= found[0].unusual_from + timedelta(hours=1)


@given(moments=hours_of_weeks, begin=st.integers(0, 1000), length=st.floats(0, 2000), off=st.sets(st.integers(0, 90)))
def test_what_is_reached_is_where_the_surprise_is(
    moments: list[datetime], begin: int, length: float, off: set[int]
) -> None:
    rhythm = learn(weeks_of(moments, BERLIN))
    if isinstance(rhythm, NotYet):
        return
    days_off = {date(2026, 6, 1) + timedelta(days=day) for day in off}
    first = hour_of(MONDAY, BERLIN) + begin
    surprise = rhythm.between(first, first + length, days_off)
    reached = rhythm.reached(first, surprise, days_off)
    if reached is None:
        assert length > 180 * 24
    else:
        assert abs(rhythm.between(first, reached, days_off) - surprise) < 1e-6
        assert reached <= first + length + 1e-6


@given(hours=st.integers(0, 500_000))
def test_an_hour_of_the_wall_clock_is_a_moment_and_back(hours: int) -> None:
    assert hour_of(moment_of(hours, UTC), UTC) == hours
