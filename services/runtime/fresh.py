"""Rows that are new, for all that a transaction knows, are inserted without looking for them first (ADR 139)."""

from collections.abc import Sequence

import asyncpg
import structlog

from services.runtime.arrays import Packed
from services.runtime.postgres import savepoint

_MANY = 100
"""Rows from which on a savepoint is cheaper than to look for a conflict with each."""
_log = structlog.get_logger(__name__)


async def insert_fresh(
    connection: asyncpg.Connection, adding: str, conflict: str, columns: Sequence[Packed | int], rows: int
) -> None:
    """Insert so many rows that are not there, for all we know; should one be, all of them with what `conflict` says.

    `adding` is the statement, `conflict` its clause, `columns` its arguments.
    """
    if rows >= _MANY:
        # To look for a conflict first costs a third of an insert.
        try:
            async with savepoint(connection):
                await connection.execute(adding, *columns)
        except asyncpg.UniqueViolationError:
            _log.warning("rows that are new were there already", statement=adding.partition(" (")[0])
        else:
            return
    if rows:
        await connection.execute(adding + conflict, *columns)
