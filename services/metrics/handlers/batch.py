"""From attributions and accounts to restated figures: one batch, one transaction, one statement per table."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import asyncpg

from contracts import standins
from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.codec import decode
from contracts.envelope import Envelope
from contracts.values import Model
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.facts import RoleSpans, read, role_spans
from services.metrics.handlers.restate import Outlet, Restatement
from services.metrics.handlers.tables import Tables
from services.runtime.consumer import Received, Record
from services.runtime.overlap import meanwhile

TYPES: dict[str, type[Model]] = {model.TYPE: model for model in (Attribution, Account, User, Team)}


class Handlers:
    """Reads `tenure.activity` and `tenure.accounts`; a lower version than the stored one changes nothing."""

    def __init__(self, tables: Tables, days: CompanyDays, currency: str, outlet: Outlet = Outlet.PUBLISH) -> None:
        self._tables = tables
        self._days = days
        self._currency = currency
        self._outlet = outlet

    def decode(self, record: Record) -> Received[Model]:
        """Return the state that the record carries, an attribution as a stand-in if it can; raises `Unreadable`."""
        envelope = Envelope.from_headers(record.headers)
        state: Model | None = None
        if envelope.type == Attribution.TYPE and record.value is not None:
            state = standins.read(Attribution, record.value)
        return Received(record, state or decode(envelope, record.value, TYPES), envelope)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Model]], now: datetime) -> None:
        """Restate the accounts that the batch concerns and publish those whose figures differ."""
        newest = _Newest(batch)
        if newest.users:
            await self._tables.rollups.hold_off(connection)
        if newest.repeated and self._outlet is Outlet.PUBLISH:
            await self._forget_known(connection, newest)
        dirty = await self._people(connection, newest)
        touched = {account for account, _ in newest.attributions} | set(newest.accounts)
        if touched:
            restatement = Restatement(connection, self._tables, self._days, self._currency, now, self._outlet)
            async with meanwhile(restatement.begin(touched)):
                facts = [read(state, self._days) for state in newest.attributions.values()]
            if newest.accounts:
                dirty |= await self._accounts(connection, restatement, newest.accounts)
            await restatement.meet(facts)
            recordedtime = min([received.envelope.recordedtime for received in batch])
            dirty |= await restatement.finish(recordedtime, newest.traces)
        await self._tables.rollups.mark(connection, dirty)

    async def _forget_known(self, connection: asyncpg.Connection, newest: "_Newest") -> None:
        """Leave out what is said again, for others to read, and known here: then nothing is locked for it.

        Versions only grow, and whoever reads a partition is alone with it: what is known now is known then.
        """
        if said := [key for key in newest.attributions if key in newest.repeated]:
            for key, version in (await self._tables.facts.versions(connection, said)).items():
                if newest.attributions[key].version <= version:
                    del newest.attributions[key]
        if copies := [account for account in newest.accounts if account in newest.repeated]:
            for account, (version, _) in (await self._tables.accounts.known(connection, copies)).items():
                if newest.accounts[account].version <= version:
                    del newest.accounts[account]

    async def _people(self, connection: asyncpg.Connection, newest: "_Newest") -> set[date]:
        if newest.teams:
            await self._tables.accounts.save_teams(connection, list(newest.teams.values()))
        if newest.users:
            return set(await self._tables.accounts.save_users(connection, list(newest.users.values())))
        return set()

    async def _accounts(
        self, connection: asyncpg.Connection, restatement: Restatement, accounts: Mapping[str, Account]
    ) -> set[date]:
        known = await self._tables.accounts.known(connection, list(accounts))
        nothing: tuple[int, RoleSpans] = (-1, {})
        newer = [
            account for account in accounts.values() if account.version > known.get(account.account_id, nothing)[0]
        ]
        for account in newer:
            roles = role_spans(account)
            as_before = roles == known.get(account.account_id, nothing)[1]
            restatement.account_changed(
                account.account_id, account.version, account.currency, None if as_before else roles
            )
        return set(await self._tables.accounts.save(connection, newer)) if newer else set()


class _Newest:
    """The greatest version of each state in a batch, and the trace context of the last record about each account."""

    def __init__(self, batch: Sequence[Received[Model]]) -> None:
        self.attributions: dict[tuple[str, str], Attribution] = {}
        self.accounts: dict[str, Account] = {}
        self.users: dict[str, User] = {}
        self.teams: dict[str, Team] = {}
        self.traces: dict[str, str | None] = {}
        self.repeated: set[object] = set()
        """Keys of attributions and accounts of which some state is said again."""
        for received in batch:
            state: Any = received.event
            kind = received.envelope.type
            again = received.envelope.republished is not None
            if kind == Attribution.TYPE:
                account = state.account_id
                _keep(self.attributions, (account, state.interaction_id), state)
                if again:
                    self.repeated.add((account, state.interaction_id))
                self.traces[account] = received.envelope.traceparent
            elif kind == Account.TYPE:
                _keep(self.accounts, state.account_id, state)
                if again:
                    self.repeated.add(state.account_id)
                self.traces[state.account_id] = received.envelope.traceparent
            elif kind == User.TYPE:
                _keep(self.users, state.user_id, state)
            else:
                _keep(self.teams, state.team_id, state)


def _keep(newest: dict[Any, Any], key: object, state: Any) -> None:
    known = newest.get(key)
    if known is None or state.version > known.version:
        newest[key] = state
