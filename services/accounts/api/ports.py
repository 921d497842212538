"""What the API asks of the tables. `store` provides it; `app` brings both together."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime, timedelta
from typing import Any, Protocol

from services.accounts.domain.intervals import Interval
from services.accounts.domain.matching import Link, Serving

Row = dict[str, Any]


class People(Protocol):
    """Contacts, decision groups, users, teams and rules, as people change them."""

    async def contacts_by_key(self, keys: Collection[str]) -> dict[str, str]:
        """Return contact ids by external key."""
        ...

    async def contact_exists(self, contact_id: str) -> bool:
        """Say whether there is such a contact."""
        ...

    async def save_contact(self, contact_id: str, key: str | None, name: str, now: datetime) -> None:
        """Add a contact or rename it."""
        ...

    async def centre(self, account_id: str, name: str, new_id: str, came_with: str | None = None) -> str:
        """Return the buying centre of that name, made under `new_id` when there is none.

        `came_with`: a merged account; the one that it had under that name is meant, where it had one.
        """
        ...

    async def centre_account(self, centre_id: str) -> str | None:
        """Return whose buying centre it is."""
        ...

    async def save_member(
        self, centre_id: str, contact_id: str, influence: int | None, attitude: int | None, reports_to: str | None
    ) -> None:
        """Add a member of a buying centre or change what is known; what is not given stays."""
        ...

    async def roles(self, centre_id: str, contact_id: str) -> list[Interval[str]]:
        """Return the roles of a member, over all time."""
        ...

    async def set_roles(self, centre_id: str, contact_id: str, roles: Sequence[Interval[str]]) -> None:
        """Replace the roles of a member."""
        ...

    async def remove_member(self, centre_id: str, contact_id: str) -> None:
        """Take a contact out of a buying centre, as if it had never been in it."""
        ...

    async def users_by_email(self, emails: Collection[str]) -> dict[str, str]:
        """Return user ids by address."""
        ...

    async def user(self, user_id: str) -> Mapping[str, Any] | None:
        """Return a user's own row."""
        ...

    async def identity_of_token(self, issuer: str, subject: str) -> str | None:
        """Return the user that an (issuer, subject) is."""
        ...

    async def save_user(self, user: Mapping[str, Any]) -> None:
        """Add a user or change all fields of one; `user` holds every column."""
        ...

    async def team(self, name: str, new_id: str) -> str:
        """Return the team of that name, made under `new_id` when there is none."""
        ...

    async def team_exists(self, team_id: str) -> bool:
        """Say whether there is such a team."""
        ...

    async def save_team(self, team_id: str, name: str | None, lead_id: str | None) -> None:
        """Rename a team or give it a lead; None leaves as it is."""
        ...

    async def set_deputy(self, for_user_id: str, user_id: str, since: date, until: date | None) -> None:
        """Let `user_id` stand in for `for_user_id` on those days."""
        ...

    async def remove_deputy(self, for_user_id: str, user_id: str, since: date) -> bool:
        """Take a deputy's days back; say whether there were any."""
        ...

    async def save_rule(self, rule: Mapping[str, Any]) -> None:
        """Add a touch class rule or change all fields of one."""
        ...

    async def rule_exists(self, rule_id: str) -> bool:
        """Say whether there is such a rule."""
        ...


class Merges(Protocol):
    """Accounts that become one, and two again."""

    async def named_account(self, reference: str) -> Mapping[str, Any] | None:
        """Return id, name and merged_into of the account of that id or `key:<external key>`, merged or not."""
        ...

    async def surviving(self, ids: Collection[str]) -> dict[str, str]:
        """Return, for those of `ids` that are accounts, the account that speaks for each: itself unless merged."""
        ...

    async def lock_accounts(self, ids: Collection[str]) -> None:
        """Lock accounts, sorted, before what is dated of them is read; a transient error when one is merged by now."""
        ...

    async def merged_under(self, account_id: str) -> list[str]:
        """Return the account itself and every account that was merged into it, directly or through others."""
        ...

    async def is_above_itself(self, account_id: str) -> bool:
        """Say whether the tree of accounts runs in a circle through this one, at whatever times."""
        ...

    async def children(self, ids: Collection[str]) -> list[str]:
        """Return accounts that stand, or stood, below one of `ids`."""
        ...

    async def keys_around(self, account_id: str, origins: Sequence[str] | None = None) -> list[str]:
        """Return the identities of an account and of its contacts; `origins`: only of what came from those."""
        ...

    async def merge_account(self, account_id: str, into: str, name: str) -> None:
        """Bring everything of `account_id`, which is called `name`, to `into`; both stood for themselves until now."""
        ...

    async def unmerge_account(self, account_id: str, survivor: str) -> None:
        """Take everything that came from `account_id`, or through it, back from `survivor`."""
        ...


