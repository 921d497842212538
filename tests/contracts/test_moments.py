"""A moment is written one way: RFC 3339 in UTC, with its microseconds where it has some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import format_instant

_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))) | st.just(UTC)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2300, 1, 1), timezones=_ZONES))  # noqa: DTZ001 - they want naive ones
def test_a_moment_is_written_as_isoformat_writes_it(moment: datetime) -> None:
    assert format_instant(moment) == moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


@given(st.datetimes(datetime(1990, 1, 1), datetime(2199, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - see above
def test_what_is_written_reads_back(moment: datetime) -> None:
    assert datetime.fromisoformat(format_instant(moment)) == moment
