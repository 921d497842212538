"""What the notifier asks of its tables, of the services before it, and of channels. `store` and `channels` provide it.

A `connection` is an open transaction; each method is one statement, or one for each of a few rows.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.alerts import RuleName
from services.notifier.domain.absence import Watch
from services.notifier.domain.delivery import Attempt, Job
from services.notifier.domain.horizon import Horizons
from services.notifier.domain.life import Alert
from services.notifier.domain.look import Decided
from services.notifier.domain.recall import Recalled
from services.notifier.domain.rules import RuleVersion
from services.notifier.domain.state import Due, Surroundings, Watched


class Row(Protocol):
    """A row by column names."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a column."""
        ...

    def keys(self) -> Any:
        """Return the columns' names."""
        ...


class AccountTables(Protocol):
    """Watched accounts and activity."""

    async def lock(
        self, connection: Any, account_ids: Iterable[str], coming: Mapping[str, int] = ...
    ) -> dict[str, Watched]:
        """Lock accounts in order, making missing rows; KPIs below the version that is `coming` are left out."""
        ...

    async def lock_due(
        self,
        connection: Any,
        now: datetime,
        asked_at: datetime,
        limit: int,
        rules: Sequence[RuleName],
        *,
        patient: bool = ...,
    ) -> dict[str, Watched]:
        """Lock the accounts of due looks at `rules`, skipping those that somebody holds, or (`patient`) waiting."""
        ...

    async def save(self, connection: Any, watched: Sequence[Watched]) -> None:
        """Write locked accounts."""
        ...

    async def save_activity(self, connection: Any, attributions: Sequence[Attribution]) -> set[str]:
        """Take newer attributions; return accounts whose signals changed."""
        ...

    async def surroundings(
        self, connection: Any, watched: Iterable[Watched], now: datetime, *, evidence: bool
    ) -> Surroundings:
        """Return what rules need beside the accounts' rows; briefs, sources and alerts only with `evidence`."""
        ...

    async def forget_old_briefs(self, connection: Any, before: datetime) -> None:
        """Drop lines that are too old for evidence."""
        ...


class PeopleTables(Protocol):
    """Users, teams, who works on which account."""

    async def save_people(self, connection: Any, accounts: Sequence[Account]) -> None:
        """Replace who works on accounts."""
        ...

    async def save_users(self, connection: Any, users: Sequence[User]) -> set[str]:
        """Take newer users; return their ids."""
        ...

    async def save_teams(self, connection: Any, teams: Sequence[Team]) -> None:
        """Take newer teams."""
        ...

    async def accounts_of(self, connection: Any, user_ids: Collection[str]) -> set[str]:
        """Return the accounts that users work on."""
        ...

    async def everybody(self, connection: Any) -> dict[str, User]:
        """Return all active users."""
        ...

    async def teams(self, connection: Any) -> dict[str, Team]:
        """Return all teams."""
        ...


class RuleTables(Protocol):
    """Rule versions and due times."""

    async def current(self, connection: Any) -> dict[RuleName, RuleVersion]:
        """Return the version of each rule that holds."""
        ...

    async def prepare(self, connection: Any) -> None:
        """Write down version 1 of rules that have none, and have them looked at everywhere."""
        ...

    async def versions(self, connection: Any, rule: RuleName | None = None) -> Sequence[Row]:
        """Return all versions, the latest first."""
        ...

    async def add_version(
        self, connection: Any, rule: RuleName, thresholds: Mapping[str, Any], *, note: str, by: str, now: datetime
    ) -> int:
        """Give a rule new thresholds."""
        ...

    async def save_due(self, connection: Any, looks: Iterable[Due]) -> None:
        """Write when to look again."""
        ...

    async def due_rules(
        self,
        connection: Any,
        account_ids: Sequence[str],
        now: datetime,
        asked_at: datetime,
        rules: Sequence[RuleName],
    ) -> dict[str, list[RuleName]]:
        """Return which of `rules` are due for locked accounts."""
        ...

    async def any_due(self, connection: Any, rules: Sequence[RuleName], now: datetime, asked_at: datetime) -> bool:
        """Say whether one of the rules, or anything that was held, is due anywhere."""
        ...

    async def ask_again(self, connection: Any) -> None:
        """Have everything that is held asked about at once."""
        ...

    async def due_counts(self, connection: Any, now: datetime, rules: Sequence[RuleName]) -> Row:
        """Return how many looks at `rules` are `due`, `waiting` for a horizon, held by something `broken`."""
        ...

    async def held(self, connection: Any, limit: int = 20) -> Sequence[Row]:
        """Return why looks are held."""
        ...


class AlertTables(Protocol):
    """Alerts and their steps."""

    async def about_sources(self, connection: Any) -> list[Alert]:
        """Return the latest alert about each source that ever had one."""
        ...

    async def relevant(self, connection: Any, account_ids: Collection[str]) -> dict[str, list[Alert]]:
        """Return the latest alert of each dedup key of locked accounts."""
        ...

    async def save_told(self, connection: Any, account_id: str, source: str, user_ids: Collection[str]) -> None:
        """Remember who answers for a locked source."""
        ...

    async def watched_causes(self, connection: Any, account_ids: Collection[str]) -> set[tuple[str, str]]:
        """Return (account, rule) pairs whose alerts a change of the cause concerns."""
        ...

    async def save_alerts(self, connection: Any, alerts: Iterable[Alert]) -> None:
        """Write alerts without a step."""
        ...

    async def look_again(self, connection: Any, account_id: str, rule: str) -> None:
        """Have a rule of a locked account looked at at once."""
        ...

    async def find(self, connection: Any, alert_id: str) -> Alert | None:
        """Return one alert."""
        ...

    async def listing(
        self,
        connection: Any,
        *,
        state: str | None,
        account_id: str | None,
        rule: str | None,
        limit: int,
        after: tuple[datetime, str] | None,
    ) -> list[Alert]:
        """Return alerts, the latest change first."""
        ...

    async def steps_of(self, connection: Any, alert_id: str) -> Sequence[Row]:
        """Return the history of an alert."""
        ...

    async def user_of(self, connection: Any, issuer: str, subject: str) -> str | None:
        """Return the user who is calling."""
        ...

    async def account_names(self, connection: Any, account_ids: Collection[str]) -> dict[str, str]:
        """Return names of accounts."""
        ...


