"""Bugs in what services make of what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import asyncpg

from services.accounts.domain.ports import Versions
from services.accounts.store import edits, interactions
from services.metrics.domain.facts import Fact
from services.metrics.handlers.restate import Restatement
from services.metrics.store import facts, states
from services.notifier.domain.horizon import Horizons, Source
from services.notifier.upstream import UpstreamFlow
from tests.faults.planted import put

_FAR = datetime(2100, 1, 1, tzinfo=UTC)


def take_any_version() -> None:
    """What is stored looks older than anything."""
    usual = facts.load

    async def load(*arguments: Any) -> dict[tuple[str, str], Fact]:
        return {key: fact._replace(version=-1) for key, fact in (await usual(*arguments)).items()}

    put(facts, "load", load)


def ignore_withdrawals() -> None:
    """Metrics does not listen when something is taken back."""
    usual = Restatement.meet

    async def meet(self: Restatement, met: Sequence[Fact]) -> None:
        await usual(self, [fact for fact in met if fact.present])

    put(Restatement, "meet", meet)


def slide_all_at_once() -> None:
    """Whoever is behind is read without a lock, and written back a moment later, whatever happened meanwhile."""
    columns = states._COLUMNS  # noqa: SLF001

    async def lock_due(connection: asyncpg.Connection, today: date, limit: int, currency: str) -> dict[str, Any]:
        rows = await connection.fetch(
            f"select {columns} from account_state as s left join account as a using (account_id)"  # noqa: S608
            " where s.as_of < $1 order by s.account_id limit $2",
            today,
            limit,
        )
        await asyncio.sleep(0.5)
        return {row[0]: states._state(row, currency) for row in rows}  # noqa: SLF001

    put(states, "lock_due", lock_due)


def draw_without_lock() -> None:
    """Versions are read first and written later; in between others do the same."""

    async def draw(connection: asyncpg.Connection, counts: Mapping[str, int]) -> dict[str, Any]:
        rows = await connection.fetch(
            "select id, version, state_version from account where id = any($1::uuid[])", list(counts)
        )
        await asyncio.sleep(0.05)
        drawn = {}
        for row in rows:
            version = row["version"] + counts[row["id"]]
            drawn[row["id"]] = Versions(version, row["state_version"])
            await connection.execute("update account set version = $2 where id = $1", row["id"], version)
        return drawn

    put(interactions, "draw_versions", draw)


def edit_without_lock() -> None:
    """An edit of identities goes ahead beside batches that read them."""

    async def lock_identities(_: edits.EditTables) -> None:
        return

    put(edits.EditTables, "lock_identities", lock_identities)


def ask_no_horizon() -> None:
    """Everybody is taken to have come as far as can be."""
    usual = UpstreamFlow.horizons

    async def horizons(self: UpstreamFlow) -> Horizons:
        said = await usual(self)
        stages = tuple(replace(stage, horizon=_FAR, lag=0) for stage in said.stages)
        known: dict[str, Source] = {
            name: replace(source, horizon=_FAR) for name, source in (said.sources or {}).items()
        }
        return Horizons(stages, known)

    put(UpstreamFlow, "horizons", horizons)
