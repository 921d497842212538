"""Pairs that may be doubles, and what people decided about them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

Row = dict[str, Any]


class DoubleViews:
    """The reading side; row-level security leaves out what the caller may not see."""

    _connection: asyncpg.Connection

    async def near_pairs(
        self,
        windows: Mapping[str, timedelta],
        account_id: str | None,
        span: tuple[datetime, datetime],
        before: tuple[datetime, str, str] | None,
        limit: int,
    ) -> list[Row]:
        """Return pairs of one account and one kind that lie near each other and of which nothing was decided.

        Latest first, by the later of the two (`one_id`); `span`: when that one happened.
        """
        moment, one, other = before if before is not None else (None, None, None)
        # Account by account, along the index of attributions by time: of each, only its neighbours are looked at.
        rows = await self._connection.fetch(
            "select account.id as account_id, one.interaction_id as one_id, other.interaction_id as other_id,"
            " one.occurred_at from account join attribution as one on one.account_id = account.id and one.present"
            " and one.occurred_at >= $4 and one.occurred_at < $5 join interaction as first on first.id ="
            " one.interaction_id join unnest($1::text[], $2::interval[]) as near (kind, span) on near.kind ="
            " first.kind join attribution as other on other.account_id = account.id and other.present and"
            " other.occurred_at between one.occurred_at - near.span and one.occurred_at and (other.occurred_at,"
            " other.interaction_id) < (one.occurred_at, one.interaction_id) join interaction as second on second.id ="
            " other.interaction_id and second.kind = first.kind where ($3::text is null or account.id ="
            " $3::text::uuid) and ($6::timestamptz is null or (one.occurred_at, one.interaction_id,"
            " other.interaction_id) < ($6, $7::text::uuid, $8::text::uuid)) and not exists (select from"
            " double_decision as decided where decided.one_id = least(one.interaction_id, other.interaction_id) and"
            " decided.other_id = greatest(one.interaction_id, other.interaction_id)) order by one.occurred_at desc,"
            " one.interaction_id desc, other.interaction_id desc limit $9",
            list(windows),
            list(windows.values()),
            account_id,
            *span,
            moment,
            one,
            other,
            limit,
        )
        return [dict(row) for row in rows]

    async def decided_pairs(self, limit: int) -> list[Row]:
        """Return what was decided, latest first."""
        rows = await self._connection.fetch(
            "select one_id, other_id, decision, withdrawn_id, subject as by, decided_at from double_decision order by"
            " decided_at desc, one_id, other_id limit $1",
            limit,
        )
        return [dict(row) for row in rows]


class DoubleTables:
    """The writing side of one transaction."""

    _connection: asyncpg.Connection

    async def decide_double(  # noqa: PLR0917 - one argument for each column
        self, pair: Sequence[str], decision: str, withdrawn_id: str | None, issuer: str, subject: str, now: datetime
    ) -> None:
        """Keep what somebody decided about two interactions; a later decision replaces an earlier one."""
        await self._connection.execute(
            "insert into double_decision (one_id, other_id, decision, withdrawn_id, issuer, subject, decided_at)"
            " values ($1::text::uuid, $2::text::uuid, $3, $4::text::uuid, $5, $6, $7) on conflict (one_id, other_id)"
            " do update set decision = excluded.decision, withdrawn_id = excluded.withdrawn_id, issuer ="
            " excluded.issuer, subject = excluded.subject, decided_at = excluded.decided_at",
            *sorted(pair),
            decision,
            withdrawn_id,
            issuer,
            subject,
            now,
        )

    async def take_back_double(self, pair: Sequence[str]) -> Row | None:
        """Forget what was decided about two interactions, and return it."""
        row = await self._connection.fetchrow(
            "delete from double_decision where one_id = $1::text::uuid and other_id = $2::text::uuid returning"
            " decision, withdrawn_id",
            *sorted(pair),
        )
        return None if row is None else dict(row)

    async def former_accounts(self, interaction_id: str) -> set[str]:
        """Return every account whose an interaction is or was, by the accounts that speak for them now."""
        # What was said of it, withdrawals included: a handful of rows by the primary key.
        rows = await self._connection.fetch(
            "select distinct surviving_account(account_id) as id from attribution where interaction_id ="
            " $1::text::uuid",
            interaction_id,
        )
        return {row["id"] for row in rows}
