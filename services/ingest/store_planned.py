"""Meetings that are known ahead, in ingest's database."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from services.ingest.domain.meetings import Planned, Series, State, Word


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """A series as it is written down, locked by the caller's transaction."""

    series: Series
    planned_until: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """A meeting whose start has passed."""

    uid: str
    planned: Planned


@dataclass(frozen=True, slots=True)
class Outlook:
    """What lies ahead. `overdue`: planned and begun, not published yet."""

    planned: int
    overdue: int
    unexpanded: int
    next_start: datetime | None


async def lock_series(connection: asyncpg.Connection, uid: str) -> StoredSeries:
    """Return what is known of a UID, empty when nothing is; nobody else changes it before the transaction ends."""
    # a row to lock, whether it is known or not
    await connection.execute("insert into planned_series (uid) values ($1) on conflict (uid) do nothing", uid)
    # by primary key
    row = await connection.fetchrow(
        "select words, answers, since, planned_until from planned_series where uid = $1 for update", uid
    )
    if row is None:
        # A job forgot it between the two statements; the caller's transaction is tried again.
        raise asyncpg.SerializationError("the series was forgotten meanwhile")
    return StoredSeries(_series(uid, row), row["planned_until"])


async def load_ahead(connection: asyncpg.Connection, uid: str, now: datetime) -> Series | None:
    """Return what is known of a UID that has a meeting ahead of `now`, planned or not yet; None for others."""
    # by primary keys
    row = await connection.fetchrow(
        """
        select words, answers, since
        from planned_series as series
        where uid = $1 and (
            planned_until is not null
            or exists (
                select 1
                from planned_meeting as meeting
                where meeting.uid = series.uid and meeting.state = 'planned' and meeting.starts_at > $2
            )
        )
        """,
        uid,
        now,
    )
    return None if row is None else _series(uid, row)


def _series(uid: str, row: asyncpg.Record) -> Series:
    words = {name: Word(**{**word, "zones": tuple(word["zones"])}) for name, word in row["words"].items()}
    answers = {
        instance: {address: (int(order), str(state)) for address, (order, state) in given.items()}
        for instance, given in row["answers"].items()
    }
    return Series(uid, words, answers, row["since"])


async def uids_after(connection: asyncpg.Connection, uid: str, most: int) -> Sequence[str]:
    """Return the UIDs that are known, in order, behind `uid`."""
    # along the primary key
    rows = await connection.fetch("select uid from planned_series where uid > $1 order by uid limit $2", uid, most)
    return [row["uid"] for row in rows]


async def save_words(connection: asyncpg.Connection, series: Series) -> None:
    """Store what was said last, where nothing else of the series changes; the row is locked."""
    # by primary key
    await connection.execute(
        "update planned_series set words = $2, answers = $3 where uid = $1", series.uid, *_said(series)
    )


def _said(series: Series) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    words = {
        name: {key: value for key, value in asdict(word).items() if key != "vanished" or value is not None}
        for name, word in series.words.items()
    }
    answers = {
        instance: {name: list(each) for name, each in given.items()} for instance, given in series.answers.items()
    }
    return words, answers


async def save_series(
    connection: asyncpg.Connection, series: Series, planned_until: datetime | None, forget_at: datetime | None
) -> None:
    """Store what was said last; the row is locked."""
    # by primary key
    await connection.execute(
        """
        update planned_series
        set words = $2, answers = $3, since = $4, planned_until = $5, forget_at = $6
        where uid = $1
        """,
        series.uid,
        *_said(series),
        series.since,
        planned_until,
        forget_at,
    )


async def load_meetings(connection: asyncpg.Connection, uid: str) -> dict[str, Planned]:
    """Return all meetings of a UID, locked."""
    # by the first column of the primary key; locked, because the job that publishes takes rows one by one
    rows = await connection.fetch(
        """
        select instance, starts_at, state, revision_order, flips, withdrawn, source, report
        from planned_meeting
        where uid = $1
        order by instance
        for update
        """,
        uid,
    )
    return {row["instance"]: _planned(row) for row in rows}


def _planned(row: asyncpg.Record) -> Planned:
    return Planned(
        instance=row["instance"],
        starts_at=row["starts_at"],
        state=State(row["state"]),
        order=row["revision_order"],
        flips=row["flips"],
        withdrawn=row["withdrawn"],
        source=row["source"],
        report=orjson.dumps(row["report"]),
    )


async def save_meetings(connection: asyncpg.Connection, uid: str, rows: Sequence[Planned]) -> None:
    """Store meetings of a UID."""
    # one statement for all; the series is locked, so nobody else inserts
    await connection.executemany(
        """
        insert into planned_meeting as stored
            (uid, instance, starts_at, state, revision_order, flips, withdrawn, source, report)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (uid, instance) do update set
            starts_at = excluded.starts_at,
            state = excluded.state,
            revision_order = excluded.revision_order,
            flips = excluded.flips,
            withdrawn = excluded.withdrawn,
            report = excluded.report
        """,
        [
            (
                uid,
                row.instance,
                row.starts_at,
                row.state.value,
                row.order,
                row.flips,
                row.withdrawn,
                row.source,
                orjson.loads(row.report),
            )
            for row in rows
        ],
    )


async def delete_meetings(connection: asyncpg.Connection, uid: str, instances: Sequence[str]) -> None:
    """Forget meetings of a UID."""
    # by primary key
    await connection.execute(
        "delete from planned_meeting where uid = $1 and instance = any($2::text[])", uid, list(instances)
    )


async def take_due(connection: asyncpg.Connection, now: datetime, most: int) -> Sequence[Due]:
    """Return meetings that have begun by `now` and are not published, locked, the earliest first."""
    # by its partial index; another replica takes others
    rows = await connection.fetch(
        """
        select uid, instance, starts_at, state, revision_order, flips, withdrawn, source, report
        from planned_meeting
        where state = 'planned' and starts_at <= $1
        order by starts_at
        limit $2
        for update skip locked
        """,
        now,
        most,
    )
    return [Due(row["uid"], _planned(row)) for row in rows]


async def series_to_expand(connection: asyncpg.Connection, before: datetime, most: int) -> Sequence[str]:
    """Return the UIDs of series whose meetings are written down to before `before` only."""
    # by its partial index
    rows = await connection.fetch(
        "select uid from planned_series where planned_until < $1 order by planned_until limit $2", before, most
    )
    return [row["uid"] for row in rows]


async def forget(connection: asyncpg.Connection, now: datetime, before: datetime) -> None:
    """Delete series whose time is over by `now`, and meetings of others that began before `before`."""
    # by its partial index; with their meetings
    await connection.execute("delete from planned_series where forget_at < $1", now)
    # few: those of series that go on
    await connection.execute("delete from planned_meeting where state <> 'planned' and starts_at < $1", before)


async def look_ahead(connection: asyncpg.Connection, now: datetime) -> Outlook:
    """Return what is planned as of `now`."""
    # by the two partial indexes
    row = await connection.fetchrow(
        """
        select
            count(*) as planned,
            count(*) filter (where starts_at <= $1) as overdue,
            min(starts_at) as next_start,
            (select count(*) from planned_series where planned_until < $1) as unexpanded
        from planned_meeting
        where state = 'planned'
        """,
        now,
    )
    if row is None:
        return Outlook(0, 0, 0, None)
    return Outlook(row["planned"], row["overdue"], row["unexpanded"], row["next_start"])
