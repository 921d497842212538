"""How far files of history have been read, in ingest's database."""

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True, slots=True)
class FileState:
    """How far a file has been read: everything up to `read_bytes` is with the broker."""

    read_bytes: int
    complete: bool


async def load_files(connection: asyncpg.Connection, source: str) -> Mapping[str, FileState]:
    """Return all files of a source that have been read, by path."""
    # by the first column of the primary key
    rows = await connection.fetch("select path, read_bytes, complete from folder_file where source = $1", source)
    return {row["path"]: FileState(row["read_bytes"], row["complete"]) for row in rows}


async def save_files(connection: asyncpg.Connection, source: str, files: Mapping[str, FileState]) -> None:
    """Store how far files have been read."""
    # by primary key
    await connection.executemany(
        """
        insert into folder_file (source, path, read_bytes, complete)
        values ($1, $2, $3, $4)
        on conflict (source, path) do update set read_bytes = excluded.read_bytes, complete = excluded.complete
        """,
        [(source, path, state.read_bytes, state.complete) for path, state in files.items()],
    )
