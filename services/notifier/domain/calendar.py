"""Business time: working hours of a person on weekdays, holidays of a region left out."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

from contracts.accounts import WorkingHours

_MINUTES_A_DAY = 1440
_OFFICE_WEEKDAYS = (0, 1, 2, 3, 4)
_OFFICE_START, _OFFICE_END = 540, 1020


def zone_of(hours: WorkingHours | None, otherwise: ZoneInfo) -> ZoneInfo:
    """Return the person's time zone; `otherwise` where none is given or its name is not known here."""
    return otherwise if hours is None else zone_named(hours.time_zone, otherwise)


def zone_named(name: str, otherwise: ZoneInfo) -> ZoneInfo:
    """Return the time zone of this name; `otherwise` where it is empty or not known here."""
    try:
        return ZoneInfo(name) if name else otherwise
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as Europe, is an OSError
        return otherwise


def business_day_minutes(hours: WorkingHours | None) -> int:
    """Return how many minutes one business day has."""
    start, end = _span(hours)
    return end - start


def after_business_days(start: datetime, days: int, hours: WorkingHours | None, otherwise: ZoneInfo) -> datetime:
    """Return the moment at which `days` business days of working time have passed since `start` (aware), in UTC.

    Monday 10:00 + 1 is Tuesday 10:00; what comes outside of working hours starts with the next ones. Without `hours`
    the office hours Monday to Friday 9 to 17 of `otherwise` hold.
    """
    remaining = timedelta(minutes=days * business_day_minutes(hours))
    reached = start.astimezone(UTC)
    for opens, closes in _working_spans(start, hours, otherwise):
        begins = max(opens, reached)
        if begins >= closes:
            continue
        if closes - begins >= remaining:
            return begins + remaining
        remaining -= closes - begins
    raise AssertionError("unreachable: every year has working days")


def _span(hours: WorkingHours | None) -> tuple[int, int]:
    if hours is None or hours.start_minute >= hours.end_minute:
        return _OFFICE_START, _OFFICE_END
    return hours.start_minute, hours.end_minute


def _working_spans(
    start: datetime, hours: WorkingHours | None, otherwise: ZoneInfo
) -> Iterator[tuple[datetime, datetime]]:
    zone = zone_of(hours, otherwise)
    weekdays = (hours.weekdays if hours else ()) or _OFFICE_WEEKDAYS
    opening, closing = _span(hours)
    region = hours.holidays if hours else None
    day = start.astimezone(zone).date()
    while True:
        if day.weekday() in weekdays and not is_holiday(day, region):
            yield _moment(day, opening, zone), _moment(day, closing, zone)
        day += timedelta(days=1)


def _moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    if minute == _MINUTES_A_DAY:
        day, minute = day + timedelta(days=1), 0
    # Combined as wall time and then converted: a day on which clocks change still opens at nine.
    return datetime.combine(day, time(minute // 60, minute % 60), zone).astimezone(UTC)


def is_holiday(day: date, region: str | None) -> bool:
    """Say whether `day` is a public holiday of `region` ("DE", "DE-BY"); regions that nobody knows have none."""
    return region is not None and day in _holidays(region, day.year)


@lru_cache(maxsize=512)
def _holidays(region: str, year: int) -> frozenset[date]:
    country, _, subdivision = region.partition("-")
    try:
        found = holidays.country_holidays(country, subdiv=subdivision or None, years=year)
    except (NotImplementedError, TypeError):  # the other: what is no country, and something else in that library
        return frozenset()
    return frozenset(found)
