"""One look at a rule of an account: its verdict against the alerts that are there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from contracts.alerts import (
    AlertAcknowledged,
    AlertEscalated,
    AlertEvent,
    AlertOpened,
    AlertReopened,
    AlertResolved,
    AlertSnoozed,
)
from services.notifier.domain.horizon import Known, Unknown
from services.notifier.domain.life import Alert, Raised, Step, StepKind, dedup_key, settle
from services.notifier.domain.rules import RULES, RuleVersion, judge
from services.notifier.domain.state import AT_ONCE, Watched
from services.notifier.domain.view import AccountView, earliest

Ask = Callable[[datetime], Known | Unknown]
"""Asks the horizon of the account: is everything before this moment known?"""

EVENTS: Mapping[StepKind, type[AlertEvent]] = {
    "opened": AlertOpened,
    "escalated": AlertEscalated,
    "acknowledged": AlertAcknowledged,
    "snoozed": AlertSnoozed,
    "resolved": AlertResolved,
    "reopened": AlertReopened,
}


_UNSEEN = Unknown("service", "activity that the KPIs rest on has not come yet")


@dataclass(frozen=True, slots=True)
class Look:
    """What comes of it: steps to take, alerts to keep silently, and when to look again or what holds it."""

    steps: tuple[Step, ...] = ()
    silent: tuple[Alert, ...] = ()
    due: datetime | None = None
    held: Unknown | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided about one account, while it is locked."""

    watched: Watched
    steps: Sequence[tuple[Step, tuple[str, ...]]]
    """Each with the users who are told of it."""
    traceparent: str | None


def look(
    view: AccountView,
    version: RuleVersion,
    alerts: Iterable[Alert],
    now: datetime,
    *,
    ask: Ask,
    caught_up: bool,
) -> Look:
    """Judge the rule and bring its alerts in line; a silence speaks only where the horizon lies behind its deadline.

    `caught_up`: all activity behind the KPIs has been seen here. Until then, what names unknown evidence waits for it.
    """
    verdict = judge(view, version, now)
    if verdict.waits_for is not None:
        return Look(due=verdict.due)
    rule = RULES[version.rule]
    raised = Raised(
        account_id=view.account.account_id,
        rule=rule.name,
        rule_version=version.version,
        owner_id=view.owner_id(now),
        one_shot=rule.one_shot,
        cooldown=timedelta(hours=version.thresholds.cooldown_hours),
        reopen_within=timedelta(days=version.thresholds.reopen_days),
    )
    findings = {dedup_key(rule.name, view.account.account_id, finding.subject): finding for finding in verdict.findings}
    known = {alert.dedup_key: alert for alert in alerts}
    steps: list[Step] = []
    silent: list[Alert] = []
    held: Unknown | None = None
    due = verdict.due
    for key in sorted(findings.keys() | known.keys()):
        alert, finding = known.get(key), findings.get(key)
        leads = rule.lead_times(view, version.thresholds, alert.open_since, now) if alert else ()
        outcome = settle(alert, finding, raised, leads, now)
        if outcome.silent is not None:
            silent.append(outcome.silent)
        if outcome.step is None:
            due = earliest(due, outcome.due)
            continue
        step = outcome.step
        if step.speaks:
            incomplete = not caught_up and finding is not None and finding.missing > 0
            answer = _UNSEEN if incomplete else ask(step.deadline) if rule.silence else None
            if isinstance(answer, Unknown):
                held = held or answer
                continue
            step = step if answer is None else _with_horizon(step, answer)
        steps.append(step)
        # What comes next for the alert as it now is: the first step to the lead, say.
        leads = rule.lead_times(view, version.thresholds, step.alert.open_since, now)
        following = settle(step.alert, finding, raised, leads, now)
        due = AT_ONCE if following.step is not None else earliest(due, following.due)
    return Look(tuple(steps), tuple(silent), due, held)


def _with_horizon(step: Step, known: Known) -> Step:
    evidence = step.alert.evidence.model_copy(update={"horizon": known.horizon, "unverified": known.unverified})
    return replace(step, alert=replace(step.alert, evidence=evidence))


def event_of(step: Step) -> AlertEvent:
    """Return the step as it is published: the whole alert after it."""
    alert = step.alert
    return EVENTS[step.kind](
        alert_id=alert.alert_id,
        account_id=alert.account_id,
        version=alert.version,
        rule=alert.rule,
        rule_version=alert.rule_version,
        severity=alert.severity,
        state=alert.state,
        dedup_key=alert.dedup_key,
        title=alert.title[:1000],
        explanation=alert.explanation[:20_000],
        evidence=alert.evidence,
        opened_at=alert.opened_at,
        changed_at=alert.changed_at,
        owner_id=alert.owner_id,
        changed_by=alert.changed_by,
        snoozed_until=alert.snoozed_until,
        resolution=alert.resolution,
        source=alert.source,
        lead_steps=alert.lead_steps,
    )


def versioned(steps: Sequence[Step], epoch: int, next_version: int) -> tuple[tuple[Step, ...], int]:
    """Give steps of one account the versions epoch · 2⁴⁰ + n in order; return them and the n that comes next."""
    numbered = tuple(
        replace(step, alert=replace(step.alert, version=(epoch << 40) + next_version + place))
        for place, step in enumerate(steps)
    )
    return numbered, next_version + len(steps)
