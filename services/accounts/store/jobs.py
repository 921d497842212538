"""Interactions that are to be read again: added in the transaction of the cause, run in chunks, resumable."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

SELECTORS = {
    "identities": "select distinct interaction_id as id from interaction_party where identity_key = any($1::text[])",
    "conversations": "select id from interaction where conversation_id = any($1::text[]::uuid[])",
    "parents": "select id from interaction where parent_id = any($1::text[]::uuid[])",
    "interactions": "select id from unnest($1::text[]::uuid[]) as chosen (id)",
    "accounts": "select interaction_id as id from attribution where account_id = any($1::text[]::uuid[])"
    " union select id from interaction where hand_accounts && $1::text[]::uuid[]",
    "everything": "select id from interaction where cardinality($1::text[]) = 0",
}
"""What a job reads again, by its selector; $1 is what was selected."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job; `position` is the last interaction that was read again."""

    id: int
    selector: str
    selected: tuple[str, ...]
    position: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """Open jobs, and since when (the system's clock) the oldest waits."""

    open: int
    oldest: datetime | None
    failing: int


_OF_BATCHES = frozenset({"conversations", "parents"})
"""Selectors of jobs that batches leave, many of them in a backlog."""
_AT_MOST = 100
"""Jobs that one takes over."""


async def add(connection: asyncpg.Connection, selector: str, selected: Sequence[str], recorded_at: datetime) -> None:
    """Add a job to the caller's transaction."""
    # The runner looks for it after the commit.
    await connection.execute(
        "insert into job (selector, selected, recordedtime) values ($1, $2::text[], $3)",
        selector,
        sorted(set(selected)),
        recorded_at,
    )


async def take(connection: asyncpg.Connection) -> Job | None:
    """Lock and return the oldest job that is due and that no other replica works on."""
    # Its lock is held until the chunk is committed.
    row = await connection.fetchrow(
        "select id, selector, selected, position, recordedtime, failures from job where not_before <= now() order by"
        " not_before, id limit 1 for update skip locked"
    )
    if row is None:
        return None
    job = Job(row["id"], row["selector"], tuple(row["selected"]), row["position"], row["recordedtime"])
    fresh = job.selector in _OF_BATCHES and job.position is None and row["failures"] == 0
    return await _united(connection, job) if fresh else job


async def _united(connection: asyncpg.Connection, job: Job) -> Job:
    """Take over what other jobs of batches want that have not begun: of a backlog much is wanted several times."""
    # None that has failed before: what it stumbles over would hold up the others.
    rows = await connection.fetch(
        "delete from job where id in (select id from job where selector = $1 and position is null and failures = 0 and"
        " id <> $2 order by id limit $3 for update skip locked) returning selected, recordedtime",
        job.selector,
        job.id,
        _AT_MOST,
    )
    if not rows:
        return job
    selected = sorted({*job.selected, *(one for row in rows for one in row["selected"])})
    recorded_at = min(job.recorded_at, *(row["recordedtime"] for row in rows))
    # The job stands for all of them; should this transaction fail, all are there as they were.
    await connection.execute(
        "update job set selected = $2::text[], recordedtime = $3 where id = $1", job.id, selected, recorded_at
    )
    return Job(job.id, job.selector, tuple(selected), None, recorded_at)


async def next_chunk(connection: asyncpg.Connection, job: Job, size: int) -> list[str]:
    """Return the next `size` interactions of a job, sorted by id; fewer at its end."""
    # One of the fixed queries above, from where the last chunk ended; places kept for parents have nothing to read.
    rows = await connection.fetch(
        f"select chosen.id from ({SELECTORS[job.selector]}) as chosen join interaction on interaction.id ="  # noqa: S608 - names of our own; values are parameters
        f" chosen.id and interaction.state is not null"
        " where $2::text::uuid is null or chosen.id > $2::text::uuid order by chosen.id limit $3",
        list(job.selected),
        job.position,
        size,
    )
    return [row["id"] for row in rows]


async def advance(connection: asyncpg.Connection, job: Job, chunk: Sequence[str]) -> None:
    """Remember that a chunk was read again."""
    # Written with the chunk's own changes: a killed process repeats nothing and leaves nothing out.
    await connection.execute(
        "update job set position = $2::text::uuid, processed = processed + $3, failures = 0, last_error = null"
        " where id = $1",
        job.id,
        chunk[-1],
        len(chunk),
    )


async def finish(connection: asyncpg.Connection, job: Job) -> None:
    """Remove a job that is done."""
    await connection.execute("delete from job where id = $1", job.id)


async def postpone(connection: asyncpg.Connection, job_id: int, error: str) -> None:
    """Try a failed job again later: after 1, 2, 4 … up to 256 seconds of real time."""
    # It stays open, so it keeps holding the horizon and shows in /flow.
    await connection.execute(
        "update job set failures = failures + 1, last_error = $2, not_before = now() + make_interval(secs => 2 ^"
        " least(failures, 8)) where id = $1",
        job_id,
        error[:300],
    )


async def backlog(connection: asyncpg.Connection) -> Backlog:
    """Return what is still to be read again."""
    row = await connection.fetchrow(
        "select count(*) as open, min(recordedtime) as oldest, count(*) filter (where failures > 0) as failing from job"
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return Backlog(row["open"], row["oldest"], row["failing"])
