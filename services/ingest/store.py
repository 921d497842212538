"""Ingest's own tables: what sources sent, and how far mailboxes have been read."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import NamedTuple

import asyncpg
from asyncpg import BitString

from services.ingest.domain.rhythm import HOURS, weeks_of
from services.ingest.statistics import Tally, add_bounded

_STATISTIC = "source, accepted, redelivered, unmapped, ignored, ignored_by, rejected, last_delivery"


class StoredStatistic(NamedTuple):
    """What a source has sent since the beginning."""

    accepted: int = 0
    redelivered: int = 0
    unmapped: int = 0
    ignored: int = 0
    ignored_by: Mapping[str, int] = {}
    rejected: Mapping[str, int] = {}
    last_delivery: datetime | None = None

    def plus(self, tally: Tally) -> "StoredStatistic":
        """Return it with what came since."""
        ignored_by, rejected = Counter(self.ignored_by), Counter(self.rejected)
        for why, number in tally.ignored.items():
            add_bounded(ignored_by, why, number)
        rejected.update(tally.rejected)
        moments = [moment for moment in (self.last_delivery, tally.last_delivery) if moment is not None]
        return StoredStatistic(
            self.accepted + tally.accepted,
            self.redelivered + tally.redelivered,
            self.unmapped + tally.unmapped,
            self.ignored + tally.ignored.total(),
            dict(ignored_by),
            dict(rejected),
            max(moments, default=None),
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """The last pass over a mailbox. `horizon`: the clock before the last good one began."""

    horizon: datetime | None
    status: str


async def add_statistics(connection: asyncpg.Connection, tallies: Mapping[str, Tally], zone: tzinfo) -> None:
    """Add tallies to the stored sums. Hours of the week are those of the wall clock in `zone`."""
    names = sorted(tallies)
    # a row must be there to be locked; in order, so that two replicas never wait for each other
    await connection.execute(
        "insert into source_statistic (source) select unnest($1::text[]) on conflict do nothing", names
    )
    # one row per source
    rows = await connection.fetch(
        f"select {_STATISTIC} from source_statistic where source = any($1::text[]) order by source for update",  # noqa: S608 - constant columns
        names,
    )
    stored = {row["source"]: _statistic(row) for row in rows}
    # by primary key
    await connection.executemany(
        """
        update source_statistic set
            accepted = $2, redelivered = $3, unmapped = $4, ignored = $5, ignored_by = $6, rejected = $7,
            last_delivery = $8
        where source = $1
        """,
        [(name, *stored[name].plus(tallies[name])) for name in names],
    )
    # bits are united, whoever set them
    await connection.executemany(
        """
        insert into source_hours as stored (source, week, hours) values ($1, $2, $3)
        on conflict (source, week) do update set hours = stored.hours | excluded.hours
        """,
        [
            (name, week, BitString.from_int(bits, HOURS))
            for name in names
            for week, bits in weeks_of(tallies[name].moments(), zone).items()
        ],
    )


async def load_statistics(connection: asyncpg.Connection) -> dict[str, StoredStatistic]:
    """Return the sums of all sources that ever sent something."""
    # few rows: one per source that was ever configured
    rows = await connection.fetch(f"select {_STATISTIC} from source_statistic")  # noqa: S608 - constant columns
    return {row["source"]: _statistic(row) for row in rows}


async def load_hours(connection: asyncpg.Connection) -> dict[str, dict[date, int]]:
    """Return in which hours something came, by source and week."""
    # at most nine rows per source
    rows = await connection.fetch("select source, week, hours from source_hours")
    found: dict[str, dict[date, int]] = {}
    for row in rows:
        found.setdefault(row["source"], {})[row["week"]] = row["hours"].to_int()
    return found


async def forget_old_hours(connection: asyncpg.Connection, weeks: int) -> None:
    """Drop weeks that lie more than so many weeks before the last one of their source."""
    # a source that is silent keeps what its rhythm was learned from
    await connection.execute(
        """
        delete from source_hours old
        using (select source, max(week) as week from source_hours group by source) last
        where last.source = old.source and old.week < last.week - 7 * $1::integer
        """,
        weeks,
    )


async def attend(
    connection: asyncpg.Connection, now: datetime, absent_after: timedelta, *, comes: bool
) -> datetime | None:
    """Say that somebody is there at `now`; return since when somebody has always been. None: since the beginning.

    `comes`: who says so has only just started, so that nobody may have been there for a while.
    """
    # one row
    since: datetime | None = await connection.fetchval(
        """
        update attendance set
            alive_at = greatest(alive_at, $1),
            open_since = case when $3 and alive_at < $1 - $2::interval then $1 else open_since end
        returning open_since
        """,
        now,
        absent_after,
        comes,
    )
    return since


def _statistic(row: asyncpg.Record) -> StoredStatistic:
    return StoredStatistic(
        row["accepted"],
        row["redelivered"],
        row["unmapped"],
        row["ignored"],
        row["ignored_by"],
        row["rejected"],
        row["last_delivery"],
    )


async def save_pass(connection: asyncpg.Connection, source: str, horizon: datetime | None, status: str) -> None:
    """Store how a pass went; a failed one (`horizon` None) keeps the horizon of the last good one.

    Where the clock was ahead for a while, the horizon goes back with it: it must not promise what lies ahead.
    """
    # by primary key
    await connection.execute(
        """
        insert into mailbox_pass as stored (source, horizon, status)
        values ($1, $2, $3)
        on conflict (source) do update set
            horizon = coalesce(excluded.horizon, stored.horizon),
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
