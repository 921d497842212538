"""A source's own rhythm: in which hours of the week it delivers, and how long a silence is unusual for this source.

What is kept is one bit for each hour of the company's clock in which something came: 21 bytes a week, the same whatever
the order of deliveries, and two replicas' bits are simply united. From these bits each hour of the week has a chance p
that something comes in it. A silence is as surprising as the hours are that it has lasted through: the sum of
-ln(1 - p). Nights and weekends of a source that sleeps then add nothing, and a burst of a thousand counts as one hour.

Hours are hours of the wall clock, counted since a Monday; twice a year one of them is missing or there twice, which
moves a judgement by an hour.
"""

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import cached_property
from itertools import accumulate, pairwise

HOURS = 168
"""Of a week."""
WINDOW_WEEKS = 8
"""So many weeks before the week of the last delivery are learned from. Nothing after it is: a silence cannot wear the
rhythm down that it is measured by."""
LEAST_ACTIVE_HOURS = 20
LEAST_DAYS = 14
EXPECTED = math.log(20)
"""By then something has come in all but one of twenty silences that begin like this one."""
UNUSUAL = math.log(1000)
"""A silence that lasts longer than this happens once in a thousand, if hours are independent of one another …"""
TIMES_WORST = 1.5
"""… and because they are not, it must also be so many times longer than the source's own long silences."""

_EPOCH = datetime(2001, 1, 1)  # noqa: DTZ001 - a Monday of the wall clock
_FIRST_WEEK = _EPOCH.date()
_MOST_CERTAIN = 0.95
_GROUP_WEIGHT = 1.0
"""What is known of the same hour on other days counts as one more observation."""
_WORKDAYS = 5
_DAYS_AHEAD = 182
_HOUR = timedelta(hours=1)

Weeks = Mapping[date, int]
"""Monday → bits; bit h is set when something came in hour h of that week, 0 is Monday 00:00 to 01:00."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """There is no rhythm to speak of: too few deliveries, or not for long enough."""

    active_hours: int
    """Of at least `LEAST_ACTIVE_HOURS`."""
    days: int
    """From the first to the last delivery that is known, of at least `LEAST_DAYS`."""


@dataclass(frozen=True)
class Rhythm:
    """What was learned of a source."""

    chances: tuple[float, ...]
    """By hour of the week, that something comes in it."""
    tolerance: float
    """A silence that surprises more is unusual for this source."""
    last_hour: int
    """The last hour in which something came: nothing later was learned from."""

    @cached_property
    def _sums(self) -> tuple[float, ...]:
        """Surprise from Monday 00:00 to the beginning of each hour of the week, and to its end."""
        return tuple(accumulate(map(_surprise, self.chances), initial=0.0))

    def _total(self, hour: float) -> float:
        """Surprise since the epoch, if nothing had ever come."""
        weeks, within = divmod(hour, HOURS)
        whole = int(within)
        part = within - whole
        return weeks * self._sums[HOURS] + self._sums[whole] + part * (self._sums[whole + 1] - self._sums[whole])

    def between(self, begin: float, end: float, days_off: Collection[date]) -> float:
        """Return how surprising it is that nothing came between two hours; days off say nothing."""
        if end <= begin:
            return 0.0
        surprise = self._total(end) - self._total(begin)
        for day in _days(begin, end):
            if _day(day) in days_off:
                surprise -= self._total(min(end, (day + 1) * 24)) - self._total(max(begin, day * 24))
        return max(surprise, 0.0)

    def reached(self, begin: float, surprise: float, days_off: Collection[date]) -> float | None:
        """Return the hour by which a silence since `begin` surprises so much; None: not within half a year."""
        left = surprise
        at = begin
        for _ in range(_DAYS_AHEAD):
            day = math.floor(at / 24)
            end = (day + 1) * 24.0
            of_day = 0.0 if _day(day) in days_off else self._total(end) - self._total(at)
            if of_day >= left:
                return self._within_day(at, left)
            left -= of_day
            at = end
        return None

    def _within_day(self, at: float, left: float) -> float:
        goal = self._total(at) + left
        weeks, within = divmod(goal, self._sums[HOURS])
        hour = min(bisect_right(self._sums, within) - 1, HOURS - 1)
        step = self._sums[hour + 1] - self._sums[hour]
        return max(weeks * HOURS + hour + ((within - self._sums[hour]) / step if step else 0.0), at)


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a silence compares with the source's rhythm. All moments are aware, in the company's zone."""

    expected_by: datetime | None
    """Something usually comes until then; None: it may take more than half a year."""
    unusual_from: datetime | None
    """From then on the silence is unusual for the source."""
    quiet: bool


