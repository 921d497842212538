"""Who is told: somebody always is, whoever has left or is away."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from contracts.accounts import Deputy, TeamMember, User
from contracts.alerts import AlertEvidence
from contracts.ids import derive_id
from contracts.values import Dated
from services.notifier.domain.life import Alert, Step
from services.notifier.domain.recipients import told_users
from services.notifier.domain.view import AccountView
from tests.unit.notifier.states import ACCOUNT, ANNA, LENA, LONG_AGO, NOON, TEAM, account, anna, lena, team

PAUL, RITA = derive_id("test", "paul"), derive_id("test", "rita")
ALERT = Alert(
    alert_id=derive_id("test", "alert"),
    account_id=ACCOUNT,
    version=1,
    rule="stale_touch",
    rule_version=1,
    severity="warn",
    state="open",
    dedup_key="key",
    title="No touch",
    explanation="None.",
    evidence=AlertEvidence(),
    opened_at=NOON,
    changed_at=NOON,
    open_since=NOON,
)
OPENED = Step("opened", ALERT, NOON)
TO_THE_LEAD = replace(OPENED, kind="escalated", tell_lead=True)
PAUL_JOINED = (Dated[TeamMember](value=TeamMember(user_id=PAUL, role="engineer"), since=LONG_AGO),)


def paul(**changed: object) -> User:
    return anna(user_id=PAUL, name="Paul Roth", email="paul@brightwell.example", subject="paul", **changed)


def stands_in(user_id: str, for_user_id: str) -> tuple[Deputy, ...]:
    return (Deputy(user_id=user_id, for_user_id=for_user_id, since=NOON.date() - timedelta(days=1)),)


def told(step: Step, *users: User, members: tuple[Dated[TeamMember], ...] = ()) -> tuple[str, ...]:
    known = {user.user_id: user for user in users}
    return told_users(step, AccountView(account(team=members), ZoneInfo("Europe/Berlin"), users=known), TEAMS, NOON)


TEAMS = {TEAM: team()}


def test_where_the_owner_has_left_us_the_account_team_is_told_and_without_one_the_leads() -> None:
    assert told(OPENED, anna(), paul(), lena(), members=PAUL_JOINED) == (ANNA,)
    gone = anna(active=False)
    assert told(OPENED, gone, paul(), lena(), members=PAUL_JOINED) == (PAUL,)
    assert told(OPENED, gone, paul(active=False), lena(), members=PAUL_JOINED) == (LENA,)
    assert told(OPENED, gone, lena()) == (LENA,)


def test_who_stands_in_for_an_owner_who_has_left_us_is_told() -> None:
    gone = anna(active=False, deputies=stands_in(PAUL, ANNA))
    assert told(OPENED, gone, paul(), lena()) == (PAUL,)


def test_who_stands_in_for_the_lead_hears_of_an_escalation_too() -> None:
    away = lena(deputies=stands_in(PAUL, LENA))
    assert told(TO_THE_LEAD, anna(), away, paul()) == (ANNA, LENA, PAUL)
    assert told(TO_THE_LEAD, anna(), lena(active=False, deputies=stands_in(PAUL, LENA)), paul()) == (ANNA, PAUL)


def test_where_the_lead_has_left_us_other_leads_hear_of_an_escalation() -> None:
    rita = lena(user_id=RITA, name="Rita Falk", email="rita@brightwell.example", subject="rita")
    teams = {TEAM: team(), RITA: team().model_copy(update={"team_id": RITA, "lead_id": RITA})}
    users = {user.user_id: user for user in (anna(), lena(active=False), rita)}
    view = AccountView(account(), ZoneInfo("Europe/Berlin"), users=users)
    assert told_users(TO_THE_LEAD, view, teams, NOON) == (ANNA, RITA)
