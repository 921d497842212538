"""After a restore from backup: versions rise above all that were ever published, and every state is said again.

Offsets need nothing: they stand in the restored database, so consumers read again from where the backup was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from services.runtime import republish

_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_UNIT_SECONDS = 600
"""An epoch for each ten minutes: the 2²² that every service can hold last until 2105."""


@dataclass(frozen=True, slots=True)
class Restored:
    """`run_id`: the run that says every state again under new versions; None where a service has none."""

    epoch: int | None
    run_id: str | None


def epoch_of(moment: datetime) -> int:
    """Return the epoch of a restore at `moment` (real time): greater than that of any restore ten minutes before."""
    return int((moment - _FIRST).total_seconds()) // _UNIT_SECONDS


async def restored(
    connection: asyncpg.Connection, parts: Sequence[str], moment: datetime, by: str, *, at_least: int = 0
) -> Restored:
    """Raise the epoch and have `parts` said again under new versions, in the caller's transaction, as the owner.

    The backup may be older than an earlier restore, so its own epoch says nothing about what was published since: the
    new one follows real time. `at_least` is for a second restore of the same backup within ten minutes.
    """
    if not parts:
        return Restored(None, None)
    # One row. Whatever draws a version waits for no lock here: services are stopped, or see it with their next batch.
    epoch = await connection.fetchval(
        "update version_epoch set epoch = greatest(epoch + 1, $1, $2) returning epoch", epoch_of(moment), at_least
    )
    # The system's clock may be a simulated one: what was processed last is the latest moment that surely has been.
    known = await connection.fetchval("select coalesce(max(recordedtime), now()) from kafka_offset")
    run_id = await republish.request(connection, parts, known, by, fresh_versions=True)
    return Restored(epoch, run_id)
