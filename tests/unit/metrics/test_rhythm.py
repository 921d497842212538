"""The order rhythm that is kept up is the one of a computation from scratch, whatever comes and goes."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.metrics.domain.facts import ORDER, Fact
from services.metrics.domain.numbers import percentile
from services.metrics.domain.rhythm import (
    Neighbours,
    OrderChange,
    appended,
    grown,
    is_counted,
    loses_last,
    moved,
    of_days,
)
from services.metrics.domain.state import Rhythm

_START = date(2026, 1, 1)
_AS_OF = _START + timedelta(days=40)
_ACCOUNT = "0190a000-0000-7000-8000-000000000001"

_orders = st.dictionaries(st.integers(0, 12), st.none() | st.integers(0, 45), max_size=8)
"""By number of the order: the day on which it stands after a step, None: it was cancelled or withdrawn."""


def _moment(day: int) -> datetime:
    return datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)


def _fact(number: int, day: int | None) -> Fact:
    identity = f"0190a000-0000-7000-8000-{number:012x}"
    if day is None:
        return Fact(_ACCOUNT, identity, 1, present=False, kind="order", at=_moment(0))
    on = _START + timedelta(days=day)
    return Fact(
        _ACCOUNT, identity, 1, present=True, kind="order", at=_moment(day), day=on, effects=ORDER, began_at=_moment(day)
    )


def _last(facts: Mapping[int, Fact]) -> tuple[datetime, str]:
    return max((fact.began_at or _moment(0), fact.interaction_id) for fact in _standing(facts))


def _standing(facts: Mapping[int, Fact]) -> list[Fact]:
    return [fact for fact in facts.values() if fact.effects & ORDER and fact.day is not None and fact.day <= _AS_OF]


def _scratch(facts: Mapping[int, Fact]) -> Rhythm:
    standing = _standing(facts)
    if not standing:
        return Rhythm()
    return of_days(len(standing), _last(facts), sorted({fact.day for fact in standing if fact.day is not None}))


def _days(facts: Mapping[int, Fact]) -> list[date]:
    return sorted({fact.day for fact in _standing(facts) if fact.day is not None})


def _around(days: list[date], flipped: Mapping[date, bool]) -> Neighbours:
    return {
        day: (
            days[bisect_left(days, day) - 1] if bisect_left(days, day) else None,
            days[bisect_right(days, day)] if bisect_right(days, day) < len(days) else None,
        )
        for day in flipped
    }


@given(st.lists(_orders, max_size=8))
def test_orders_that_come_move_and_go_leave_the_rhythm_of_all_that_stand(steps: list[dict[int, int | None]]) -> None:
    facts: dict[int, Fact] = {}
    rhythm = Rhythm()
    for step in steps:
        met = {number: (facts.get(number), _fact(number, day)) for number, day in step.items()}
        before = _days(facts)
        count = len(_standing(facts))
        facts |= {number: new for number, (_, new) in met.items()}
        after = _days(facts)
        flipped = {day: day in after for day in set(before) ^ set(after)}
        change = OrderChange(len(_standing(facts)) - count, flipped, list(met.values()))
        asked = _around(after, flipped)
        told = appended(change, before[-1] if before else None)
        assert told is None or told == asked
        quick = grown(rhythm, change, before[-1] if before else None, _AS_OF)
        last = _last(facts) if loses_last(rhythm, change, _AS_OF) and _standing(facts) else None
        rhythm = moved(rhythm, change, asked if told is None else told, last, _AS_OF)
        assert rhythm == _scratch(facts)
        assert quick in (None, rhythm)
        assert is_counted(rhythm)


@given(st.sets(st.integers(0, 400), min_size=2))
def test_the_gaps_of_a_rhythm_are_counted_as_they_lie_between_its_days(days: set[int]) -> None:
    ordered = [_START + timedelta(days=day) for day in sorted(days)]
    rhythm = of_days(len(days), (_moment(max(days)), "x"), ordered)
    gaps = Counter((later - earlier).days for earlier, later in pairwise(ordered))
    assert dict(rhythm.spans) == gaps
    assert rhythm.gaps == len(days) - 1
    assert rhythm.p90_gap_days == percentile(sorted(gaps.elements()), 9)


@given(st.permutations(range(8)), st.lists(st.integers(0, 40), min_size=8, max_size=8))
def test_orders_that_come_one_after_the_other_grow_the_rhythm_wherever_their_days_lie(
    places: list[int], days: list[int]
) -> None:
    facts: dict[int, Fact] = {}
    rhythm = Rhythm()
    for number in places:
        before = _days(facts)
        new = facts[number] = _fact(number, days[number])
        first = new.day is not None and new.day not in before
        change = OrderChange(1, {new.day: True} if new.day is not None and first else {}, [(None, new)])
        quick = grown(rhythm, change, before[-1] if before else None, _AS_OF)
        rhythm = _scratch(facts)
        between = first and bool(before) and new.day is not None and before[0] < new.day < before[-1]
        assert quick == (None if between else rhythm)


def test_a_rhythm_whose_gaps_an_earlier_version_did_not_count_is_not_taken_for_counted() -> None:
    days = [_START, _START + timedelta(days=3)]
    assert not is_counted(of_days(2, (_moment(3), "x"), days)._replace(spans=()))