class Taking(Protocol):
    """What becomes of decisions."""

    async def take(self, connection: Any, decided: Sequence[Decided], *, gathering: bool = False) -> int:
        """Take steps of locked accounts; return how much is delivered of them. `gathering`: their mails are held."""
        ...


class DeliveryTables(Protocol):
    """The queue of deliveries."""

    async def lease(
        self,
        connection: Any,
        *,
        busy: Collection[str],
        mail_free: int,
        limit: int,
        for_seconds: float,
        zone: ZoneInfo,
    ) -> list[Job]:
        """Lease deliveries that may be tried now."""
        ...

    async def renew(self, connection: Any, jobs: Collection[Job], for_seconds: float) -> None:
        """Keep the leases of running attempts."""
        ...

    async def withdraw(self, connection: Any, job: Job, why: str) -> None:
        """Record that a leased delivery is not sent."""
        ...

    async def settle(self, connection: Any, job: Job, attempt: Attempt, next_attempt_at: datetime | None) -> None:
        """Record an attempt."""
        ...

    async def counts(self, connection: Any) -> Row:
        """Return how many are `untried`, `retrying`, `paused`, `held`, `dead`."""
        ...

    async def next_attempt_in(self, connection: Any) -> float | None:
        """Return in how many seconds the next may be tried."""
        ...


class DeliveryLog(Protocol):
    """What operators see of deliveries."""

    async def listing(
        self, connection: Any, *, state: str | None, destination_id: str | None, alert_id: str | None, limit: int
    ) -> Sequence[Row]:
        """Return deliveries, the latest first."""
        ...

    async def attempts_of(self, connection: Any, delivery_id: str) -> Sequence[Row]:
        """Return the attempts of a delivery."""
        ...

    async def retry(self, connection: Any, delivery_id: str) -> bool:
        """Try a delivery again now."""
        ...


class DestinationTables(Protocol):
    """Destinations and routes."""

    async def destinations(self, connection: Any) -> Sequence[Row]:
        """Return all destinations."""
        ...

    async def add_destination(self, connection: Any, destination_id: str, given: Mapping[str, Any]) -> None:
        """Add one."""
        ...

    async def change_destination(
        self, connection: Any, destination_id: str, *, paused: bool | None, active: bool | None
    ) -> Row | None:
        """Pause, resume, switch off or on."""
        ...

    async def routes(self, connection: Any) -> Sequence[Row]:
        """Return all routes."""
        ...

    async def add_route(self, connection: Any, route_id: str, given: Mapping[str, Any]) -> bool:
        """Add one; False where its destination does not exist."""
        ...

    async def remove_route(self, connection: Any, route_id: str) -> bool:
        """Remove one."""
        ...


class WatchTables(Protocol):
    """The one row that remembers how complete our knowledge was."""

    async def load(self, connection: Any) -> Watch:
        """Return what is remembered."""
        ...

    async def lock(self, connection: Any) -> None:
        """Let nobody end an absence before the transaction ends."""
        ...

    async def absent(self, connection: Any, since: datetime, why: str) -> None:
        """Remember that what happened since then is being caught up."""
        ...

    async def complete(self, connection: Any, at: datetime) -> None:
        """Remember that everything up to `at` was known."""
        ...

    async def recalled(self, connection: Any) -> None:
        """Remember that what a restore had forgotten was taken back."""
        ...

    async def ended(self, connection: Any, at: datetime, since: datetime) -> bool:
        """Forget the absence that began at `since`; False where another has been found meanwhile."""
        ...


class GatheringTables(Protocol):
    """Mails that are held while something is caught up."""

    async def hold(self, connection: Any) -> None:
        """Hold all mail that waits."""
        ...

    async def let_go(self, connection: Any, rules: Collection[str]) -> None:
        """Let held mails go that are about alerts of `rules` only."""
        ...

    async def release(self, connection: Any) -> None:
        """Let go what was held: one message for each destination, nothing of what is over."""
        ...


class Upstream(Protocol):
    """The services that records pass before they come here."""

    async def horizons(self) -> Horizons:
        """Ask them all, in the order in which records travel; never raises: who does not answer is not known."""
        ...


class Sayings(Protocol):
    """What was published on `tenure.alerts`."""

    async def alerts(self) -> list[Recalled]:
        """Return every alert that the topic still tells of."""
        ...


class RecallTables(Protocol):
    """Alerts and steps that a restore has forgotten."""

    async def take_back(self, connection: Any, recalled: Sequence[Recalled], now: datetime, zone: ZoneInfo) -> int:
        """Write alerts that were published in a later state than is known here; return how many."""
        ...


class Channel(Protocol):
    """A way to reach somebody."""

    async def deliver(self, job: Job) -> Attempt:
        """Try once, within the channel's own time-out; whatever goes wrong outside is an outcome, not an error."""
        ...
