"""An alert's life: open → acknowledged / snoozed → resolved, reopened when its cause comes back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from contracts.alerts import AlertEvidence, AlertState, RuleName, Severity
from contracts.ids import derive_id
from services.notifier.domain.findings import RANK, Finding
from services.notifier.domain.view import earliest

StepKind = Literal["opened", "escalated", "acknowledged", "snoozed", "resolved", "reopened"]
Resolution = Literal["by_person", "cause_gone"]


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as it is. `open_since` is when it was last opened or reopened; steps to the lead count from there.

    One that has just opened has no id and the version 0: whoever saves it gives both.
    """

    alert_id: str
    account_id: str
    version: int
    rule: RuleName
    rule_version: int
    severity: Severity
    state: AlertState
    dedup_key: str
    title: str
    explanation: str
    evidence: AlertEvidence
    opened_at: datetime
    changed_at: datetime
    open_since: datetime
    owner_id: str | None = None
    changed_by: str | None = None
    snoozed_until: datetime | None = None
    resolution: Resolution | None = None
    lead_steps: int = 0
    """How many steps to the lead have been taken since `open_since`."""
    cause_present: bool = True
    """Whether the cause was still there when last looked; a resolved alert comes back only after it was gone."""
    cause: str = ""
    """Which occurrence of the cause opened it."""
    source: str | None = None
    """The configured source that it is about; None: it is about the account."""


@dataclass(frozen=True, slots=True)
class Raised:
    """Under which rule, version and owner an alert speaks when it speaks now."""

    account_id: str
    rule: RuleName
    rule_version: int
    owner_id: str | None
    one_shot: bool
    cooldown: timedelta
    reopen_within: timedelta
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is to happen to an alert; `deadline` triggered it: a silence must be known up to that moment."""

    kind: StepKind
    alert: Alert
    deadline: datetime
    tell_lead: bool = False
    number: int = 0
    """How many steps with the same occasion the alert had before; whoever saves the step knows."""

    @property
    def occasion(self) -> str:
        """What the step says, in a word that a restore from a backup does not change."""
        return f"{self.kind}.{self.alert.severity}.{self.alert.lead_steps}"

    @property
    def speaks(self) -> bool:
        """Whether people are told: a step of a person and a resolution are quiet."""
        return self.kind in {"opened", "escalated", "reopened"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one look at a cause and its alert gives: a step, or a silent change, or when to look again."""

    step: Step | None = None
    silent: Alert | None = None
    due: datetime | None = None


class NotAllowed(Exception):
    """The step does not fit the alert's state; the text says why."""


def dedup_key(rule: RuleName, account_id: str, subject: str) -> str:
    """Return the key under which at most one alert is open."""
    return f"{rule}:{account_id}:{subject}"


def alert_id_of(alert: Alert, earlier: int) -> str:
    """Return the id of an alert that opens after `earlier` ones with its key and cause: the same one whenever it is."""
    return derive_id("alert", alert.dedup_key, alert.cause, str(earlier))


def settle(
    alert: Alert | None, finding: Finding | None, raised: Raised, lead_times: Sequence[datetime], now: datetime
) -> Outcome:
    """Bring an alert (None: none known under the key) in line with its cause (None: gone).

    A step's alert has the version 0: whoever saves it draws the next one.
    """
    if alert is None:
        return _open(finding, raised, now)
    if alert.state == "resolved":
        return _after_resolution(alert, finding, raised, now)
    if finding is None:
        return Outcome(Step("resolved", _resolve(alert, now, "cause_gone", None, cause_present=False), now))
    if alert.snoozed_until is not None:
        return _after_snooze(alert, alert.snoozed_until, finding, raised, now)
    if RANK[finding.severity] > RANK[alert.severity]:
        return Outcome(_rise(alert, finding, raised, lead_times, now))
    return _lead(alert, finding, raised, lead_times, now)


def _open(finding: Finding | None, raised: Raised, now: datetime) -> Outcome:
    if finding is None or (finding.opens_until is not None and now > finding.opens_until):
        return Outcome()
    opened = Alert(
        alert_id="",
        account_id=raised.account_id,
        version=0,
        rule=raised.rule,
        rule_version=raised.rule_version,
        severity=finding.severity,
        state="open",
        dedup_key=dedup_key(raised.rule, raised.account_id, finding.subject),
        title=finding.title,
        explanation=finding.explanation,
        evidence=finding.evidence,
        opened_at=now,
        changed_at=now,
        open_since=now,
        owner_id=raised.owner_id,
        cause=finding.cause,
        source=raised.source,
    )
    return Outcome(Step("opened", opened, finding.deadline))


