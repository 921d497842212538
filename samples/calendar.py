"""The days of the story. Moments are made in the company's time zone and are aware."""

from __future__ import annotations

import random
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from samples.company import TIME_ZONE

ZONE = ZoneInfo(TIME_ZONE)
HISTORY_BEGINS = date(2025, 1, 1)
HISTORY_ENDS = date(2026, 3, 1)
LIVE_DAY = date(2026, 3, 2)


def moment(day: date, clock: str) -> datetime:
    """That day at that time of the company's clocks, such as "09:30" or "09:30:15"."""
    return datetime.combine(day, time.fromisoformat(clock), ZONE)


IMPORTED_AT = moment(LIVE_DAY, "06:00")
"""When history is imported and declared finished: before anybody is at work."""

RULES_WAKE_AT = moment(LIVE_DAY, "06:05")
"""Rules look at an account strictly after its history was declared finished."""


def next_working_day(day: date) -> date:
    """`day` itself, or the Monday after a weekend."""
    return day + timedelta(days=max(0, 7 - day.weekday())) if day.weekday() >= 5 else day  # noqa: PLR2004 - Saturday


def working_moment(chance: random.Random, day: date, earliest: int = 9, latest: int = 15) -> datetime:
    """Some second of business hours on `day`, or on the Monday after it."""
    second = chance.randrange(earliest * 3600, latest * 3600)
    return datetime.combine(next_working_day(day), time(0), ZONE) + timedelta(seconds=second)