def hour_of(moment: datetime, zone: tzinfo) -> float:
    """Return the hours of the wall clock since the epoch; `moment` is aware."""
    return (moment.astimezone(zone).replace(tzinfo=None) - _EPOCH) / _HOUR


def moment_of(hour: float, zone: tzinfo) -> datetime:
    """Return the moment at which the wall clock shows this hour, to the second."""
    return (_EPOCH + timedelta(seconds=round(hour * 3600))).replace(tzinfo=zone)


def weeks_of(moments: Iterable[datetime], zone: tzinfo) -> dict[date, int]:
    """Return the bits of aware moments at which something came."""
    weeks: dict[date, int] = {}
    for moment in moments:
        week, hour = divmod(math.floor(hour_of(moment, zone)), HOURS)
        monday = _FIRST_WEEK + timedelta(weeks=week)
        weeks[monday] = weeks.get(monday, 0) | 1 << hour
    return weeks


def united(one: Weeks, other: Weeks) -> dict[date, int]:
    """Return the bits of both."""
    return {week: one.get(week, 0) | other.get(week, 0) for week in {*one, *other}}


def learn(weeks: Weeks, days_off: Collection[date] = frozenset()) -> Rhythm | NotYet:
    """Return the rhythm of a source in which something came in these hours."""
    active = _active(weeks)
    days = (active[-1] - active[0]) // 24 if active else 0
    if len(active) < LEAST_ACTIVE_HOURS or days < LEAST_DAYS:
        return NotYet(len(active), days)
    rhythm = Rhythm(_chances(active), math.inf, active[-1])
    return Rhythm(rhythm.chances, max(UNUSUAL, TIMES_WORST * _worst(rhythm, active, days_off)), active[-1])


def judge(
    rhythm: Rhythm, last: datetime, now: datetime, zone: tzinfo, days_off: Collection[date] = frozenset()
) -> Judgement:
    """Compare the silence from the last delivery until `now` with the rhythm; the hour it came in is no silence."""
    begin = math.floor(hour_of(last, zone)) + 1
    expected = rhythm.reached(begin, EXPECTED, days_off)
    unusual = rhythm.reached(begin, rhythm.tolerance, days_off)
    return Judgement(
        None if expected is None else moment_of(expected, zone),
        None if unusual is None else moment_of(unusual, zone),
        quiet=unusual is not None and hour_of(now, zone) > unusual,
    )


def _active(weeks: Weeks) -> list[int]:
    """Return the hours in which something came, in the window of the last delivery, in order."""
    known = {week: bits for week, bits in weeks.items() if bits}
    if not known:
        return []
    first = max(known) - timedelta(weeks=WINDOW_WEEKS)
    return [
        (week - _FIRST_WEEK).days * 24 + hour
        for week, bits in sorted(known.items())
        if week >= first
        for hour in range(HOURS)
        if bits >> hour & 1
    ]


def _chances(active: list[int]) -> tuple[float, ...]:
    """Return the chance of each hour of the week, leaning a little on the same hour of other days."""
    came, seen = [0] * HOURS, [0] * HOURS
    for hour in active:
        came[hour % HOURS] += 1
    weeks, rest = divmod(active[-1] - active[0] + 1, HOURS)
    for place in range(HOURS):
        seen[place] = weeks + int((place - active[0]) % HOURS < rest)
    chances = []
    for place in range(HOURS):
        day, hour = divmod(place, 24)
        group = range(_WORKDAYS) if day < _WORKDAYS else range(_WORKDAYS, 7)
        others = [other * 24 + hour for other in group]
        usual = sum(came[one] for one in others) / max(sum(seen[one] for one in others), 1)
        chances.append((came[place] + _GROUP_WEIGHT * usual) / (seen[place] + _GROUP_WEIGHT))
    return tuple(chances)


def _worst(rhythm: Rhythm, active: list[int], days_off: Collection[date]) -> float:
    """Return the longest silence of all weeks but one: a single outage or holiday does not make us deaf."""
    by_week: dict[int, float] = {}
    for before, after in pairwise(active):
        surprise = rhythm.between(before + 1, after, days_off)
        week = before // HOURS
        by_week[week] = max(by_week.get(week, 0.0), surprise)
    longest = sorted(by_week.values(), reverse=True)
    return longest[1] if len(longest) > 1 else sum(longest)


def _surprise(chance: float) -> float:
    return -math.log1p(-min(chance, _MOST_CERTAIN))


def _days(begin: float, end: float) -> range:
    """Return the days that lie between two hours, counted since the epoch."""
    return range(math.floor(begin / 24), math.ceil(end / 24))


def _day(number: int) -> date:
    return _FIRST_WEEK + timedelta(days=number)
