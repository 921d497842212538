"""An alert is recalled from its published steps as it was, however they were repeated and disordered."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from contracts.alerts import AlertEvent
from services.notifier.domain import life
from services.notifier.domain.life import Alert, NotAllowed, Raised, Step, StepKind, settle
from services.notifier.domain.look import event_of
from services.notifier.domain.recall import recall, uncertain
from tests.unit.notifier.states import ACCOUNT, ANNA, NOON
from tests.unit.notifier.test_alert_life import cause

DAY = timedelta(days=1)
RAISED = Raised(ACCOUNT, "stale_touch", 1, ANNA, one_shot=False, cooldown=timedelta(), reopen_within=30 * DAY)
DEEDS = ("look", "worse", "gone", "acknowledge", "snooze", "resolve", "reopen")


def deed(alert: Alert | None, what: str, day: int) -> Step | None:
    """What one thing that happens does to an alert; leads are told two and four days after it opened."""
    now = NOON + day * DAY
    if what in {"look", "worse", "gone"}:
        finding = None if what == "gone" else cause("alert" if what == "worse" else "warn")
        leads = () if alert is None else (alert.open_since + 2 * DAY, alert.open_since + 4 * DAY)
        return settle(alert, finding, RAISED, leads, now).step
    if alert is None:
        return None
    try:
        if what == "snooze":
            return life.snooze(alert, now + DAY, ANNA, now)
        return {"acknowledge": life.acknowledge, "resolve": life.resolve, "reopen": life.reopen}[what](alert, ANNA, now)
    except NotAllowed:
        return None


def lived(deeds: Sequence[str]) -> tuple[Alert | None, list[tuple[StepKind, AlertEvent]]]:
    """One alert's life: what becomes of it, and what was published."""
    alert: Alert | None = None
    published: list[tuple[StepKind, AlertEvent]] = []
    for day, what in enumerate(deeds):
        step = deed(alert, what, day)
        if step is None:
            continue
        alert = replace(step.alert, alert_id="00000000-0000-8000-8000-000000000001", version=len(published) + 1)
        published.append((step.kind, event_of(replace(step, alert=alert))))
    return alert, published


@example(["look", "look", "look", "worse"], 0)  # the lead is told by the step with which it grows worse
@given(st.lists(st.sampled_from(DEEDS), max_size=14), st.integers(0, 99))
def test_an_alert_is_recalled_as_it_was(deeds: list[str], seed: int) -> None:
    alert, published = lived(deeds)
    disordered = published * 2
    random.Random(seed).shuffle(disordered)  # noqa: S311 - an order, no secret
    found = recall(disordered)
    if alert is None:
        assert found == []
        return
    (recalled,) = found
    assert [step.alert.version for step in recalled.steps] == list(range(1, len(published) + 1))
    # Whether a resolved cause was seen to be gone since is not published; the next look says so.
    known = replace(alert, cause_present=recalled.alert.cause_present)
    assert recalled.alert == known
    assert len({(step.occasion, step.number) for step in recalled.steps}) == len(recalled.steps)


def test_only_what_was_said_shortly_before_the_end_may_not_have_arrived() -> None:
    _, early = lived(["look"])
    _, late = lived(["gone", "gone", "look"])
    late = [(kind, event.model_copy(update={"alert_id": "b"})) for kind, event in late]
    _, over = lived(["look", "gone", "gone"])
    over = [(kind, event.model_copy(update={"alert_id": "c"})) for kind, event in over]
    assert [step.alert.alert_id for step in uncertain(recall([*early, *late, *over]))] == ["b"]
    assert uncertain([]) == []


def test_steps_to_the_lead_of_an_earlier_version_are_guessed_from_what_did_not_grow_worse() -> None:
    alert, published = lived(["look", "look", "look", "look", "look", "look"])
    assert alert is not None
    assert alert.lead_steps == 2
    earlier = [(kind, event.model_copy(update={"lead_steps": None})) for kind, event in published]
    assert recall(earlier) == recall(published)
