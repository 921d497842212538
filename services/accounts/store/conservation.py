"""Where every accepted report is: attributed, unmatched, nobody's by hand, or a dead letter. Counted, never guessed."""

from collections.abc import Sequence

import asyncpg

from contracts.topics import INTERACTIONS

_PLACE = (
    "case when interaction.unmatched then 'unmatched' when cardinality(interaction.claimed) > 0 then 'attributed'"
    " else 'nobodys' end"
)


async def by_source(connection: asyncpg.Connection) -> dict[str, dict[str, int]]:
    """Return by source how many events are kept in which place, and how many dead letters in which state."""
    # The whole ledger: for an operator's question, not for a dashboard that asks every minute.
    rows = await connection.fetch(
        f"select ledger.source, {_PLACE} as place, count(*) as events from ledger join interaction on"  # noqa: S608 - constants
        " interaction.id = ledger.interaction_id group by 1, 2"
    )
    counted: dict[str, dict[str, int]] = {}
    for row in rows:
        counted.setdefault(row["source"], {})[row["place"]] = row["events"]
    # ingest writes the source's name behind this path; a letter that could not be read at all has none.
    letters = await connection.fetch(
        "select regexp_replace(coalesce(source, '?'), '^/sources/', '') as source, state, count(*) as letters from"
        " dead_letter where topic = $1 group by 1, 2",
        INTERACTIONS.name,
    )
    for row in letters:
        counted.setdefault(row["source"], {})[f"dead_letters_{row['state']}"] = row["letters"]
    return counted


async def count(connection: asyncpg.Connection, counted: Sequence[tuple[str, int, int, int]]) -> None:
    """Add (source, partition, kept, repeated) to what came before."""
    # few rows, and nobody else writes those of this partition
    await connection.execute(
        "insert into report_count as stored (source, partition_id, kept, repeated)"
        " select source, partition_id, kept, repeated"
        " from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[])"
        " as came (source, partition_id, kept, repeated) on conflict (source, partition_id) do update set"
        " kept = stored.kept + excluded.kept, repeated = stored.repeated + excluded.repeated",
        *[list(column) for column in zip(*counted, strict=True)],
    )


async def repeated(connection: asyncpg.Connection) -> dict[str, int]:
    """Return by source how many reports came that the ledger had already."""
    # a row per source and partition
    rows = await connection.fetch("select source, sum(repeated)::bigint as repeated from report_count group by source")
    return {row["source"]: row["repeated"] for row in rows}


async def places(
    connection: asyncpg.Connection, group: str, records: Sequence[tuple[str | None, int, int]]
) -> list[str]:
    """Return for each record (event id, partition, offset) of `tenure.interactions` where it is.

    attributed, unmatched, nobodys, dead_letter; waiting: not processed yet; missing: nowhere.
    """
    ids = sorted({id_ for id_, _, _ in records if id_ is not None})
    partitions, offsets = [partition for _, partition, _ in records], [offset for _, _, offset in records]
    # Offsets first: whatever is processed later is found in the ledger, and whatever was then is in neither by mistake.
    done = await connection.fetch(
        "select partition_id, next_offset from kafka_offset where consumer_group = $1 and topic = $2",
        group,
        INTERACTIONS.name,
    )
    next_offset = {row["partition_id"]: row["next_offset"] for row in done}
    kept = await connection.fetch(
        f"select ledger.event_id, {_PLACE} as place from ledger join interaction on interaction.id ="  # noqa: S608 - constants
        " ledger.interaction_id where ledger.event_id = any($1::text[]::uuid[])",
        ids,
    )
    place = {row["event_id"]: row["place"] for row in kept}
    letters = await connection.fetch(
        "select letter.partition_id, letter.record_offset from dead_letter as letter join unnest($2::integer[],"
        " $3::bigint[]) as asked (partition_id, record_offset) on letter.partition_id = asked.partition_id and"
        " letter.record_offset = asked.record_offset where letter.topic = $1",
        INTERACTIONS.name,
        partitions,
        offsets,
    )
    dead = {(row["partition_id"], row["record_offset"]) for row in letters}
    found = []
    for event_id, partition, offset in records:
        if event_id is not None and event_id in place:
            found.append(place[event_id])
        elif (partition, offset) in dead:
            found.append("dead_letter")
        else:
            found.append("waiting" if offset >= next_offset.get(partition, 0) else "missing")
    return found