class Doubles(Protocol):
    """What people decided about interactions that look like one."""

    async def decide_double(  # noqa: PLR0917 - one argument for each column
        self, pair: Sequence[str], decision: str, withdrawn_id: str | None, issuer: str, subject: str, now: datetime
    ) -> None:
        """Keep what somebody decided about two interactions; a later decision replaces an earlier one."""
        ...

    async def take_back_double(self, pair: Sequence[str]) -> Row | None:
        """Forget what was decided about two interactions, and return it."""
        ...

    async def former_accounts(self, interaction_id: str) -> set[str]:
        """Return every account whose an interaction is or was, by the accounts that speak for them now."""
        ...


class Edits(People, Merges, Doubles, Protocol):
    """The writing side of one transaction, after the caller's right was checked."""

    def savepoint(self) -> AbstractAsyncContextManager[object]:
        """Begin something that is kept whole or not at all."""
        ...

    async def begin(self, today: date) -> None:
        """Say which day it is for the company: the caller's rights are asked for it."""
        ...

    async def lock_identities(self) -> None:
        """Lock identities against batches and other edits; raises `LockNotAvailableError` when that takes too long."""
        ...

    async def caller(self) -> Mapping[str, Any] | None:
        """Return the calling user (id, user_role, team_id), or None for a token that belongs to no user."""
        ...

    async def visible(self, ids: Collection[str]) -> set[str]:
        """Return those of the accounts `ids` that the caller may see."""
        ...

    async def accounts_by_key(self, keys: Collection[str]) -> dict[str, str]:
        """Return by external key the id of the account; of a merged one the id of the account that stayed."""
        ...

    async def all_accounts(self) -> list[str]:
        """Return the id of every account that was not merged into another."""
        ...

    async def insert_account(self, account_id: str, key: str | None, name: str, created_at: datetime) -> None:
        """Add an account; raises `UniqueViolationError` for a key that exists."""
        ...

    async def update_account(self, account_id: str, fields: Mapping[str, Any]) -> None:
        """Set name, account_class, currency, created_at; what is not given stays."""
        ...

    async def set_history_complete(self, ids: Collection[str], at: datetime | None) -> None:
        """Declare the import of history finished (or, with None, not finished); the first declaration stands."""
        ...

    async def intervals(self, account_id: str, sort: str) -> list[Interval[Any]]:
        """Return the history of one sort; a team member's value is (user, role)."""
        ...

    async def set_intervals(self, account_id: str, sort: str, history: Sequence[Interval[Any]]) -> None:
        """Replace the history of one sort."""
        ...

    async def ancestors(self, account_id: str) -> set[str]:
        """Return every account above `account_id` at any time, itself included."""
        ...

    async def links(self, keys: Collection[str]) -> dict[str, list[Link]]:
        """Return what identities name, over all time."""
        ...

    async def set_links(self, kind: str, key: str, links: Sequence[Link]) -> None:
        """Replace what an identity names."""
        ...

    async def keys_of_contact(self, contact_id: str) -> list[str]:
        """Return the identities that name a contact at any time."""
        ...

    async def decide_by_hand(self, interaction_id: str, column: str, value: Any) -> bool:
        """Set hand_accounts, hand_class or hand_reply_expected of an interaction; say whether it exists."""
        ...

    async def interaction_scope(self, interaction_id: str) -> Mapping[str, Any] | None:
        """Return kind, claimed accounts, and whether the caller may see the interaction."""
        ...

    async def add_job(self, selector: str, selected: Sequence[str], now: datetime) -> None:
        """Have interactions read again."""
        ...

    async def publish(
        self, now: datetime, accounts_: Collection[str], users: Collection[str], teams: Collection[str]
    ) -> int:
        """Publish what changed of these; return how many states were said."""
        ...

    async def audit(  # noqa: PLR0917 - one argument for each column
        self, now: datetime, issuer: str, subject: str, what: str, entity: str, account_id: str | None, detail: Any
    ) -> None:
        """Remember who changed what."""
        ...

    async def servings(self, contact_id: str) -> list[Serving]:
        """Return where a contact is and was."""
        ...

    async def set_servings(self, contact_id: str, servings: Sequence[Serving], *, corrected: str | None = None) -> None:
        """Replace where a contact is and was; `corrected`: the account that it always was at, whatever merges say."""
        ...


