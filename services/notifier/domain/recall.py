"""Alerts as their published steps tell them: what a restored database has forgotten."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import cast

from contracts.alerts import AlertEvent, RuleName
from services.notifier.domain.life import Alert, Step, StepKind

UNCERTAIN = timedelta(hours=1)
"""What was said so shortly before the end may not have arrived: it is told again, under the key that it had."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """An alert as it was last published, and its steps, the first first."""

    alert: Alert
    steps: tuple[Step, ...]


def recall(published: Iterable[tuple[StepKind, AlertEvent]]) -> list[Recalled]:
    """Fold steps, in whatever order and however often they were published, into alerts; resolved ones come first."""
    by_alert: dict[str, dict[int, tuple[StepKind, AlertEvent]]] = {}
    for kind, event in published:
        by_alert.setdefault(event.alert_id, {})[event.version] = (kind, event)
    found = [_fold([steps[version] for version in sorted(steps)]) for steps in by_alert.values()]
    return sorted(found, key=lambda one: (one.alert.state != "resolved", one.alert.version))


def _fold(published: list[tuple[StepKind, AlertEvent]]) -> Recalled:
    steps: list[Step] = []
    numbers: Counter[str] = Counter()
    before: Alert | None = None
    for kind, event in published:
        alert = _alert(kind, event, before)
        led = kind == "escalated" and alert.lead_steps > (before.lead_steps if before is not None else 0)
        step = Step(kind, alert, event.changed_at, tell_lead=led)
        steps.append(replace(step, number=numbers[step.occasion]))
        numbers[step.occasion] += 1
        before = alert
    return Recalled(steps[-1].alert, tuple(steps))


def _alert(kind: StepKind, event: AlertEvent, before: Alert | None) -> Alert:
    begins = (
        before is None or kind in {"opened", "reopened"} or (kind == "escalated" and before.state == "acknowledged")
    )
    open_since = event.changed_at if begins or before is None else before.open_since
    return Alert(
        alert_id=event.alert_id,
        account_id=event.account_id,
        version=event.version,
        rule=cast("RuleName", event.rule),
        rule_version=event.rule_version,
        severity=event.severity,
        state=event.state,
        dedup_key=event.dedup_key,
        title=event.title,
        explanation=event.explanation,
        evidence=event.evidence,
        opened_at=event.opened_at,
        changed_at=event.changed_at,
        open_since=open_since,
        owner_id=event.owner_id,
        changed_by=event.changed_by,
        snoozed_until=event.snoozed_until,
        resolution=event.resolution,
        lead_steps=_lead_steps(kind, event, None if begins else before)
        if event.lead_steps is None
        else event.lead_steps,
        cause_present=event.resolution != "cause_gone",
        source=event.source,
    )


def _lead_steps(kind: StepKind, event: AlertEvent, before: Alert | None) -> int:
    """Return what an event of an earlier version leaves to be guessed; `before`: None where it begins anew."""
    if before is None:
        return 0
    # Where nothing had grown worse the lead was told.
    return before.lead_steps + (kind == "escalated" and before.severity == event.severity)


def uncertain(recalled: Iterable[Recalled]) -> list[Step]:
    """Return the last steps that people were told of shortly before the end, of alerts that are not resolved."""
    known = list(recalled)
    end = max((one.alert.changed_at for one in known), default=None)
    return [
        one.steps[-1]
        for one in known
        if end is not None and one.steps[-1].speaks and one.alert.changed_at >= end - UNCERTAIN
    ]
