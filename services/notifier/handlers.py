"""What comes over Kafka: accounts, users, teams, KPIs and activity become state and due times. Nothing fires here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import asyncpg

from contracts import standins
from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.alerts import RuleName
from contracts.envelope import Envelope
from contracts.kpis import AccountKpis
from services.notifier.domain.ports import AccountTables, AlertTables, PeopleTables, RuleTables, WatchTables
from services.notifier.domain.rules import RULES, RuleVersion, judge
from services.notifier.domain.state import AT_ONCE, Due, Watched
from services.notifier.domain.view import AccountView
from services.runtime.records import Received, Record

Known = Account | User | Team | Attribution | AccountKpis
_TYPES = {model.TYPE: model for model in (Account, User, Team, Attribution, AccountKpis)}
_STATES = frozenset({Account.TYPE, AccountKpis.TYPE})
_ONE_SHOT: tuple[RuleName, ...] = tuple(name for name, rule in RULES.items() if rule.one_shot)
_LASTING: tuple[RuleName, ...] = tuple(name for name, rule in RULES.items() if not rule.one_shot)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a batch touched: the accounts as they are now, and those whose one-shot rules must be looked at."""

    watched: Mapping[str, Watched]
    one_shot: set[str]


class Keeping:
    """Keeps what is newer. Whole states: a version that is not greater than the known one changes nothing."""

    def __init__(self, *, accounts: AccountTables, people: PeopleTables) -> None:
        self._accounts = accounts
        self._people = people

    def decode(self, record: Record) -> Received[Known]:
        """Read one record; raise `Unreadable` when that is impossible."""
        return decode_record(record)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Known]], _now: datetime) -> None:
        """Keep it, and nothing else: what a rebuild does."""
        await self.keep(connection, batch)

    async def keep(self, connection: asyncpg.Connection, batch: Sequence[Received[Known]]) -> Kept:
        """Keep what is newer, under the locks of the accounts that it concerns."""
        # Asked for their type, not for their class: they may be stand-ins.
        attributions = [cast("Attribution", one.event) for one in batch if one.envelope.type == Attribution.TYPE]
        users = [one.event for one in batch if isinstance(one.event, User)]
        teams = [one.event for one in batch if isinstance(one.event, Team)]
        if teams:
            await self._people.save_teams(connection, teams)
        changed_users = await self._people.save_users(connection, users) if users else set()
        concerned = await self._people.accounts_of(connection, changed_users) if changed_users else set()
        states = [one for one in batch if one.envelope.type in _STATES]
        signalling = {one.account_id for one in attributions if one.kind == "contact"}
        spoken_of = {cast("Account | AccountKpis", one.event).account_id for one in states}
        coming = _greatest([one.event for one in batch if one.envelope.type == AccountKpis.TYPE])
        watched = await self._accounts.lock(connection, concerned | signalling | spoken_of, coming)
        signalled = await self._accounts.save_activity(connection, attributions)
        changed = _newer(watched, states)
        newer = _new_accounts(watched, changed)
        if changed:
            await self._accounts.save(connection, list(changed.values()))
        if newer:
            await self._people.save_people(connection, newer)
        one_shot = signalled | {account.account_id for account in newer}
        return Kept({**watched, **changed}, one_shot)


class Handlers:
    """Applies batches: keeps what is newer, and says when rules are to be looked at."""

    def __init__(
        self,
        *,
        accounts: AccountTables,
        people: PeopleTables,
        rules: RuleTables,
        alerts: AlertTables,
        watch: WatchTables,
        zone: ZoneInfo,
        limit: timedelta,
    ) -> None:
        """`limit`: a record that is older on its arrival waited somewhere, and so did others."""
        self._keeping = Keeping(accounts=accounts, people=people)
        self._accounts = accounts
        self._rules = rules
        self._alerts = alerts
        self._watch = watch
        self._zone = zone
        self._limit = limit
        self._pressing = False

    def pressing(self) -> bool:
        """Say, once, whether since it was last asked something was written down that is to be looked at by now.

        Asked after a commit; of a batch that was tried again it may say so although nothing is.
        """
        pressing, self._pressing = self._pressing, False
        return pressing

    def decode(self, record: Record) -> Received[Known]:
        """Read one record; raise `Unreadable` when that is impossible."""
        return decode_record(record)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Known]], now: datetime) -> None:
        """Keep what is newer, then say when each rule of the touched accounts is to be looked at."""
        # What is said again says nothing of how late we are.
        recorded = [one.envelope.recordedtime for one in batch if one.envelope.republished is None]
        if recorded and now - min(recorded) > self._limit:
            # Said before anything else is locked, and committed with the first state that may be out of date.
            await self._watch.absent(connection, min(recorded), "records that waited are being caught up")
            self._pressing = True
        kept = await self._keeping.keep(connection, batch)
        await self._look_again(connection, kept.watched, now, kept.one_shot)

    async def _look_again(
        self, connection: asyncpg.Connection, watched: Mapping[str, Watched], now: datetime, one_shot: set[str]
    ) -> None:
        """Write due times: at once where something fires or an alert waits for the change, else what the rule says."""
        known = {key: one for key, one in watched.items() if one.account_json is not None}
        if not known:
            return
        versions = await self._rules.current(connection)
        surroundings = await self._accounts.surroundings(connection, known.values(), now, evidence=False)
        causes = await self._alerts.watched_causes(connection, list(known))
        looks = [Due(key, rule, AT_ONCE) for key in sorted(one_shot & known.keys()) for rule in _ONE_SHOT]
        for key, one in known.items():
            assert one.account is not None  # noqa: S101 - its text was there above
            view = AccountView(one.account, self._zone, one.kpis, surroundings.users)
            for rule in _LASTING:
                at_once = (key, rule) in causes
                looks.append(Due(key, rule, AT_ONCE if at_once else _due(view, versions[rule], now)))
        await self._rules.save_due(connection, looks)
        self._pressing |= any(one.due_at is not None and one.due_at <= now for one in looks)


def decode_record(record: Record) -> Received[Known]:
    """Read one record; raise `Unreadable` when that is impossible."""
    envelope = Envelope.from_headers(record.headers)
    return Received(record, cast("Known", standins.decode(envelope, record.value, _TYPES)), envelope)


def _due(view: AccountView, version: RuleVersion, now: datetime) -> datetime | None:
    verdict = judge(view, version, now)
    return AT_ONCE if verdict.findings else verdict.due


def _greatest(states: Sequence[Known]) -> dict[str, int]:
    """Return by account the version of the KPIs that will be kept, unless a greater one is."""
    versions: dict[str, int] = {}
    for one in cast("Sequence[AccountKpis]", states):
        versions[one.account_id] = max(one.version, versions.get(one.account_id, -1))
    return versions


def _newer(watched: Mapping[str, Watched], states: Sequence[Received[Known]]) -> dict[str, Watched]:
    """Return the accounts about which something newer was said."""
    latest = dict(watched)
    for one in states:
        event = cast("Account | AccountKpis", one.event)
        text = (one.record.value or b"").decode()
        latest[event.account_id] = latest[event.account_id].told(event, text, one.envelope.traceparent)
    return {key: one for key, one in latest.items() if one is not watched[key]}


def _new_accounts(before: Mapping[str, Watched], after: Mapping[str, Watched]) -> list[Account]:
    return [
        one.account
        for key, one in after.items()
        if one.account_version > before[key].account_version and one.account is not None
    ]
