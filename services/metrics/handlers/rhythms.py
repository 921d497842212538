"""Keeps the order rhythms of a transaction's accounts up: what can be told from the change is not read again."""

from collections.abc import Mapping
from datetime import date

import asyncpg

from services.metrics.domain.change import AccountChange
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.rhythm import Neighbours, appended, grown, is_counted, loses_last, moved
from services.metrics.domain.state import Rhythm
from services.metrics.handlers.tables import Tables
from services.runtime.overlap import Ahead


async def renew(
    connection: asyncpg.Connection,
    tables: Tables,
    changes: Mapping[str, AccountChange],
    days: CompanyDays,
    ahead: Ahead,
) -> None:
    """Renew the rhythms of accounts whose orders changed; `ahead` has rows and buckets on their way."""
    ordered = {
        account: change
        for account, change in changes.items()
        if change.ordered and (_from_scratch(change) or not _grow(change, days))
    }
    kept = {account: change for account, change in ordered.items() if not _from_scratch(change)}
    await _move(connection, tables, kept, days, ahead)
    anew = {
        account: change.state.sums.as_of
        for account, change in changes.items()
        if change.rhythm_again or (account in ordered and account not in kept)
    }
    if anew:
        for account, rhythm in (await ahead.ask(tables.facts.rhythms(connection, anew))).items():
            changes[account].state.rhythm = rhythm


def _from_scratch(change: AccountChange) -> bool:
    return change.rhythm_again or not is_counted(change.state.rhythm)


def _grow(change: AccountChange, days: CompanyDays) -> bool:
    """Renew a rhythm at once where nothing has to be asked; say whether that was so."""
    state = change.state
    rhythm = grown(state.rhythm, change.order_change(), _last_day(state.rhythm, days), state.sums.as_of)
    if rhythm is None:
        return False
    state.rhythm = rhythm
    return True


def _last_day(rhythm: Rhythm, days: CompanyDays) -> date | None:
    return None if rhythm.last_at is None else days.day(rhythm.last_at)


async def _move(
    connection: asyncpg.Connection,
    tables: Tables,
    changes: Mapping[str, AccountChange],
    days: CompanyDays,
    ahead: Ahead,
) -> None:
    around: dict[str, Neighbours] = {}
    asked = []
    for account, change in changes.items():
        known = appended(change.order_change(), _last_day(change.state.rhythm, days))
        if known is None:
            asked += [(account, day, change.state.sums.as_of) for day in change.order_days]
        else:
            around[account] = known
    if asked:
        around |= await ahead.ask(tables.states.order_days_around(connection, asked))
    lost = {
        account: change.state.sums.as_of
        for account, change in changes.items()
        if loses_last(change.state.rhythm, change.order_change(), change.state.sums.as_of)
    }
    last = await ahead.ask(tables.facts.last_orders(connection, lost)) if lost else {}
    for account, change in changes.items():
        state = change.state
        state.rhythm = moved(
            state.rhythm, change.order_change(), around.get(account, {}), last.get(account), state.sums.as_of
        )
