"""Days on which the clocks are put back at midnight: the last hour of the day comes twice, the next day does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from contracts.values import Dated
from services.notifier.domain.rules import RULES, RuleVersion, judge
from services.notifier.domain.view import AccountView
from tests.unit.notifier.states import ANNA, LENA, LONG_AGO, account, anna, touched

# Where a day ends at 24:00 by putting the clocks back to 23:00: (zone, the first moment of the day after it).
MIDNIGHTS = [
    ("Africa/Cairo", datetime(2026, 10, 29, 22, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 4, 5, 4, tzinfo=UTC)),
    ("Asia/Beirut", datetime(2026, 10, 24, 22, tzinfo=UTC)),
]


@pytest.mark.parametrize(("zone", "midnight"), MIDNIGHTS)
@pytest.mark.parametrize("before", [timedelta(minutes=minutes) for minutes in (1, 30, 59, 61, 90, 119)])
def test_a_change_on_the_day_after_wakes_rules_at_its_midnight_and_never_before(
    zone: str, midnight: datetime, before: timedelta
) -> None:
    place = ZoneInfo(zone)
    tomorrow = midnight.astimezone(place).date()
    assert (midnight - timedelta(microseconds=1)).astimezone(place).date() == tomorrow - timedelta(days=1)
    owners = (Dated[str](value=ANNA, since=LONG_AGO, until=tomorrow), Dated[str](value=LENA, since=tomorrow))
    view = AccountView(account(owners=owners), place, touched(0), {ANNA: anna()})
    now = midnight - before
    assert view.next_change(now) == midnight - timedelta(microseconds=1)
    for name, rule in RULES.items():
        verdict = judge(view, RuleVersion(name, 1, rule.thresholds()), now)
        assert verdict.due is None or verdict.due >= now
