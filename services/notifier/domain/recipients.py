"""Who is told of a step: the owner and who stands in for them, the lead when it is escalated."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from contracts.accounts import Team, User
from contracts.alerts import RuleName, Severity
from services.notifier.domain.findings import RANK
from services.notifier.domain.life import Step
from services.notifier.domain.view import AccountView


@dataclass(frozen=True, slots=True)
class Destination:
    """Where alerts go: a person's mailbox, or a web hook. `user_id` is set on the one that every user has."""

    destination_id: str
    kind: Literal["mail", "webhook"]
    name: str
    address: str
    """A mail address, or an http(s) URL."""
    user_id: str | None = None
    secret_file: str | None = None
    """Name of the file in the secrets folder that holds the signing secret; web hooks only."""
    active: bool = True
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Sends steps to a destination beside the owners' mail. A field that is None does not narrow it."""

    route_id: str
    destination_id: str
    rule: RuleName | None = None
    least_severity: Severity = "info"
    account_id: str | None = None
    owner_id: str | None = None
    spoken_only: bool = False
    """Only what is said to people (opened, escalated, reopened), not acknowledgements and resolutions."""

    def takes(self, step: Step) -> bool:
        """Say whether this step goes to the destination."""
        alert = step.alert
        return (
            self.rule in {None, alert.rule}
            and RANK[alert.severity] >= RANK[self.least_severity]
            and self.account_id in {None, alert.account_id}
            and self.owner_id in {None, alert.owner_id}
            and (step.speaks or not self.spoken_only)
        )


def told_users(step: Step, view: AccountView, teams: Mapping[str, Team], now: datetime) -> tuple[str, ...]:
    """Return the users who get a mail about the step; a step that does not speak tells nobody.

    Without an owner the account team is told, and without one the leads of all teams; each with those who stand in for
    them. Who is not active any more is as good as not there.
    """
    if not step.speaks:
        return ()
    day = view.day(now)
    owner = view.owner_id(now)
    told = (
        reached([owner] if owner else [], view.users, day)
        or reached(view.team_ids(now), view.users, day)
        or reached(leads(teams.values()), view.users, day)
    )
    if step.tell_lead and (own := _leads_of(view.owner(now), teams)):
        told += reached(own, view.users, day) or reached(leads(teams.values()), view.users, day)
    return tuple(dict.fromkeys(told))


def reached(people: Iterable[str], users: Mapping[str, User], day: date) -> list[str]:
    """Return which of these users, and of those who stand in for them on a day, are known and active."""
    asked = list(people)
    for user_id in tuple(asked):
        asked += deputies_of(users.get(user_id), day)
    return [user_id for user_id in asked if user_id in users and users[user_id].active]


def deputies_of(user: User | None, day: date) -> list[str]:
    """Return who stands in for a user on a day."""
    if user is None:
        return []
    return [
        deputy.user_id
        for deputy in user.deputies
        if deputy.since <= day and (deputy.until is None or day < deputy.until)
    ]


def _leads_of(owner: User | None, teams: Mapping[str, Team]) -> list[str]:
    team = teams.get(owner.team_id) if owner and owner.team_id else None
    return [team.lead_id] if team and team.lead_id else leads(teams.values()) if owner is None else []


def leads(teams: Iterable[Team]) -> list[str]:
    """Return the leads of all teams."""
    return sorted({team.lead_id for team in teams if team.lead_id})
