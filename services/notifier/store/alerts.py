"""Alerts as they are, and the history of each. `taking` takes their steps."""

from collections.abc import Collection, Iterable
from typing import Any

import asyncpg

from contracts.alerts import AlertEvidence
from services.notifier.domain.life import Alert
from services.notifier.domain.state import AT_ONCE

_COLUMNS = (
    "alert_id, account_id, version, rule, rule_version, severity, state, dedup_key, title, explanation, evidence,"
    " opened_at, changed_at, open_since, owner_id, changed_by, snoozed_until, resolution, lead_steps, cause_present,"
    " cause, source"
)


async def relevant(connection: asyncpg.Connection, account_ids: Collection[str]) -> dict[str, list[Alert]]:
    """Return the latest alert of each dedup key of locked accounts, by account."""
    # The latest state of each key: an older resolved one with the same key is history.
    rows = await connection.fetch(
        f"select distinct on (dedup_key) {_COLUMNS} from alert where account_id = any($1::uuid[])"  # noqa: S608 - constant columns
        " order by dedup_key, (state <> 'resolved') desc, opened_at desc, version desc",
        list(account_ids),
    )
    found: dict[str, list[Alert]] = {}
    for row in rows:
        found.setdefault(row["account_id"], []).append(alert_of(row))
    return found


async def about_sources(connection: asyncpg.Connection) -> list[Alert]:
    """Return the latest alert about each source that ever had one."""
    # By the partial index on sources; they are few.
    rows = await connection.fetch(
        f"select distinct on (dedup_key) {_COLUMNS} from alert where source is not null"  # noqa: S608 - constant columns
        " order by dedup_key, (state <> 'resolved') desc, opened_at desc, version desc"
    )
    return [alert_of(row) for row in rows]


async def save_told(connection: asyncpg.Connection, account_id: str, source: str, user_ids: Collection[str]) -> None:
    """Remember who answers for a source that is locked: they may see its alerts."""
    # Whole: who answers for it now.
    await connection.execute(
        """
            insert into watched_source (account_id, source, told)
            values ($1, $2, $3::uuid[])
            on conflict (account_id) do update set told = excluded.told
            where watched_source.told is distinct from excluded.told
        """,
        account_id,
        source,
        list(user_ids),
    )


async def watched_causes(connection: asyncpg.Connection, account_ids: Collection[str]) -> set[tuple[str, str]]:
    """Return (account, rule) pairs that have an alert which a change of the cause concerns."""
    # Resolved alerts whose cause is gone need no look until a rule finds something.
    rows = await connection.fetch(
        """
            select distinct account_id, rule
            from alert
            where account_id = any($1::uuid[]) and (state <> 'resolved' or cause_present)
        """,
        list(account_ids),
    )
    return {(row["account_id"], row["rule"]) for row in rows}


async def look_again(connection: asyncpg.Connection, account_id: str, rule: str) -> None:
    """Have a rule of a locked account looked at at once: a person took a step."""
    # The row is there: an alert of the rule is.
    await connection.execute(
        """
            update due set due_at = $3, held_by = null, held_why = null, ask_again_at = null
            where account_id = $1 and rule = $2
        """,
        account_id,
        rule,
        AT_ONCE,
    )


async def find(connection: asyncpg.Connection, alert_id: str) -> Alert | None:
    """Return one alert, or None where the caller may not see it."""
    # One row by its key; under row-level security when the connection is a caller's.
    row = await connection.fetchrow(f"select {_COLUMNS} from alert where alert_id = $1", alert_id)  # noqa: S608 - constant columns
    return None if row is None else alert_of(row)


async def save_alerts(connection: asyncpg.Connection, alerts: Iterable[Alert]) -> None:
    """Write alerts of locked accounts as they are."""
    rows = [_row(alert) for alert in alerts]
    if not rows:
        return
    # Alerts change rarely: a statement each, pipelined.
    await connection.executemany(
        f"""
            insert into alert ({_COLUMNS})
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12,
                $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
            on conflict (alert_id) do update
            set version = excluded.version, rule_version = excluded.rule_version, severity = excluded.severity,
                state = excluded.state, title = excluded.title, explanation = excluded.explanation,
                evidence = excluded.evidence, changed_at = excluded.changed_at, open_since = excluded.open_since,
                owner_id = excluded.owner_id, changed_by = excluded.changed_by,
                snoozed_until = excluded.snoozed_until, resolution = excluded.resolution,
                lead_steps = excluded.lead_steps, cause_present = excluded.cause_present
        """,  # noqa: S608 - constant columns
        rows,
    )


async def listing(
    connection: asyncpg.Connection,
    *,
    state: str | None,
    account_id: str | None,
    rule: str | None,
    limit: int,
    after: tuple[Any, str] | None,
) -> list[Alert]:
    """Return alerts that the caller may see, the latest change first; `after` is where the page before ended.

    A merged account's id also names the account that stayed.
    """
    # Row-level security narrows it to the caller's accounts.
    rows = await connection.fetch(
        f"""
            select {_COLUMNS}
            from alert
            where ($1::text is null or state = $1 or ($1 = 'unresolved' and state <> 'resolved'))
                and ($2::uuid is null or account_id in ($2, surviving_account($2))) and ($3::text is null or rule = $3)
                and ($4::timestamptz is null or (changed_at, alert_id) < ($4, $5::uuid))
            order by changed_at desc, alert_id desc
            limit $6
        """,  # noqa: S608 - constant columns
        state,
        account_id,
        rule,
        after[0] if after else None,
        after[1] if after else None,
        limit,
    )
    return [alert_of(row) for row in rows]


async def steps_of(connection: asyncpg.Connection, alert_id: str) -> list[asyncpg.Record]:
    """Return the history of an alert, the first step first."""
    # By the primary key's first column.
    return await connection.fetch(
        "select version, kind, taken_at, document from alert_step where alert_id = $1 order by version", alert_id
    )


async def user_of(connection: asyncpg.Connection, issuer: str, subject: str) -> str | None:
    """Return the user whom a verified caller is, if known."""
    # By the index on identities.
    found: str | None = await connection.fetchval(
        "select user_id from app_user where issuer = $1 and subject = $2 and active", issuer, subject
    )
    return found


async def account_names(connection: asyncpg.Connection, account_ids: Collection[str]) -> dict[str, str]:
    """Return the names of accounts that the caller may see."""
    # Only the name of the document travels.
    rows = await connection.fetch(
        """
            select account_id, account ->> 'name' as name
            from watched_account
            where account_id = any($1::uuid[]) and account is not null
        """,
        list(account_ids),
    )
    return {row["account_id"]: row["name"] for row in rows}


def alert_of(row: asyncpg.Record) -> Alert:
    """Return the alert of a row with all columns."""
    return Alert(**{**dict(row), "evidence": AlertEvidence.model_validate(row["evidence"])})


def _row(alert: Alert) -> tuple[Any, ...]:
    return (
        alert.alert_id,
        alert.account_id,
        alert.version,
        alert.rule,
        alert.rule_version,
        alert.severity,
        alert.state,
        alert.dedup_key,
        alert.title,
        alert.explanation,
        alert.evidence.model_dump_json(exclude_none=True),
        alert.opened_at,
        alert.changed_at,
        alert.open_since,
        alert.owner_id,
        alert.changed_by,
        alert.snoozed_until,
        alert.resolution,
        alert.lead_steps,
        alert.cause_present,
        alert.cause,
        alert.source,
    )
