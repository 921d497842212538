"""When a delivery is tried again, and when it is given up. Real time: it is other people's servers that we wait for."""

from datetime import datetime, timedelta

GIVE_UP_AFTER = timedelta(hours=72)
"""A delivery is attempted at least so long before it becomes a dead end (guarantee G7)."""
_LONGEST = timedelta(hours=1)
LEFT_ALONE_AT_MOST = timedelta(days=1)


def next_attempt(
    attempts: int,
    first_tried_at: datetime,
    now: datetime,
    *,
    first: timedelta,
    luck: float,
    leave_alone: timedelta | None = None,
) -> datetime | None:
    """Return when to try again after `attempts` failures, the first of them at `first_tried_at`; None: give up.

    Whoever asks to be left alone (Retry-After) is, for a day at most.

    The wait doubles from `first` up to an hour; `luck` (0 to 1) spreads it over its second half, so that what failed
    together does not come back together. The last attempt is made at or after 72 hours.
    """
    if now - first_tried_at >= GIVE_UP_AFTER:
        return None
    # 2 ** 20 seconds is far beyond the longest wait; a bound keeps the power small.
    wait = min(first * 2 ** min(attempts - 1, 20), _LONGEST)
    spread: timedelta = wait * (0.5 + luck / 2)
    return now + max(spread, min(leave_alone or timedelta(), LEFT_ALONE_AT_MOST))