class Views(Protocol):
    """The reading side of one transaction under the caller's row-level security."""

    async def begin(self, today: date) -> None:
        """Say which day it is for the company: deputies and owners are asked for it."""
        ...

    async def me(self) -> Row | None:
        """Return the calling user."""
        ...

    async def find_account(self, reference: str) -> str | None:
        """Return the id of an account given by id or `key:<external key>`."""
        ...

    async def find_contact(self, reference: str) -> str | None:
        """Return the id of a contact given by id or `key:<external key>`."""
        ...

    async def list_accounts(
        self, day: date, search: str | None, after: tuple[str, str] | None, limit: int
    ) -> list[Row]:
        """Return accounts by name, then id, with who owns them and their stage on `day`."""
        ...

    async def account(self, account_id: str) -> Row | None:
        """Return one account with its history, contacts and roles, as it is published, and how it is known."""
        ...

    async def account_identities(self, account_id: str) -> list[Row]:
        """Return how the organisation is known: domains, provider ids, shared addresses and phones."""
        ...

    async def contacts(self, account_id: str) -> list[Row]:
        """Return the contacts of an account with how they are known and their roles."""
        ...

    async def contact(self, contact_id: str) -> Row | None:
        """Return one contact: where it is, how it is known, its roles."""
        ...

    async def groups(self, account_id: str) -> list[Row]:
        """Return the buying centres of an account with their members."""
        ...

    async def users(self) -> list[Row]:
        """Return users with their deputies."""
        ...

    async def teams(self) -> list[Row]:
        """Return teams and their leads."""
        ...

    async def rules(self) -> list[Row]:
        """Return the touch class rules in the order in which they are asked."""
        ...

    async def edits(self, account_id: str, limit: int) -> list[Row]:
        """Return who changed what of an account, latest first."""
        ...

    async def interactions(
        self, account_id: str, kind: str | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Row]:
        """Return an account's interactions, latest first, each with why it is here and how it is read."""
        ...

    async def interaction(self, interaction_id: str) -> Row | None:
        """Return one interaction with its state."""
        ...

    async def attributions(self, interaction_id: str) -> list[Row]:
        """Return what was said about an interaction, to the accounts that the caller may see."""
        ...

    async def reports(self, interaction_id: str) -> list[Row]:
        """Return everything reported about an interaction, with the bodies."""
        ...

    async def texts(self, ids: Sequence[str]) -> list[Row]:
        """Return event types and bodies of interactions, for their titles and texts."""
        ...

    async def near_pairs(
        self,
        windows: Mapping[str, timedelta],
        account_id: str | None,
        span: tuple[datetime, datetime],
        before: tuple[datetime, str, str] | None,
        limit: int,
    ) -> list[Row]:
        """Return pairs of one account and one kind that lie near each other and of which nothing was decided."""
        ...

    async def decided_pairs(self, limit: int) -> list[Row]:
        """Return what was decided, latest first."""
        ...

    async def unmatched_parties(self, limit: int) -> list[Row]:
        """Return identities that nobody knows, those seen most first."""
        ...

    async def unmatched_interactions(
        self, key: str | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Row]:
        """Return interactions that match no account, latest first; `key` narrows to one identity."""
        ...

    async def grouped_contacts(self, account_id: str) -> set[str]:
        """Return the contacts that are in some buying centre of an account."""
        ...

    async def known_keys(self, keys: Sequence[str]) -> dict[str, str]:
        """Return by identity the contact that it names now, for those that the caller may see."""
        ...
