"""The one row that remembers how complete our knowledge was."""

from datetime import datetime

import asyncpg

from services.notifier.domain.absence import Watch


async def load(connection: asyncpg.Connection) -> Watch:
    """Return what is remembered."""
    # One row.
    row = await connection.fetchrow(
        """
            select w.complete_at, w.absent_since, w.absent_why, w.epoch, e.epoch as present_epoch
            from watch w
            cross join version_epoch e
        """
    )
    assert row is not None  # noqa: S101 - the migrations made both
    return Watch(row["complete_at"], row["absent_since"], row["absent_why"], row["epoch"], row["present_epoch"])


async def lock(connection: asyncpg.Connection) -> None:
    """Wait for whoever is ending an absence, and let nobody end one before the transaction ends.

    Otherwise what is held meanwhile could be held for an absence that is over, and for ever.
    """
    # One row.
    await connection.execute("select from watch for update")


async def absent(connection: asyncpg.Connection, since: datetime, why: str) -> None:
    """Remember that what happened since then is being caught up; an absence that began earlier stays."""
    # The first thing that a transaction locks, so that two never wait for each other.
    await connection.execute(
        "update watch set absent_since = $1, absent_why = $2 where absent_since is null or absent_since > $1",
        since,
        why,
    )


async def complete(connection: asyncpg.Connection, at: datetime) -> None:
    """Remember that everything up to `at` was known."""
    # An absence is ended by `ended` only.
    await connection.execute(
        """
            update watch set complete_at = $1, epoch = coalesce(watch.epoch, e.epoch)
            from version_epoch e
            where complete_at is distinct from $1
        """,
        at,
    )


async def recalled(connection: asyncpg.Connection) -> None:
    """Remember that what a restore had forgotten was taken back."""
    # Its epoch is the present one from now on.
    await connection.execute("update watch set epoch = e.epoch from version_epoch e")


async def ended(connection: asyncpg.Connection, at: datetime, since: datetime) -> bool:
    """Forget the absence that began at `since`; False where another, earlier one has been found meanwhile."""
    # Whoever releases what was held does so in the same transaction.
    found = await connection.fetchval(
        """
            update watch set complete_at = $1, absent_since = null, absent_why = null, epoch = e.epoch
            from version_epoch e
            where absent_since = $2
            returning 1
        """,
        at,
        since,
    )
    return found is not None