def _after_resolution(alert: Alert, finding: Finding | None, raised: Raised, now: datetime) -> Outcome:
    if finding is None:
        return Outcome(silent=replace(alert, cause_present=False)) if alert.cause_present else Outcome()
    came_back = not alert.cause_present
    if raised.one_shot or not (came_back or RANK[finding.severity] > RANK[alert.severity]):
        return Outcome()
    quiet_until = alert.changed_at + raised.cooldown
    if now <= quiet_until:
        return Outcome(due=quiet_until)
    if now > alert.changed_at + raised.reopen_within:
        return _open(finding, raised, now)
    return Outcome(Step("reopened", _again(alert, finding, raised, now), finding.deadline))


def _rise(alert: Alert, finding: Finding, raised: Raised, lead_times: Sequence[datetime], now: datetime) -> Step:
    risen = replace(_speaking(alert, finding, raised, now), state="open")
    if alert.state == "acknowledged":
        # Who took note of the warning has not taken note of the alert: they get as long as before the lead is told.
        return Step("escalated", replace(risen, open_since=now, lead_steps=0), finding.deadline)
    passed = sum(moment < now for moment in lead_times)
    told = passed > alert.lead_steps
    return Step("escalated", replace(risen, lead_steps=max(passed, alert.lead_steps)), finding.deadline, tell_lead=told)


def _after_snooze(alert: Alert, until: datetime, finding: Finding, raised: Raised, now: datetime) -> Outcome:
    if now <= until:
        return Outcome(due=until)
    return Outcome(Step("reopened", _again(alert, finding, raised, now), until))


def _lead(alert: Alert, finding: Finding, raised: Raised, lead_times: Sequence[datetime], now: datetime) -> Outcome:
    if alert.state != "open":
        return Outcome()
    passed = sum(moment < now for moment in lead_times)
    if passed <= alert.lead_steps:
        return Outcome(due=earliest(*lead_times[passed:]))
    told = replace(_speaking(alert, finding, raised, now), severity=alert.severity, lead_steps=passed)
    return Outcome(Step("escalated", told, lead_times[passed - 1], tell_lead=True))


def _speaking(alert: Alert, finding: Finding, raised: Raised, now: datetime) -> Alert:
    return replace(
        alert,
        version=0,
        rule_version=raised.rule_version,
        severity=finding.severity,
        title=finding.title,
        explanation=finding.explanation,
        evidence=finding.evidence,
        changed_at=now,
        owner_id=raised.owner_id,
        changed_by=None,
        cause_present=True,
    )


def _again(alert: Alert, finding: Finding, raised: Raised, now: datetime) -> Alert:
    spoken = _speaking(alert, finding, raised, now)
    return replace(spoken, state="open", open_since=now, snoozed_until=None, resolution=None, lead_steps=0)


def _resolve(alert: Alert, now: datetime, resolution: Resolution, by: str | None, *, cause_present: bool) -> Alert:
    return replace(
        alert,
        version=0,
        state="resolved",
        resolution=resolution,
        changed_at=now,
        changed_by=by,
        snoozed_until=None,
        cause_present=cause_present,
    )


def acknowledge(alert: Alert, by: str | None, now: datetime) -> Step:
    """A person takes note; raise `NotAllowed` when there is nothing to take note of."""
    if alert.state in {"resolved", "acknowledged"}:
        raise NotAllowed(f"The alert is already {alert.state}.")
    taken = replace(alert, version=0, state="acknowledged", changed_at=now, changed_by=by, snoozed_until=None)
    return Step("acknowledged", taken, now)


def snooze(alert: Alert, until: datetime, by: str | None, now: datetime) -> Step:
    """A person puts it off; raise `NotAllowed` for a resolved alert and a moment that has passed."""
    if alert.state == "resolved":
        raise NotAllowed("The alert is resolved; there is nothing to put off.")
    if until <= now:
        raise NotAllowed("`until` has passed already; give a later moment.")
    put_off = replace(alert, version=0, state="snoozed", changed_at=now, changed_by=by, snoozed_until=until)
    return Step("snoozed", put_off, now)


def resolve(alert: Alert, by: str | None, now: datetime) -> Step:
    """A person says that it is settled; it stays so until its cause was gone and came back, or grew worse."""
    if alert.state == "resolved":
        raise NotAllowed("The alert is already resolved.")
    return Step("resolved", _resolve(alert, now, "by_person", by, cause_present=alert.cause_present), now)


def reopen(alert: Alert, by: str | None, now: datetime) -> Step:
    """A person takes a resolution, an acknowledgement or a snooze back."""
    if alert.state == "open":
        raise NotAllowed("The alert is already open.")
    opened = replace(
        alert,
        version=0,
        state="open",
        changed_at=now,
        changed_by=by,
        open_since=now,
        snoozed_until=None,
        resolution=None,
        lead_steps=0,
    )
    return Step("reopened", opened, now)
