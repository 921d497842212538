"""What accounts, metrics and sources last said: watched accounts, briefs, signals, source deliveries."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

import asyncpg
from pydantic import ValidationError

from contracts.activity import Attribution
from contracts.alerts import RuleName
from contracts.values import Kind
from services.notifier.domain.state import Surroundings, Watched, brief_of, evidence_ids, signal_of
from services.notifier.domain.view import Brief, Signal
from services.notifier.store.alerts import relevant
from services.notifier.store.people import teams, users_around

_DELIVERED_LATELY = timedelta(days=90)


async def lock(
    connection: asyncpg.Connection, account_ids: Iterable[str], coming: Mapping[str, int] = MappingProxyType({})
) -> dict[str, Watched]:
    """Lock accounts in order, making missing rows.

    `coming`: versions of KPIs that the caller is about to put in the place of lower ones, whose text is left out.
    """
    wanted = sorted(set(account_ids))
    if not wanted:
        return {}
    rows = await _locked(connection, wanted, coming)
    if len(rows) < len(wanted):
        # A row must be there to be locked.
        await connection.execute(
            "insert into watched_account (account_id) select unnest($1::uuid[]) on conflict do nothing", wanted
        )
        rows = await _locked(connection, wanted, coming)
    return {row["account_id"]: _watched(row) for row in rows}


async def _locked(
    connection: asyncpg.Connection, wanted: Sequence[str], coming: Mapping[str, int]
) -> list[asyncpg.Record]:
    # The lock that everything about an account is done under. A state has kilobytes: to unpack and send one that is
    # replaced costs as much as to keep the next.
    return await connection.fetch(
        """
            select w.account_id, w.account::text as account, w.account_version,
                case when w.kpis_version < coming.version then null else w.kpis::text end as kpis, w.kpis_version,
                w.next_version, w.traceparent
            from watched_account w
            left join unnest($2::uuid[], $3::bigint[]) as coming (account_id, version) using (account_id)
            where w.account_id = any($1::uuid[])
            order by w.account_id
            for update of w
        """,
        wanted,
        list(coming),
        list(coming.values()),
    )


async def lock_due(
    connection: asyncpg.Connection,
    now: datetime,
    asked_at: datetime,
    limit: int,
    rules: Sequence[RuleName],
    *,
    patient: bool = False,
) -> dict[str, Watched]:
    """Lock the accounts of the `limit` looks at `rules` that are due at `now`, skipping those that somebody holds.

    `patient` waits for them instead. `asked_at` is real time: what is held is asked about again once its time has come.
    """
    # The most overdue first; accounts are locked before their due rows, as everywhere.
    rows = await connection.fetch(
        f"""
            select account_id, account::text as account, account_version, kpis::text as kpis, kpis_version,
                next_version, traceparent
            from watched_account
            where account_id in (
                select d.account_id
                from due d
                where d.due_at < $1 and (d.ask_again_at is null or d.ask_again_at <= $2) and d.rule = any($4::text[])
                order by d.due_at
                limit $3
            )
            order by account_id
            for update {"" if patient else "skip locked"}
        """,  # noqa: S608 - constants
        now,
        asked_at,
        limit,
        rules,
    )
    return {row["account_id"]: _watched(row) for row in rows}


async def save(connection: asyncpg.Connection, watched: Iterable[Watched]) -> None:
    """Write accounts that are locked."""
    # One statement; JSON goes as text because it is text already, and what is there already is not read again.
    await connection.execute(
        """
            update watched_account w
            set account = case when w.account_version = s.account_version then w.account else s.account::jsonb end,
                account_version = s.account_version,
                kpis = case when w.kpis_version = s.kpis_version then w.kpis else s.kpis::jsonb end,
                kpis_version = s.kpis_version, traceparent = s.traceparent
            from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::text[]) as s
                (account_id, account, account_version, kpis, kpis_version, traceparent)
            where w.account_id = s.account_id
        """,
        *_columns(
            (
                one.account_id,
                one.account_json,
                one.account_version,
                one.kpis_json,
                one.kpis_version,
                one.traceparent,
            )
            for one in watched
        )
        or ([], [], [], [], [], []),
    )


async def save_activity(connection: asyncpg.Connection, attributions: Sequence[Attribution]) -> set[str]:
    """Take the greatest version of each attribution: brief, sources, signal; return accounts with a new signal."""
    greatest: dict[tuple[str, str], Attribution] = {}
    for one in attributions:
        key = (one.account_id, one.interaction_id)
        if key not in greatest or greatest[key].version < one.version:
            greatest[key] = one
    latest = list(greatest.values())
    await _save_briefs(connection, latest)
    await _save_sources(connection, latest)
    return await _save_signals(connection, [one for one in latest if one.kind is Kind.CONTACT])


async def _save_briefs(connection: asyncpg.Connection, attributions: Sequence[Attribution]) -> None:
    described = ((one, brief_of(one)) for one in attributions)
    columns = _columns(
        (
            one.account_id,
            one.interaction_id,
            one.version,
            one.present,
            brief.kind.value,
            brief.occurred_at,
            brief.direction,
            brief.contact_id,
        )
        for one, brief in described
    )
    if not columns:
        return
    # A lower version never overwrites a greater one.
    await connection.execute(
        """
            insert into brief (account_id, interaction_id, version, present, kind, occurred_at, direction, contact_id)
            select account_id, interaction_id, version, present, kind, occurred_at, direction, contact_id
            from unnest(
                $1::uuid[], $2::uuid[], $3::bigint[], $4::boolean[], $5::text[], $6::timestamptz[], $7::text[],
                $8::uuid[]
            ) as s (account_id, interaction_id, version, present, kind, occurred_at, direction, contact_id)
            on conflict (account_id, interaction_id) do update
            set version = excluded.version, present = excluded.present, kind = excluded.kind,
                occurred_at = excluded.occurred_at, direction = excluded.direction, contact_id = excluded.contact_id
            where brief.version < excluded.version
        """,
        *columns,
    )


async def _save_sources(connection: asyncpg.Connection, attributions: Sequence[Attribution]) -> None:
    last: dict[tuple[str, str], datetime] = {}
    for one in attributions:
        if one.imported or not one.present:
            continue
        for source in one.sources:
            key = (one.account_id, source)
            last[key] = max(last.get(key, one.occurred_at), one.occurred_at)
    columns = _columns((*key, at) for key, at in last.items())
    if not columns:
        return
    # The latest delivery of each live source for each account.
    await connection.execute(
        """
            insert into source_delivery (account_id, source, last_at)
            select account_id, source, last_at
            from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as s (account_id, source, last_at)
            on conflict (account_id, source) do update set last_at = excluded.last_at
            where source_delivery.last_at < excluded.last_at
        """,
        *columns,
    )


async def _save_signals(connection: asyncpg.Connection, attributions: Sequence[Attribution]) -> set[str]:
    taken = set()
    for one in attributions:
        signal = signal_of(one)
        # Contacts leave rarely: a statement each. A withdrawal or correction concerns only a signal that is known.
        known = """
            update signal set version = $3, present = $4
            where account_id = $1 and interaction_id = $2 and version < $3
            returning 1
        """
        present = one.present and signal is not None
        changed = await connection.fetchval(known, one.account_id, one.interaction_id, one.version, present)
        if signal is not None:
            # The same signal again under a greater version, or a new one.
            changed = await connection.fetchval(
                """
                    insert into signal (account_id, interaction_id, version, present, state, contact_ids,
                        occurred_at, account_version)
                    values ($1, $2, $3, $4, $5, $6::uuid[], $7, $8)
                    on conflict (account_id, interaction_id) do update
                    set state = excluded.state, contact_ids = excluded.contact_ids,
                        occurred_at = excluded.occurred_at, account_version = excluded.account_version
                    where signal.version <= excluded.version
                    returning 1
                """,
                one.account_id,
                one.interaction_id,
                one.version,
                present,
                signal.state,
                list(signal.contact_ids),
                signal.occurred_at,
                signal.account_version,
            )
        if changed is not None:
            taken.add(one.account_id)
    return taken


async def signals(connection: asyncpg.Connection, account_ids: Collection[str]) -> dict[str, list[Signal]]:
    """Return the signals of accounts that were not withdrawn, by account."""
    # By the primary key's first column.
    rows = await connection.fetch(
        """
            select account_id, interaction_id, state, contact_ids, occurred_at, account_version
            from signal
            where account_id = any($1::uuid[]) and present
            order by occurred_at, interaction_id
        """,
        list(account_ids),
    )
    found: dict[str, list[Signal]] = {}
    for account_id, interaction_id, state, contact_ids, occurred_at, account_version in rows:
        signal = Signal(interaction_id, state, tuple(contact_ids), occurred_at, account_version)
        found.setdefault(account_id, []).append(signal)
    return found


async def briefs(
    connection: asyncpg.Connection, account_ids: Collection[str], interaction_ids: Collection[str]
) -> dict[str, dict[str, Brief]]:
    """Return what is known of the given interactions, by account and interaction."""
    # By the primary key.
    rows = await connection.fetch(
        """
            select account_id, interaction_id, kind, occurred_at, direction, contact_id
            from brief
            where account_id = any($1::uuid[]) and interaction_id = any($2::uuid[]) and present
        """,
        list(account_ids),
        list(interaction_ids),
    )
    found: dict[str, dict[str, Brief]] = {}
    for account_id, interaction_id, kind, occurred_at, direction, contact_id in rows:
        brief = Brief(interaction_id, Kind(kind), occurred_at, direction, contact_id)
        found.setdefault(account_id, {})[interaction_id] = brief
    return found


async def sources(connection: asyncpg.Connection, account_ids: Collection[str], now: datetime) -> dict[str, list[str]]:
    """Return the live sources that delivered for accounts in the last 90 days."""
    # By the primary key's first column.
    rows = await connection.fetch(
        """
            select account_id, source
            from source_delivery
            where account_id = any($1::uuid[]) and last_at >= $2
            order by source
        """,
        list(account_ids),
        now - _DELIVERED_LATELY,
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["account_id"], []).append(row["source"])
    return found


async def surroundings(
    connection: asyncpg.Connection, watched: Iterable[Watched], now: datetime, *, evidence: bool
) -> Surroundings:
    """Return what rules need beside the accounts' rows; briefs, sources and alerts only with `evidence`."""
    known = list(watched)
    ids = [one.account_id for one in known]
    users = await users_around(connection, ids)
    if not evidence:
        return Surroundings(users=users)
    named = {interaction for one in known for interaction in _named(one)}
    return Surroundings(
        users=users,
        teams=await teams(connection),
        signals=await signals(connection, ids),
        briefs=await briefs(connection, ids, named) if named else {},
        sources=await sources(connection, ids, now),
        alerts=await relevant(connection, ids),
    )


def _named(one: Watched) -> set[str]:
    try:
        return evidence_ids(one.kpis) if one.kpis else set()
    except ValidationError:
        # What one account has stored cannot be read: that is found out, and shown, when that account is looked at.
        return set()


async def forget_old_briefs(connection: asyncpg.Connection, before: datetime) -> None:
    """Drop lines about interactions that are too old to be anybody's evidence."""
    # By the index on the time.
    await connection.execute("delete from brief where occurred_at < $1", before)


def _watched(row: asyncpg.Record) -> Watched:
    return Watched(
        account_id=row["account_id"],
        account_json=row["account"],
        account_version=row["account_version"],
        kpis_json=row["kpis"],
        kpis_version=row["kpis_version"],
        next_version=row["next_version"],
        traceparent=row["traceparent"],
    )


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    """Turn rows into columns for unnest; nothing for no rows."""
    return [list(column) for column in zip(*rows, strict=True)]
