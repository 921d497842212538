"""Stale touch: which touches count, by which cadence, and that it never speaks too early."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.alerts import Severity
from contracts.ids import derive_id
from contracts.kpis import LastTouch
from contracts.values import Dated
from services.notifier.domain.findings import Verdict
from services.notifier.domain.rules.stale_touch import evaluate, last_real_touch
from services.notifier.domain.thresholds import StaleTouch
from services.notifier.domain.view import AccountView
from tests.unit.notifier.states import LONG_AGO, NOON, account, touched, view

SORTS = ("inbound", "outbound", "connected_call", "meeting", "two_way")
CLASSES = ("support", "billing", "strategic", "routine")


def touch(sort: str, touch_class: str = "routine", days_ago: float = 1) -> LastTouch:
    return LastTouch.model_validate(
        {
            "sort": sort,
            "touch_class": touch_class,
            "at": NOON - timedelta(days=days_ago),
            "interaction_id": derive_id("touch", sort, touch_class, str(days_ago)),
        }
    )


def judged(days_ago: float, now: datetime = NOON, **changed: Any) -> Verdict:
    return evaluate(view(account(**changed), touched(days_ago)), StaleTouch(), now)


def severity(verdict: Verdict) -> Severity | None:
    return verdict.findings[0].severity if verdict.findings else None


NOT_KEY: dict[str, Any] = {"key": ()}
ONBOARDING = (Dated[Any](value="onboarding", since=LONG_AGO),)


@pytest.mark.parametrize(
    ("changed", "warn", "alert"),
    [
        ({}, 14, 30),
        ({"stages": ONBOARDING}, 7, 14),
        ({**NOT_KEY, "stages": ONBOARDING, "account_class": "C"}, 7, 14),
        ({**NOT_KEY, "account_class": "A"}, 30, 90),
        ({**NOT_KEY, "account_class": "B"}, 30, 90),
        ({**NOT_KEY, "account_class": "C"}, 60, 120),
    ],
)
def test_each_cadence_warns_and_alerts_after_its_days(changed: dict[str, Any], warn: int, alert: int) -> None:
    assert severity(judged(warn, **changed)) is None
    assert severity(judged(warn + 0.001, **changed)) == "warn"
    assert severity(judged(alert, **changed)) == "warn"
    assert severity(judged(alert + 0.001, **changed)) == "alert"


@pytest.mark.parametrize("sort", SORTS)
def test_only_what_reaches_both_sides_is_a_real_touch(sort: str) -> None:
    found = last_real_touch([touch(sort)], key=False)
    assert (found is None) == (sort == "outbound")


@pytest.mark.parametrize("touch_class", CLASSES)
def test_support_and_billing_traffic_hides_no_silence_on_a_key_account(touch_class: str) -> None:
    touches = [touch("inbound", touch_class, 1), touch("meeting", "routine", 20)]
    newest = last_real_touch(touches, key=True)
    assert newest is not None
    assert newest.sort == ("meeting" if touch_class in {"support", "billing"} else "inbound")
    assert last_real_touch(touches, key=False) == touches[0]


def test_without_any_touch_the_clock_starts_when_the_account_came() -> None:
    came = NOON - timedelta(days=16)
    verdict = evaluate(view(account(created_at=came), touched(1, last_touches=())), StaleTouch(), NOON)
    assert severity(verdict) == "warn"
    assert "since the account came on 14 Feb 2026" in verdict.findings[0].explanation


def test_a_lost_account_is_left_in_peace() -> None:
    assert severity(judged(200, stages=(Dated[Any](value="lost", since=LONG_AGO),))) is None


def test_without_kpis_nothing_is_concluded() -> None:
    verdict = evaluate(view(account(), None), StaleTouch(), NOON)
    assert verdict.waits_for is not None
    assert not verdict.findings


def test_being_named_key_tomorrow_is_looked_at_at_midnight_of_the_company() -> None:
    tomorrow = (NOON + timedelta(days=1)).date()
    verdict = judged(20, key=(Dated[bool](value=True, since=tomorrow),), account_class="C")
    assert verdict.due is not None
    assert NOON < verdict.due < datetime.fromisoformat("2026-03-03T00:00:00+01:00")
    assert severity(judged(20, verdict.due + timedelta(seconds=1), key=(Dated[bool](value=True, since=tomorrow),)))


moments = st.floats(min_value=0, max_value=400).map(lambda days: NOON - timedelta(days=days))
touches = st.lists(st.builds(touch, st.sampled_from(SORTS), st.sampled_from(CLASSES), st.floats(0, 200)), max_size=8)


@given(given_touches=touches, account_class=st.sampled_from(["A", "B", "C"]), key=st.booleans(), came=moments)
def test_it_never_speaks_before_its_promise_and_is_looked_at_when_it_may(
    *, given_touches: list[LastTouch], account_class: str, key: bool, came: datetime
) -> None:
    one = view(
        account(account_class=account_class, key=(Dated[bool](value=key, since=LONG_AGO),), created_at=came),
        touched(1, last_touches=tuple(given_touches)),
    )
    promise = timedelta(days=14 if key else {"A": 30, "B": 30, "C": 60}[account_class])
    last = last_real_touch(given_touches, key=key)
    start = last.at if last else came
    verdict = evaluate(one, StaleTouch(), NOON)
    assert bool(verdict.findings) == (start + promise < NOON)
    if verdict.findings:
        assert start + promise <= verdict.findings[0].deadline < NOON
    if verdict.due is not None:
        assert verdict.due >= NOON
        assert not same(one, verdict, verdict.due + timedelta(microseconds=1))
        assert same(one, verdict, verdict.due)


def same(one: AccountView, verdict: Verdict, later: datetime) -> bool:
    """Whether the verdict has the same severity later: until it is due it must not change by time alone."""
    return severity(evaluate(one, StaleTouch(), later)) == severity(verdict)


def test_the_evidence_names_the_touch_and_the_figure() -> None:
    (finding,) = judged(15).findings
    assert finding.items[0].interaction_id == touched(15).last_touches[0].interaction_id
    assert finding.figures[0].value == Decimal(15)
    assert finding.figures[0].threshold == Decimal(14)
    assert finding.title == "No touch with Northwind Labs for 15 days"
