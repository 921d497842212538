"""Days of the company's one time zone. A day has 23 or 25 hours where the clocks change."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

ONE_DAY = timedelta(days=1)


class CompanyDays:
    """Translates between moments (aware) and days of `zone`."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        # the same moment is asked for several times in a batch
        self.day = lru_cache(maxsize=8192)(self._day)
        """`day(moment)`: the day on which it falls."""
        self.end = lru_cache(maxsize=4096)(self._end)
        """`end(day)`: the first moment after `day`, aware, in UTC."""

    def _day(self, moment: datetime) -> date:
        return moment.astimezone(self._zone).date()

    def _end(self, day: date) -> datetime:
        return datetime.combine(day + ONE_DAY, time.min, self._zone).astimezone(UTC)
