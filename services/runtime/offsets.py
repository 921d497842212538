"""Consumed offsets in the service's own database, written in the transaction of the batch.

Topics are logical names, without the deployment's prefix.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

Partition = tuple[str, int]


class WentBack(ConnectionError):
    """The database is older than what was committed to it: it was restored, or a replica took over that lagged."""


@dataclass(frozen=True, slots=True)
class Position:
    """`next_offset`: the first offset not yet processed. `recordedtime`: that of the last record processed, if any."""

    next_offset: int
    recordedtime: datetime | None


def check_kept(stored: Mapping[Partition, int], committed: Mapping[Partition, Position]) -> None:
    """Raise `WentBack` where less is stored than we have committed; a stored offset never goes back by itself."""
    for partition, offset in stored.items():
        position = committed.get(partition)
        if position is not None and offset < position.next_offset:
            message = f"the database has forgotten {partition[0]}/{partition[1]} from {offset} on; it is read again"
            raise WentBack(message)


async def load(connection: asyncpg.Connection, group: str, topics: Sequence[str]) -> dict[Partition, Position]:
    """Return what is stored for `group` on `topics`."""
    # Every partition that any replica has ever processed; a handful of rows.
    rows = await connection.fetch(
        "select topic, partition_id, next_offset, recordedtime from kafka_offset"
        " where consumer_group = $1 and topic = any($2::text[])",
        group,
        topics,
    )
    return {(row["topic"], row["partition_id"]): Position(row["next_offset"], row["recordedtime"]) for row in rows}


async def lock(connection: asyncpg.Connection, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """Lock the rows of `partitions` until the transaction ends and return their next offsets.

    A missing row is created at 0. Whoever processes a partition holds its row: a process that still believes it owns it
    waits here, and then sees that its records have been done.

    From here on the transaction's statements find their rows by index.
    """
    wanted = sorted(partitions)
    topics, numbers = [topic for topic, _ in wanted], [number for _, number in wanted]
    found = await _lock_existing(connection, group, topics, numbers)
    if len(found) < len(wanted):
        # First contact with these partitions: create what is missing, whoever comes first.
        await connection.execute(
            "insert into kafka_offset (consumer_group, topic, partition_id, next_offset)"
            " select $1, wanted.topic, wanted.partition_id, 0"
            " from unnest($2::text[], $3::int[]) as wanted (topic, partition_id) on conflict do nothing",
            group,
            topics,
            numbers,
        )
        found = await _lock_existing(connection, group, topics, numbers)
    return found


async def _lock_existing(
    connection: asyncpg.Connection, group: str, topics: list[str], numbers: list[int]
) -> dict[Partition, int]:
    # In one order everywhere, so that two replicas never wait for each other. The setting: what a batch asks for it
    # knows by key, but where PostgreSQL has to guess how many rows there will be, it would read whole tables for one.
    rows = await connection.fetch(
        "select kafka_offset.topic, kafka_offset.partition_id, kafka_offset.next_offset,"
        " set_config('enable_seqscan', 'off', true)"
        " from kafka_offset join unnest($2::text[], $3::int[]) as wanted (topic, partition_id)"
        " on kafka_offset.topic = wanted.topic and kafka_offset.partition_id = wanted.partition_id"
        " where kafka_offset.consumer_group = $1"
        " order by kafka_offset.topic, kafka_offset.partition_id for update of kafka_offset",
        group,
        topics,
        numbers,
    )
    return {(row["topic"], row["partition_id"]): row["next_offset"] for row in rows}


async def save(connection: asyncpg.Connection, group: str, positions: Mapping[Partition, Position]) -> None:
    """Move forward to `positions`; a row that is already further stays."""
    ordered = sorted(positions.items())
    # One statement for the batch; the condition keeps a late checkpoint from moving an offset back.
    await connection.execute(
        "insert into kafka_offset (consumer_group, topic, partition_id, next_offset, recordedtime)"
        " select $1, topic, partition_id, next_offset, recordedtime"
        " from unnest($2::text[], $3::int[], $4::bigint[], $5::timestamptz[])"
        " as fresh (topic, partition_id, next_offset, recordedtime)"
        " on conflict (consumer_group, topic, partition_id) do update"
        " set next_offset = excluded.next_offset, updated_at = now(),"
        " recordedtime = coalesce(excluded.recordedtime, kafka_offset.recordedtime)"
        " where kafka_offset.next_offset < excluded.next_offset",
        group,
        [topic for (topic, _), _ in ordered],
        [number for (_, number), _ in ordered],
        [position.next_offset for _, position in ordered],
        [position.recordedtime for _, position in ordered],
    )


async def rewind(connection: asyncpg.Connection, group: str, partition: Partition, offset: int) -> None:
    """Set a partition back to `offset`: its topic was created anew, and what is stored belongs to the old one."""
    # The only statement that moves an offset backwards.
    await connection.execute(
        "update kafka_offset set next_offset = $4, updated_at = now()"
        " where consumer_group = $1 and topic = $2 and partition_id = $3",
        group,
        partition[0],
        partition[1],
        offset,
    )
