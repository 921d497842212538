"""Ingest's own tables: what sources sent, and how far mailboxes have been read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.ingest.statistics import Tally


@dataclass(frozen=True, slots=True)
class StoredStatistic:
    """What a source has sent since the beginning."""

    accepted: int
    unmapped: int
    ignored: int
    rejected: Mapping[str, int]
    last_delivery: datetime | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a folder has been read: everything up to `last_uid` under this `uid_validity` is with the broker."""

    uid_validity: int
    last_uid: int


@dataclass(frozen=True, slots=True)
class Pass:
    """The last pass over a mailbox. `horizon`: the clock before the last good one began."""

    horizon: datetime | None
    status: str


async def add_statistics(connection: asyncpg.Connection, tallies: Mapping[str, Tally]) -> None:
    """Add tallies to the stored sums."""
    # one row per source; reasons are added name by name
    await connection.executemany(
        """
        insert into source_statistic as stored (source, accepted, unmapped, ignored, rejected, last_delivery)
        values ($1, $2, $3, $4, $5, $6)
        on conflict (source) do update set
            accepted = stored.accepted + excluded.accepted,
            unmapped = stored.unmapped + excluded.unmapped,
            ignored = stored.ignored + excluded.ignored,
            rejected = (
                select coalesce(jsonb_object_agg(summed.reason, summed.number), '{}')
                from (
                    select each.key as reason, sum(each.value::bigint) as number
                    from (
                        select key, value from jsonb_each_text(stored.rejected)
                        union all
                        select key, value from jsonb_each_text(excluded.rejected)
                    ) as each (key, value)
                    group by each.key
                ) as summed
            ),
            last_delivery = greatest(stored.last_delivery, excluded.last_delivery)
        """,
        [
            (name, tally.accepted, tally.unmapped, tally.ignored, dict(tally.rejected), tally.last_delivery)
            for name, tally in tallies.items()
        ],
    )


async def load_statistics(connection: asyncpg.Connection) -> dict[str, StoredStatistic]:
    """Return the sums of all sources that ever sent something."""
    # few rows: one per configured source
    rows = await connection.fetch(
        "select source, accepted, unmapped, ignored, rejected, last_delivery from source_statistic"
    )
    return {
        row["source"]: StoredStatistic(
            row["accepted"], row["unmapped"], row["ignored"], row["rejected"], row["last_delivery"]
        )
        for row in rows
    }


async def load_cursor(connection: asyncpg.Connection, source: str, folder: str) -> Cursor | None:
    """Return how far a folder has been read; None: never."""
    # by primary key
    row = await connection.fetchrow(
        "select uid_validity, last_uid from mailbox_cursor where source = $1 and folder = $2", source, folder
    )
    return None if row is None else Cursor(row["uid_validity"], row["last_uid"])


async def save_cursor(connection: asyncpg.Connection, source: str, folder: str, cursor: Cursor) -> None:
    """Store how far a folder has been read. Under one validity a cursor never moves back."""
    # two replicas that poll the same mailbox must not undo one another
    await connection.execute(
        """
        insert into mailbox_cursor as stored (source, folder, uid_validity, last_uid)
        values ($1, $2, $3, $4)
        on conflict (source, folder) do update set
            uid_validity = excluded.uid_validity,
            last_uid = case
                when stored.uid_validity = excluded.uid_validity then greatest(stored.last_uid, excluded.last_uid)
                else excluded.last_uid
            end
        """,
        source,
        folder,
        cursor.uid_validity,
        cursor.last_uid,
    )


async def save_pass(connection: asyncpg.Connection, source: str, horizon: datetime | None, status: str) -> None:
    """Store how a pass went; a failed one (`horizon` None) keeps the horizon of the last good one."""
    # by primary key
    await connection.execute(
        """
        insert into mailbox_pass as stored (source, horizon, status)
        values ($1, $2, $3)
        on conflict (source) do update set
            horizon = coalesce(greatest(stored.horizon, excluded.horizon), stored.horizon),
            status = excluded.status
        """,
        source,
        horizon,
        status,
    )


async def load_passes(connection: asyncpg.Connection) -> dict[str, Pass]:
    """Return the last pass of every mailbox."""
    # few rows: one per configured mailbox
    rows = await connection.fetch("select source, horizon, status from mailbox_pass")
    return {row["source"]: Pass(row["horizon"], row["status"]) for row in rows}
