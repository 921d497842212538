"""What calendar folders had when they were last read, in ingest's database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

WHOLE = ""
"""In place of an entry's path: the state of the whole calendar."""


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """An entry as it was read. `uids`: the meetings that it speaks of."""

    etag: str
    uids: Sequence[str]


async def load_entries(connection: asyncpg.Connection, source: str) -> Mapping[str, KnownEntry]:
    """Return all entries of a calendar that have been read, by path; under `WHOLE` the state of all."""
    # by the first column of the primary key
    rows = await connection.fetch("select href, etag, uids from calendar_entry where source = $1", source)
    return {row["href"]: KnownEntry(row["etag"], row["uids"]) for row in rows}


async def save_entries(connection: asyncpg.Connection, source: str, entries: Mapping[str, KnownEntry]) -> None:
    """Store entries that have been read."""
    # by primary key
    await connection.executemany(
        """
        insert into calendar_entry (source, href, etag, uids)
        values ($1, $2, $3, $4)
        on conflict (source, href) do update set etag = excluded.etag, uids = excluded.uids
        """,
        [(source, href, entry.etag, list(entry.uids)) for href, entry in entries.items()],
    )


async def delete_entries(connection: asyncpg.Connection, source: str, hrefs: Sequence[str]) -> None:
    """Forget entries that are gone."""
    # by primary key
    await connection.execute(
        "delete from calendar_entry where source = $1 and href = any($2::text[])", source, list(hrefs)
    )
