"""The alert about a source: when it opens, whom it tells, how it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from contracts.accounts import Deputy
from contracts.ids import derive_id
from services.notifier.domain.findings import Finding
from services.notifier.domain.horizon import Source
from services.notifier.domain.life import Alert, resolve
from services.notifier.domain.rules import RuleVersion
from services.notifier.domain.sources import evaluate, look_at, subject_id, told, vouched
from services.notifier.domain.thresholds import SourceSilent
from tests.unit.notifier.states import ANNA, LENA, NOON, TEAM, anna, lena, team

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
VERSION = RuleVersion("source_silent", 1, SourceSilent())
WELL = Source("desk", "zendesk", polled=False, horizon=NOON, last_delivery=NOON, status="ok")
QUIET = replace(WELL, quiet=True, expected_by=NOON + HOUR, unusual_from=NOON + 3 * HOUR)
DOWN = Source("max", "imap", polled=True, horizon=NOON, last_delivery=NOON, status="broken: login refused")


def found(source: Source, now: datetime) -> Finding:
    finding = evaluate(source, SourceSilent(), now, BERLIN)
    assert finding is not None
    return finding


def opened(source: Source, now: datetime) -> Alert:
    step, _ = look_at(source.name, found(source, now), None, VERSION, now)
    assert step is not None
    assert step.kind == "opened"
    return replace(step.alert, alert_id="a", version=1)


def test_a_quiet_source_warns_with_its_last_delivery_and_what_was_expected() -> None:
    alert = opened(QUIET, NOON + 4 * HOUR)
    assert (alert.source, alert.severity, alert.account_id) == ("desk", "warn", subject_id("desk"))
    assert alert.evidence.last_delivery == NOON
    assert alert.evidence.expected_by == NOON + HOUR
    (figure,) = alert.evidence.figures
    assert figure.value == 4
    assert figure.threshold == 3
    assert "2 Mar 2026, 12:00 CET" in alert.explanation


def test_a_source_that_is_well_or_not_quiet_yet_says_nothing() -> None:
    for source in (
        WELL,
        replace(QUIET, quiet=False),
        replace(QUIET, unusual_from=None),
        replace(QUIET, last_delivery=None),
    ):
        assert evaluate(source, SourceSilent(), NOON + 4 * HOUR, BERLIN) is None
    assert evaluate(QUIET, SourceSilent(enabled=False), NOON + 4 * HOUR, BERLIN) is None


def test_a_mailbox_may_be_down_for_half_an_hour_before_anybody_is_told() -> None:
    assert evaluate(DOWN, SourceSilent(), NOON + timedelta(minutes=29), BERLIN) is None
    alert = opened(DOWN, NOON + timedelta(minutes=31))
    assert "login refused" in alert.explanation
    assert "12:00 CET" in alert.explanation


def test_a_mailbox_that_never_worked_has_as_long_since_it_was_tried() -> None:
    never = replace(DOWN, horizon=None, broken_since=NOON)
    assert evaluate(never, SourceSilent(), NOON + timedelta(minutes=29), BERLIN) is None
    assert "never worked" in found(never, NOON + timedelta(minutes=31)).explanation


def test_one_alert_is_open_about_a_source_and_it_ends_by_itself() -> None:
    now = NOON + 4 * HOUR
    alert = opened(QUIET, now)
    assert look_at("desk", found(QUIET, now), alert, VERSION, now + HOUR) == (None, None)
    broken = evaluate(replace(WELL, status="broken: 500"), SourceSilent(), now, BERLIN)
    assert look_at("desk", broken, alert, VERSION, now + HOUR) == (None, None)
    step, _ = look_at("desk", None, alert, VERSION, now + HOUR)
    assert step is not None
    assert (step.kind, step.alert.resolution) == ("resolved", "cause_gone")


def test_after_a_day_it_grows_serious_and_then_the_leads_hear_of_it() -> None:
    alert = opened(QUIET, NOON + 4 * HOUR)
    later = NOON + 28 * HOUR
    step, _ = look_at("desk", found(QUIET, later), alert, VERSION, later)
    assert step is not None
    assert (step.kind, step.alert.severity) == ("escalated", "alert")
    users = {user.user_id: user for user in (anna(mailboxes=("desk",)), lena())}
    assert told(replace(step, tell_lead=True), QUIET, users, {"t": team()}, NOON.date()) == (ANNA, LENA)


def test_whom_the_configuration_names_is_told_before_anybody_else() -> None:
    step, _ = look_at("desk", found(QUIET, NOON + 4 * HOUR), None, VERSION, NOON + 4 * HOUR)
    assert step is not None
    users = {user.user_id: user for user in (anna(), lena())}
    by_id = replace(QUIET, responsible=(ANNA,))
    assert told(step, by_id, users, {"t": team()}, NOON.date()) == (ANNA,)
    by_team = replace(QUIET, responsible=("team:south",))
    assert set(told(step, by_team, users, {TEAM: team()}, NOON.date())) == {ANNA, LENA}
    assert told(step, QUIET, users, {"t": team()}, NOON.date()) == (LENA,)
    operator = lena().model_copy(update={"role": "operator"})
    assert told(step, QUIET, {ANNA: anna(), LENA: operator}, {}, NOON.date()) == (LENA,)
    operators = replace(QUIET, responsible=("operators",))
    owner = anna(mailboxes=("desk",))
    assert told(step, operators, {ANNA: owner, LENA: operator}, {}, NOON.date()) == (LENA,)


def test_who_resolves_it_says_that_the_quiet_is_right_until_something_comes() -> None:
    now = NOON + 4 * HOUR
    resolved = resolve(opened(QUIET, now), ANNA, now).alert
    assert vouched([resolved]) == {"desk"}
    step, silent = look_at("desk", found(QUIET, now + HOUR), resolved, VERSION, now + HOUR)
    assert step is None
    assert silent is None
    _, gone = look_at("desk", None, resolved, VERSION, now + 2 * HOUR)
    assert gone is not None
    assert vouched([gone]) == frozenset()


@given(st.lists(st.tuples(st.sampled_from([WELL, QUIET, DOWN]), st.integers(0, 96)), max_size=20))
def test_whatever_happens_a_source_has_at_most_one_alert_that_is_not_resolved(story: list[tuple[Source, int]]) -> None:
    alerts: list[Alert] = []
    now = NOON + 4 * HOUR
    for source, hours in story:
        now += hours * HOUR
        latest = alerts[-1] if alerts else None
        step, silent = look_at("desk", evaluate(source, SourceSilent(), now, BERLIN), latest, VERSION, now)
        if silent is not None:
            alerts[-1] = silent
        if step is not None:
            if step.kind == "opened":
                assert latest is None or latest.state == "resolved"
                alerts.append(step.alert)
            else:
                alerts[-1] = step.alert
        assert sum(alert.state != "resolved" for alert in alerts) <= 1
        if source is WELL and alerts:
            assert alerts[-1].state == "resolved"


def test_an_escalation_reaches_whoever_stands_in_for_the_lead_and_other_leads_where_that_one_has_left_us() -> None:
    step, _ = look_at("desk", found(QUIET, NOON + 4 * HOUR), None, VERSION, NOON + 4 * HOUR)
    assert step is not None
    step, rita = replace(step, tell_lead=True), derive_id("test", "rita")
    owner, teams = anna(mailboxes=("desk",)), {TEAM: team()}
    deputies = (Deputy(user_id=rita, for_user_id=LENA, since=NOON.date()),)
    users = {ANNA: owner, LENA: lena(deputies=deputies), rita: lena(user_id=rita)}
    assert told(step, QUIET, users, teams, NOON.date()) == (ANNA, LENA, rita)
    users = {ANNA: owner, LENA: lena(active=False), rita: lena(user_id=rita)}
    teams["north"] = team().model_copy(update={"team_id": rita, "lead_id": rita})
    assert told(step, QUIET, users, teams, NOON.date()) == (ANNA, rita)
