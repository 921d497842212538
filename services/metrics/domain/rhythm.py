"""The rhythm of an account's orders, kept up as orders come and go: what one costs does not grow with the history.

How often each gap between consecutive order days occurs is kept beside what is published. A day that gets its first
order, or loses its last, splits a gap or joins two; its neighbours tell which. There are fewer different gaps than
days, and all numbers are those of a computation from scratch (`of_days`).
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from services.metrics.domain.facts import ORDER, Fact
from services.metrics.domain.numbers import ratio
from services.metrics.domain.state import Rhythm

Neighbours = Mapping[date, tuple[date | None, date | None]]
"""By day: the order days before and after it that stand now."""


class OrderChange(NamedTuple):
    """What became of an account's orders in one transaction, up to the day of its sums."""

    added: int
    """Orders more than before; may be negative."""
    days: Mapping[date, bool]
    """Days that got their first order (True) or lost their last (False)."""
    facts: Sequence[tuple[Fact | None, Fact]]
    """Each order that was met, as it was and as it is."""


def of_days(orders: int, last: tuple[datetime, str], order_days: Sequence[date]) -> Rhythm:
    """Return the rhythm of orders on ascending distinct days, from scratch; `last`: the last order's moment and id."""
    spans = Counter((later - earlier).days for earlier, later in pairwise(order_days))
    return _rhythm(orders, last, spans, order_days[0])


def loses_last(rhythm: Rhythm, change: OrderChange, as_of: date) -> bool:
    """Say whether the order that was the last stands no longer, or elsewhere: then the rows must be asked."""
    return any(
        old is not None
        and old.interaction_id == rhythm.last_id
        and (not _stands(new, as_of) or (old.began_at, old.day) != (new.began_at, new.day))
        for old, new in change.facts
    )


def appended(change: OrderChange, last_day: date | None) -> Neighbours | None:
    """Return the neighbours of days that all come after the last order day; None where some do not."""
    days = sorted(change.days)
    if not all(change.days.values()) or (last_day is not None and days and days[0] <= last_day):
        return None
    around = [last_day, *days, None]
    return {day: (around[place], around[place + 2]) for place, day in enumerate(days)}


def grown(rhythm: Rhythm, change: OrderChange, last_day: date | None, as_of: date) -> Rhythm | None:
    """Return the rhythm after orders that are all new, on at most one new day, which all others precede or follow.

    That is how nearly all of them come. None: they came otherwise, see `moved`. `last_day`: of the last order.
    """
    if len(change.days) > 1:
        return None
    last = None if rhythm.last_at is None or rhythm.last_id is None else (rhythm.last_at, rhythm.last_id)
    for old, new in change.facts:
        if old is not None:
            return None
        if _stands(new, as_of) and new.began_at is not None:
            placed = new.began_at, new.interaction_id
            last = placed if last is None or placed > last else last
    if last is None:
        return rhythm
    first, gaps, p90, spans = rhythm.first_day, rhythm.gaps, rhythm.p90_gap_days, rhythm.spans
    for day, got in change.days.items():
        if not got:
            return None
        if first is None or last_day is None:
            first = day
            continue
        if first <= day <= last_day:
            return None
        gap = (day - last_day if day > last_day else first - day).days
        first, gaps, spans = min(first, day), gaps + 1, _counted_in(spans, gap)
        p90 = _p90(spans, gaps)
    return Rhythm(rhythm.orders + change.added, *last, gaps, p90, first, spans)


def _counted_in(spans: Sequence[tuple[int, int]], gap: int) -> tuple[tuple[int, int], ...]:
    place = bisect_left(spans, (gap, 0))
    if place < len(spans) and spans[place][0] == gap:
        return *spans[:place], (gap, spans[place][1] + 1), *spans[place + 1 :]
    return *spans[:place], (gap, 1), *spans[place:]


def _p90(spans: Iterable[tuple[int, int]], number: int) -> Decimal | None:
    """Return the 90th percentile of so many gaps, as `numbers.percentile` says it of all of them; None of none."""
    whole, rest = divmod(9 * (number - 1), 10)
    low, passed = None, 0
    for gap, count in spans:
        passed += count
        if low is None and passed > whole:
            low = gap
        if low is not None and passed > whole + (rest > 0):
            return _between(low, gap, rest)
    return None


@lru_cache(maxsize=4096)
def _between(low: int, high: int, tenths: int) -> Decimal:
    return ratio(10 * low + tenths * (high - low), 10)


def is_counted(rhythm: Rhythm) -> bool:
    """Say whether the gaps are in `spans`: all of them are, or none where a version wrote the row that counts none."""
    return bool(rhythm.spans) or not rhythm.gaps


def moved(
    rhythm: Rhythm, change: OrderChange, around: Neighbours, last: tuple[datetime, str] | None, as_of: date
) -> Rhythm:
    """Return the rhythm after `change`; `last`: the last order, where `loses_last`, else None."""
    orders = rhythm.orders + change.added
    if orders <= 0:
        return Rhythm()
    if last is None:
        last = max(_moments(rhythm, change, as_of))
    first = _first_day(rhythm, change, around)
    return _rhythm(orders, last, _spans(rhythm, change, around), first)


def _moments(rhythm: Rhythm, change: OrderChange, as_of: date) -> Iterable[tuple[datetime, str]]:
    if rhythm.last_at is not None and rhythm.last_id is not None:
        yield rhythm.last_at, rhythm.last_id
    for _, new in change.facts:
        if _stands(new, as_of) and new.began_at is not None:
            yield new.began_at, new.interaction_id


def _stands(fact: Fact, as_of: date) -> bool:
    return bool(fact.effects & ORDER) and fact.day is not None and fact.day <= as_of


def _first_day(rhythm: Rhythm, change: OrderChange, around: Neighbours) -> date:
    days = [day for day, got in change.days.items() if got]
    if rhythm.first_day is not None:
        if change.days.get(rhythm.first_day, True):
            days.append(rhythm.first_day)
        elif (following := around[rhythm.first_day][1]) is not None:
            days.append(following)
    return min(days)


def _spans(rhythm: Rhythm, change: OrderChange, around: Neighbours) -> Counter[int]:
    """Split and join gaps day by day, in ascending order: before a day all is as it is, after it all as it was."""
    spans = Counter(dict(rhythm.spans))
    following = _following(change.days, around)
    for day in sorted(change.days):
        before, after = around[day][0], following[day]
        sign = 1 if change.days[day] else -1
        if before is not None:
            spans[(day - before).days] += sign
        if after is not None:
            spans[(after - day).days] += sign
        if before is not None and after is not None:
            spans[(after - before).days] -= sign
    return +spans


def _following(days: Mapping[date, bool], around: Neighbours) -> dict[date, date | None]:
    """Return for each day the next one that had orders before the change."""
    standing: dict[date, date | None] = {}
    following: dict[date, date | None] = {}
    lost: date | None = None
    for day in sorted(days, reverse=True):
        after = around[day][1]
        standing[day] = standing[after] if after is not None and days.get(after) else after
        following[day] = min((one for one in (standing[day], lost) if one is not None), default=None)
        if not days[day]:
            lost = day
    return following


def _rhythm(orders: int, last: tuple[datetime, str], spans: Counter[int], first: date) -> Rhythm:
    counted = tuple(sorted(spans.items()))
    number = spans.total()
    return Rhythm(orders, *last, number, _p90(counted, number), first, counted)
