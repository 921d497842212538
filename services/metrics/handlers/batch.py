"""From attributions and accounts to restated figures: one batch, one transaction, one statement per table."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from datetime import date, datetime
from typing import TypeVar

import asyncpg

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

V = TypeVar("V", Attribution, Account, User, Team)
TYPES: dict[str, type[Model]] = {model.TYPE: model for model in (Attribution, Account, User, Team)}


class Handlers:
    """Reads `tenure.activity` and `tenure.accounts`; a lower version than the stored one changes nothing."""

    def __init__(self, tables: Tables, days: CompanyDays, currency: str, outlet: Outlet = Outlet.PUBLISH) -> None:
        self._tables = tables
        self._days = days
        self._currency = currency
        self._outlet = outlet

    def decode(self, record: Record) -> Received[Model]:
        """Return the state that the record carries; raises `Unreadable`."""
        envelope = Envelope.from_headers(record.headers)
        return Received(record, decode(envelope, record.value, TYPES), envelope)

    async def handle(self, connection: asyncpg.Connection, batch: Sequence[Received[Model]], now: datetime) -> None:
        """Restate the accounts that the batch concerns and publish those whose figures differ."""
        attributions = {
            (state.account_id, state.interaction_id): state for state in _newest(batch, Attribution, _interaction)
        }
        accounts = {
            account.account_id: account for account in _newest(batch, Account, lambda account: account.account_id)
        }
        dirty = await self._people(connection, batch)
        touched = {account for account, _ in attributions} | set(accounts)
        if touched:
            restatement = Restatement(connection, self._tables, self._days, self._currency, now, self._outlet)
            await restatement.begin(touched)
            if accounts:
                dirty |= await self._accounts(connection, restatement, accounts)
            await restatement.meet([read(state, self._days) for state in attributions.values()])
            dirty |= await restatement.finish(min(received.envelope.recordedtime for received in batch), _traces(batch))
        await self._tables.rollups.mark(connection, dirty)

    async def _people(self, connection: asyncpg.Connection, batch: Sequence[Received[Model]]) -> set[date]:
        if teams := _newest(batch, Team, lambda team: team.team_id):
            await self._tables.accounts.save_teams(connection, teams)
        if users := _newest(batch, User, lambda user: user.user_id):
            return set(await self._tables.accounts.save_users(connection, users))
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


def _interaction(state: Attribution) -> tuple[str, str]:
    return state.account_id, state.interaction_id


def _newest(batch: Sequence[Received[Model]], kind: type[V], key: Callable[[V], Hashable]) -> list[V]:
    """Return the greatest version per key among the batch's states of `kind`."""
    newest: dict[Hashable, V] = {}
    for received in batch:
        state = received.event
        if isinstance(state, kind):
            name = key(state)
            known = newest.get(name)
            if known is None or state.version > known.version:
                newest[name] = state
    return list(newest.values())


def _traces(batch: Sequence[Received[Model]]) -> dict[str, str | None]:
    """Return the trace context of the last record about each account."""
    return {
        received.event.account_id: received.envelope.traceparent
        for received in batch
        if isinstance(received.event, Attribution | Account)
    }
