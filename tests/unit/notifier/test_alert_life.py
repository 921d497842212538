"""An alert's life: one open alert per key, cooldown, snooze, escalation; whatever the order of what happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.alerts import Severity
from services.notifier.domain import life
from services.notifier.domain.findings import Finding
from services.notifier.domain.life import Alert, NotAllowed, Outcome, Raised, Step, settle
from services.notifier.domain.look import versioned
from tests.unit.notifier.states import ACCOUNT, ANNA, NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RAISED = Raised(ACCOUNT, "stale_touch", 1, ANNA, one_shot=False, cooldown=DAY, reopen_within=30 * DAY)


def cause(severity: Severity = "warn", **changed: object) -> Finding:
    plain = Finding("account", severity, NOON - HOUR, "No touch", "Nobody called.")
    return replace(plain, **changed)  # type: ignore[arg-type]


def settled(
    alert: Alert | None,
    finding: Finding | None,
    now: datetime = NOON,
    *,
    raised: Raised = RAISED,
    leads: tuple[datetime, ...] = (),
) -> Outcome:
    return settle(
        alert,
        finding,
        raised,
        leads,
        now,
    )


def stepped(outcome: Outcome) -> Alert:
    assert outcome.step is not None
    return outcome.step.alert


OPEN = stepped(settled(None, cause()))


def test_a_cause_opens_an_alert_and_no_cause_opens_none() -> None:
    assert (OPEN.state, OPEN.severity, OPEN.dedup_key) == ("open", "warn", f"stale_touch:{ACCOUNT}:account")
    assert settled(None, None) == Outcome()


def test_while_it_is_open_the_same_cause_says_nothing() -> None:
    assert settled(OPEN, cause(), NOON + DAY) == Outcome()


def test_a_cause_that_is_gone_resolves_it_whatever_a_person_did() -> None:
    put_off = life.snooze(OPEN, NOON + DAY, ANNA, NOON).alert
    for alert in (OPEN, life.acknowledge(OPEN, ANNA, NOON).alert, put_off):
        resolved = stepped(settled(alert, None, NOON + HOUR))
        assert (resolved.state, resolved.resolution, resolved.snoozed_until) == ("resolved", "cause_gone", None)


def test_a_worse_cause_escalates_and_an_acknowledgement_held_for_the_lesser_one() -> None:
    taken = life.acknowledge(OPEN, ANNA, NOON).alert
    worse = settled(taken, cause("alert"), NOON + DAY)
    assert worse.step is not None
    assert (worse.step.kind, worse.step.alert.state, worse.step.alert.severity) == ("escalated", "open", "alert")
    late = settled(taken, cause("alert"), NOON + 20 * DAY, leads=(NOON + DAY,)).step
    assert late is not None
    assert not late.tell_lead
    assert late.alert.open_since == NOON + 20 * DAY


def test_a_rise_and_an_overdue_step_to_the_lead_are_said_together() -> None:
    step = settled(OPEN, cause("alert"), NOON + 7 * DAY, leads=(NOON + 5 * DAY,)).step
    assert step is not None
    assert (step.kind, step.tell_lead, step.alert.lead_steps) == ("escalated", True, 1)


def test_a_milder_cause_does_not_lower_the_severity() -> None:
    alert = stepped(settled(None, cause("alert")))
    assert settled(alert, cause("warn"), NOON + DAY) == Outcome()


def test_each_step_to_the_lead_is_taken_once_and_missed_ones_together() -> None:
    leads = (NOON + 5 * DAY, NOON + 10 * DAY, NOON + 14 * DAY)
    assert settled(OPEN, cause(), NOON + 5 * DAY, leads=leads) == Outcome(due=leads[0])
    first = settled(OPEN, cause(), NOON + 6 * DAY, leads=leads)
    assert first.step is not None
    assert first.step.tell_lead
    assert settled(first.step.alert, cause(), NOON + 6 * DAY, leads=leads) == Outcome(due=leads[1])
    late = settled(first.step.alert, cause(), NOON + 20 * DAY, leads=leads)
    assert stepped(late).lead_steps == 3
    assert settled(stepped(late), cause(), NOON + 30 * DAY, leads=leads) == Outcome()


def test_nobody_goes_to_the_lead_over_what_was_acknowledged_or_snoozed() -> None:
    leads = (NOON + DAY,)
    assert settled(life.acknowledge(OPEN, ANNA, NOON).alert, cause(), NOON + 2 * DAY, leads=leads).step is None
    put_off = life.snooze(OPEN, NOON + 5 * DAY, ANNA, NOON).alert
    assert settled(put_off, cause("alert"), NOON + 2 * DAY, leads=leads) == Outcome(due=NOON + 5 * DAY)


def test_a_snooze_ends_when_its_moment_has_passed() -> None:
    put_off = life.snooze(OPEN, NOON + DAY, ANNA, NOON).alert
    assert settled(put_off, cause(), NOON + DAY) == Outcome(due=NOON + DAY)
    back = settled(put_off, cause("alert"), NOON + DAY + HOUR)
    assert back.step is not None
    assert (back.step.kind, back.step.alert.severity, back.step.deadline) == ("reopened", "alert", NOON + DAY)


def test_within_the_cooldown_a_returning_cause_waits_for_its_end() -> None:
    resolved = stepped(settled(OPEN, None, NOON))
    assert settled(resolved, cause(), NOON + HOUR) == Outcome(due=NOON + DAY)
    back = settled(resolved, cause(), NOON + DAY + HOUR)
    assert back.step is not None
    assert (back.step.kind, back.step.alert.alert_id) == ("reopened", OPEN.alert_id)


def test_after_long_enough_a_returning_cause_is_a_new_alert() -> None:
    resolved = replace(stepped(settled(OPEN, None, NOON)), alert_id="old")
    again = settled(resolved, cause(), NOON + 31 * DAY)
    assert again.step is not None
    assert (again.step.kind, again.step.alert.alert_id) == ("opened", "")


def test_what_a_person_resolved_comes_back_only_after_its_cause_was_gone_or_grew_worse() -> None:
    resolved = life.resolve(OPEN, ANNA, NOON).alert
    assert settled(resolved, cause(), NOON + 5 * DAY) == Outcome()
    gone = settled(resolved, None, NOON + 2 * DAY).silent
    assert gone is not None
    assert settled(gone, cause(), NOON + 5 * DAY).step is not None
    assert settled(resolved, cause("alert"), NOON + 5 * DAY).step is not None


def test_a_one_shot_alert_never_comes_back_and_an_old_signal_never_opens() -> None:
    once = replace(RAISED, one_shot=True)
    resolved = replace(life.resolve(OPEN, ANNA, NOON).alert, cause_present=False)
    assert settled(resolved, cause("alert"), NOON + 5 * DAY, raised=once) == Outcome()
    old = cause(opens_until=NOON - HOUR)
    assert settled(None, old) == Outcome()
    assert settled(OPEN, old, raised=once) == Outcome()


def test_steps_that_do_not_fit_are_refused_with_a_reason() -> None:
    resolved = life.resolve(OPEN, ANNA, NOON).alert
    refusals: tuple[Callable[[], Step], ...] = (
        lambda: life.acknowledge(resolved, ANNA, NOON),
        lambda: life.snooze(resolved, NOON + DAY, ANNA, NOON),
        lambda: life.snooze(OPEN, NOON, ANNA, NOON),
        lambda: life.resolve(resolved, ANNA, NOON),
        lambda: life.reopen(OPEN, ANNA, NOON),
    )
    for refused in refusals:
        with pytest.raises(NotAllowed):
            refused()


happenings = st.lists(
    st.tuples(
        st.sampled_from(["gone", "warn", "alert", "acknowledge", "snooze", "resolve", "reopen"]), st.floats(0.01, 100)
    ),
    max_size=30,
)


@given(happenings)
def test_whatever_happens_nothing_is_said_twice_and_versions_rise(story: list[tuple[str, float]]) -> None:
    alert: Alert | None = None
    now, number, speeches = NOON, 1, 0
    for what, hours in story:
        now += timedelta(hours=hours)
        step, alert = after(alert, what, now)
        if step is None:
            continue
        (taken,), number = versioned([step], 1, number)
        assert alert is None or taken.alert.version > alert.version
        speeches += taken.speaks and what in CAUSES
        alert = taken.alert
        assert (alert.state == "snoozed") == (alert.snoozed_until is not None)
        assert (alert.state == "resolved") == (alert.resolution is not None)
        if what in CAUSES:
            # The same look again finds everything in order.
            assert settled(alert, CAUSES[what], now).step is None
    raised = sum(what in CAUSES for what, _ in story)
    assert speeches <= raised
    assert (alert is None) <= (raised == 0)


CAUSES = {"warn": cause("warn"), "alert": cause("alert")}


def after(alert: Alert | None, what: str, now: datetime) -> tuple[Step | None, Alert | None]:
    """The step that something causes, and the alert before it."""
    if what in {"gone", *CAUSES}:
        outcome = settled(alert, CAUSES.get(what), now)
        return outcome.step, outcome.silent or alert
    if alert is None:
        return None, None
    try:
        if what == "snooze":
            return life.snooze(alert, now + DAY, ANNA, now), alert
        return getattr(life, what)(alert, ANNA, now), alert
    except NotAllowed:
        return None, alert
