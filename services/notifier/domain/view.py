"""What the notifier knows of one account, as rules read it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from contracts.accounts import Account, GroupRole, Stage, User, WorkingHours
from contracts.kpis import AccountKpis
from contracts.values import Dated, Direction, Kind


@dataclass(frozen=True, slots=True)
class Brief:
    """One interaction of the account, described in a line: for evidence."""

    interaction_id: str
    kind: Kind
    occurred_at: datetime
    direction: Direction | None = None
    contact_id: str | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A live report that somebody left or can no longer be reached."""

    interaction_id: str
    state: Literal["left", "bounced"]
    contact_ids: tuple[str, ...]
    occurred_at: datetime
    account_version: int
    """The account's version under which it was read: it waits until that is known here."""


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account with everything that rules may look at. `zone` is the company's time zone."""

    account: Account
    zone: ZoneInfo
    kpis: AccountKpis | None = None
    users: Mapping[str, User] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    briefs: Mapping[str, Brief] = field(default_factory=dict)

    def day(self, now: datetime) -> date:
        """Return the company's day at `now`."""
        return now.astimezone(self.zone).date()

    def is_key(self, now: datetime) -> bool:
        """Say whether the account is named a key account on the day of `now`."""
        return bool(current(self.account.key, self.day(now)))

    def stage(self, now: datetime) -> Stage | None:
        """Return the stage on the day of `now`."""
        stage: Stage | None = current(self.account.stages, self.day(now))
        return stage

    def owner_id(self, now: datetime) -> str | None:
        """Return the owner on the day of `now`."""
        owner: str | None = current(self.account.owners, self.day(now))
        return owner

    def owner(self, now: datetime) -> User | None:
        """Return the owner on the day of `now`, if known here."""
        owner_id = self.owner_id(now)
        return None if owner_id is None else self.users.get(owner_id)

    def owner_hours(self, now: datetime) -> WorkingHours | None:
        """Return the owner's working hours; None where there is no owner."""
        owner = self.owner(now)
        return None if owner is None else owner.working_hours

    def team_ids(self, now: datetime) -> tuple[str, ...]:
        """Return the owner and the account team on the day of `now`, the owner first."""
        day = self.day(now)
        owner = self.owner_id(now)
        members = [member.value.user_id for member in self.account.team if member.holds_on(day)]
        return tuple(dict.fromkeys([*([owner] if owner else []), *members]))

    def contact_name(self, contact_id: str | None) -> str | None:
        """Return the name of a contact of this account; None where it is not known."""
        return next((contact.name for contact in self.account.contacts if contact.contact_id == contact_id), None)

    def roles_on(self, contact_id: str, day: date) -> tuple[GroupRole, ...]:
        """Return the roles that a contact held on `day`, also those that ended on that very day."""
        return tuple(
            dated.value.role
            for contact in self.account.contacts
            if contact.contact_id == contact_id
            for dated in contact.roles
            # Who leaves today loses the role today: it is today's roles that we ask about.
            if dated.since <= day and (dated.until is None or day <= dated.until)
        )

    def next_change(self, now: datetime) -> datetime | None:
        """Return the next midnight at which stage, key decision, owner or team change by date; None: never."""
        day = self.day(now)
        dated: list[Dated[Any]] = [*self.account.stages, *self.account.key, *self.account.owners, *self.account.team]
        days = [edge for value in dated for edge in (value.since, value.until) if edge is not None and edge > day]
        if not days:
            return None
        # Due times pass strictly after they are reached: midnight itself must already be the new day. In UTC: wall time
        # says 23:59 twice where clocks are put back at midnight, and means the one an hour before the day is over.
        return datetime.combine(min(days), time(), self.zone).astimezone(UTC) - timedelta(microseconds=1)


def current(values: Iterable[Dated[Any]], day: date) -> Any:
    """Return the value that holds on `day`, the latest begun; None where none does."""
    holding = [value for value in values if value.holds_on(day)]
    return max(holding, key=lambda value: value.since).value if holding else None


def earliest(*moments: datetime | None) -> datetime | None:
    """Return the earliest of the moments that are given; None where none is."""
    given = [moment for moment in moments if moment is not None]
    return min(given) if given else None
