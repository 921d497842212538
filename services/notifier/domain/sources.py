"""The alert about a source itself: down, or quiet against its own rhythm. A dead feed must not look like peace."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from contracts.accounts import Team, User
from contracts.alerts import EvidenceFigure, Severity
from contracts.envelope import format_instant
from contracts.ids import derive_id
from services.notifier.domain.findings import Finding
from services.notifier.domain.horizon import Source
from services.notifier.domain.life import Alert, Outcome, Raised, Step, settle
from services.notifier.domain.recipients import leads, reached
from services.notifier.domain.rules import SOURCE_RULE, RuleVersion
from services.notifier.domain.thresholds import SourceSilent
from services.notifier.domain.wording import at_time

SUBJECT = "source"
"""One alert about a source is open at a time, whatever is wrong with it."""
_HOUR = timedelta(hours=1)


def subject_id(source: str) -> str:
    """Return the id that stands where alerts about accounts have the account's. No account ever has it."""
    return derive_id("source", source)


def evaluate(source: Source, thresholds: SourceSilent, now: datetime, zone: ZoneInfo) -> Finding | None:
    """Return what is wrong with a source at `now`; None: nothing that anybody should be told."""
    if not thresholds.enabled:
        return None
    if source.broken:
        return _broken(source, thresholds, now, zone)
    return _quiet(source, thresholds, now, zone) if source.quiet else None


def look_at(
    source: str, finding: Finding | None, alert: Alert | None, version: RuleVersion, now: datetime
) -> tuple[Step | None, Alert | None]:
    """Bring the source's latest alert (None: never one) in line; return a step, or the alert to keep as it is."""
    thresholds = version.thresholds
    assert isinstance(thresholds, SourceSilent)  # noqa: S101 - its own rule's
    raised = Raised(
        account_id=subject_id(source),
        rule=SOURCE_RULE,
        rule_version=version.version,
        owner_id=None,
        one_shot=False,
        cooldown=timedelta(hours=thresholds.cooldown_hours),
        reopen_within=timedelta(days=thresholds.reopen_days),
        source=source,
    )
    times = (
        ()
        if alert is None
        else [alert.open_since + timedelta(days=days) for days in sorted(thresholds.lead_after_days)]
    )
    outcome: Outcome = settle(alert, finding, raised, times, now)
    return outcome.step, outcome.silent


def vouched(alerts: Iterable[Alert]) -> frozenset[str]:
    """Return the sources of which a person says that their quiet is right: they resolved the alert, and it lasts."""
    return frozenset(
        alert.source
        for alert in alerts
        if alert.source and alert.state == "resolved" and alert.resolution == "by_person" and alert.cause_present
    )


def told(
    step: Step, source: Source | None, users: Mapping[str, User], teams: Mapping[str, Team], day: date
) -> tuple[str, ...]:
    """Return the users who get a mail about the step; a step that does not speak tells nobody.

    Whom the source's configuration names (by id, by team, or all operators); else whose mailbox it is, and the
    operators; else the leads of all teams. Leads of the named people when it is escalated. And those who stand in for
    them all.
    """
    if not step.speaks:
        return ()
    active = {user_id: user for user_id, user in users.items() if user.active}
    people = _responsible(source, active.values(), teams) or leads(teams.values())
    found = reached(people, users, day)
    if step.tell_lead:
        own = [
            team.lead_id
            for one in people
            if (user := active.get(one)) and user.team_id and (team := teams.get(user.team_id)) and team.lead_id
        ]
        found += reached(own, users, day) or reached(leads(teams.values()), users, day)
    return tuple(dict.fromkeys(found))


def told_of_source(
    step: Step, name: str, users: Mapping[str, User], teams: Mapping[str, Team], day: date
) -> tuple[str, ...]:
    """Return what `told` says where nothing but the name of the source is known, and so nobody whom it names."""
    return told(step, Source(name, "", polled=False, horizon=None, last_delivery=None, status=""), users, teams, day)


def _responsible(source: Source | None, users: Iterable[User], teams: Mapping[str, Team]) -> list[str]:
    if source is None:
        return []
    named = {name.casefold() for name in source.responsible}
    known = sorted(users, key=lambda user: user.user_id)
    chosen = [user.user_id for user in known if named & _known_as(user, teams)]
    if chosen:
        return chosen
    return [user.user_id for user in known if source.name in user.mailboxes or user.role == "operator"]


def _known_as(user: User, teams: Mapping[str, Team]) -> set[str]:
    """Return what a source's configuration may call a user."""
    team = teams.get(user.team_id) if user.team_id is not None else None
    names = {user.user_id} | ({"operators"} if user.role == "operator" else set())
    return names if team is None else names | {f"team:{team.name}".casefold()}


def _broken(source: Source, thresholds: SourceSilent, now: datetime, zone: ZoneInfo) -> Finding | None:
    last = source.horizon
    since = last or source.broken_since or now
    deadline = since + timedelta(minutes=thresholds.broken_after_minutes)
    if now < deadline:
        return None
    known = f"Everything up to {at_time(last, zone)} is known, nothing after it." if last else "It never worked yet."
    return Finding(
        subject=SUBJECT,
        severity=_severity(deadline, thresholds, now),
        deadline=deadline,
        title=f"Source {source.name} is down",
        explanation=(
            f"ingest cannot read {source.name} ({source.provider}): {source.status.removeprefix('broken:').strip()}. "
            f"{known} Alerts about silence of the accounts that it feeds wait until it works again."
        ),
        figures=_figures("hours since the last good pass", last, deadline, now),
        cause=f"broken:{format_instant(last) if last else 'never'}",
        last_delivery=source.last_delivery,
    )


def _quiet(source: Source, thresholds: SourceSilent, now: datetime, zone: ZoneInfo) -> Finding | None:
    last, unusual = source.last_delivery, source.unusual_from
    if last is None or unusual is None or now <= unusual:
        return None
    expected = (
        f" By its own rhythm something comes until {at_time(source.expected_by, zone)}." if source.expected_by else ""
    )
    return Finding(
        subject=SUBJECT,
        severity=_severity(unusual, thresholds, now),
        deadline=unusual,
        title=f"Source {source.name} is quiet",
        explanation=(
            f"The last delivery of {source.name} ({source.provider}) came on {at_time(last, zone)}.{expected} "
            f"A silence beyond {at_time(unusual, zone)} is unusual for this source: the feed may be broken. Alerts "
            "about silence of the accounts that it feeds wait until it delivers, or until somebody resolves this one "
            "because the quiet is right."
        ),
        figures=_figures("hours since the last delivery", last, unusual, now),
        cause=f"quiet:{format_instant(last)}",
        last_delivery=last,
        expected_by=source.expected_by,
    )


def _severity(deadline: datetime, thresholds: SourceSilent, now: datetime) -> Severity:
    return "alert" if now > deadline + timedelta(hours=thresholds.alert_after_hours) else "warn"


def _figures(name: str, since: datetime | None, deadline: datetime, now: datetime) -> tuple[EvidenceFigure, ...]:
    if since is None:
        return ()
    return (
        EvidenceFigure(
            name=name,
            value=Decimal((now - since) // _HOUR),
            threshold=Decimal((deadline - since) // _HOUR),
            unit="hours",
        ),
    )
