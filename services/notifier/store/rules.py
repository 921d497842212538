"""Rule versions and due times."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from contracts.alerts import RuleName
from services.notifier.domain.rules import RULES, THRESHOLDS, RuleVersion
from services.notifier.domain.state import AT_ONCE, Due


async def current(connection: asyncpg.Connection) -> dict[RuleName, RuleVersion]:
    """Return the latest version of every rule."""
    # Versions are few; the latest of each rule holds.
    rows = await connection.fetch(
        "select distinct on (rule) rule, version, thresholds from rule_version order by rule, version desc"
    )
    given = {row["rule"]: row for row in rows}
    # A rule that has just come holds as shipped.
    return {
        name: RuleVersion(name, given[name]["version"], thresholds.model_validate(given[name]["thresholds"]))
        if name in given
        else RuleVersion(name, 1, thresholds())
        for name, thresholds in THRESHOLDS.items()
    }


async def prepare(connection: asyncpg.Connection) -> None:
    """Write down version 1 of rules that have none, and have them looked at for every account."""
    # No field is stated: the defaults hold.
    await connection.execute(
        """
            insert into rule_version (rule, version, thresholds, note, created_at)
            select rule, 1, '{}'::jsonb, 'as shipped', now()
            from unnest($1::text[]) as known (rule)
            on conflict do nothing
        """,
        list(THRESHOLDS),
    )
    # Nothing else would wake an account about which nothing new comes; rows that are there stay as they are.
    await connection.execute(
        """
            insert into due (account_id, rule, due_at)
            select w.account_id, known.rule, $2
            from watched_account w
            cross join unnest($1::text[]) as known (rule)
            where w.account is not null
                and not exists (select from due d where d.account_id = w.account_id and d.rule = known.rule)
            order by w.account_id
            on conflict do nothing
        """,
        list(RULES),
        AT_ONCE,
    )


async def versions(connection: asyncpg.Connection, rule: RuleName | None = None) -> list[asyncpg.Record]:
    """Return all versions of one rule or of all, the latest first."""
    # For people who ask what held when.
    return await connection.fetch(
        """
            select rule, version, thresholds, note, created_at, created_by
            from rule_version
            where $1::text is null or rule = $1
            order by rule, version desc
        """,
        rule,
    )


async def add_version(
    connection: asyncpg.Connection,
    rule: RuleName,
    thresholds: Mapping[str, Any],
    *,
    note: str,
    by: str,
    now: datetime,
) -> int:
    """Give a rule new thresholds, have every account looked at anew, and return the version."""
    # Two people at once get two versions, one after the other.
    await connection.execute("select pg_advisory_xact_lock(hashtext('rule_version'), hashtext($1))", rule)
    # The next number of this rule.
    version: int = await connection.fetchval(
        """
            insert into rule_version (rule, version, thresholds, note, created_at, created_by)
            select $1, coalesce(max(version), 1) + 1, $2, $3, $4, $5
            from rule_version
            where rule = $1
            returning version
        """,
        rule,
        thresholds,
        note,
        now,
        by,
    )
    if rule not in RULES:
        # It looks at sources, all of them, whenever they are asked for.
        return version
    # Every account, in the order in which everybody locks.
    await connection.execute(
        "select account_id from watched_account where account is not null order by account_id for update"
    )
    await connection.execute(
        """
            insert into due (account_id, rule, due_at)
            select account_id, $1, $2
            from watched_account
            where account is not null
            on conflict (account_id, rule) do update
            set due_at = excluded.due_at, held_by = null, held_why = null, ask_again_at = null
        """,
        rule,
        AT_ONCE,
    )
    return version


async def save_due(connection: asyncpg.Connection, looks: Iterable[Due]) -> None:
    """Write when rules are to be looked at again; a rule that was held is asked about anew."""
    rows = [(d.account_id, d.rule, d.due_at, d.held_by, d.held_why, d.ask_again_at) for d in looks]
    if not rows:
        return
    # One statement for the transaction; the accounts are locked.
    await connection.execute(
        """
            insert into due (account_id, rule, due_at, held_by, held_why, ask_again_at)
            select account_id, rule, due_at, held_by, held_why, ask_again_at
            from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::timestamptz[])
                as s (account_id, rule, due_at, held_by, held_why, ask_again_at)
            on conflict (account_id, rule) do update
            set due_at = excluded.due_at, held_by = excluded.held_by, held_why = excluded.held_why,
                ask_again_at = excluded.ask_again_at
            where (due.due_at, due.held_by, due.held_why, due.ask_again_at)
                is distinct from (excluded.due_at, excluded.held_by, excluded.held_why, excluded.ask_again_at)
        """,
        *[list(column) for column in zip(*rows, strict=True)],
    )


async def due_rules(
    connection: asyncpg.Connection,
    account_ids: Sequence[str],
    now: datetime,
    asked_at: datetime,
    rules: Sequence[RuleName],
) -> dict[str, list[RuleName]]:
    """Return which of `rules` are due for locked accounts."""
    # By the primary key's first column.
    rows = await connection.fetch(
        """
            select account_id, rule
            from due
            where account_id = any($1::uuid[]) and due_at < $2 and (ask_again_at is null or ask_again_at <= $3)
                and rule = any($4::text[])
            order by account_id, rule
        """,
        account_ids,
        now,
        asked_at,
        rules,
    )
    found: dict[str, list[RuleName]] = {}
    for row in rows:
        found.setdefault(row["account_id"], []).append(row["rule"])
    return found


async def any_due(connection: asyncpg.Connection, rules: Sequence[RuleName], now: datetime, asked_at: datetime) -> bool:
    """Say whether one of `rules`, or anything that was held, is due for any account."""
    # The index on due times makes this cheap while nothing is. In order, because of "any" row PostgreSQL hopes to find
    # one soon wherever it begins, and reads them all when there is none.
    found = await connection.fetchval(
        """
            select true
            from due
            where due_at < $2 and (rule = any($1::text[]) or held_by is not null)
                and (ask_again_at is null or ask_again_at <= $3)
            order by due_at
            limit 1
        """,
        rules,
        now,
        asked_at,
    )
    return found is not None


async def ask_again(connection: asyncpg.Connection) -> None:
    """Have everything that is held asked about at once."""
    # In the order in which everybody locks accounts, though these are only their due rows.
    await connection.execute(
        """
            update due set ask_again_at = null
            from (
                select account_id, rule from due where held_by is not null order by account_id, rule for update
            ) held
            where due.account_id = held.account_id and due.rule = held.rule
        """
    )


async def due_counts(connection: asyncpg.Connection, now: datetime, rules: Sequence[RuleName]) -> asyncpg.Record:
    """Return how many looks at `rules` are due and not held, and how many are held by whom."""
    # Both by partial indexes.
    row = await connection.fetchrow(
        """
            select count(*) filter (where held_by is null) as due,
                count(*) filter (where held_by in ('service', 'source')) as waiting,
                count(*) filter (where held_by = 'broken') as broken
            from due
            where due_at < $1 and rule = any($2::text[])
        """,
        now,
        rules,
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row


async def held(connection: asyncpg.Connection, limit: int = 20) -> list[asyncpg.Record]:
    """Return why looks are held, the most frequent reason first."""
    # By the partial index on what is held.
    return await connection.fetch(
        """
            select held_by, held_why, count(*) as looks
            from due
            where held_by is not null
            group by held_by, held_why
            order by looks desc, held_why
            limit $1
        """,
        limit,
    )
