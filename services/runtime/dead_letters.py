"""Records that could not be processed: a row each, with the bytes as they came, until an operator settles it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import uuid6

from contracts.envelope import Envelope
from services.runtime.faults import Rejected
from services.runtime.records import Record

__all__ = ["DeadLetter", "Rejected", "count_waiting", "drop", "insert", "listing", "replay", "show"]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record set aside. `reason` is a stable code, `detail` for a person, `handler` the service that gave up."""

    id: str
    record: Record
    reason: str
    detail: str
    handler: str
    source: str | None
    traceparent: str | None
    recordedtime: datetime | None
    created_at: datetime

    @classmethod
    def of(
        cls, record: Record, reason: str, detail: str, *, handler: str, now: datetime, envelope: Envelope | None = None
    ) -> "DeadLetter":
        """Set `record` aside; what its envelope says is taken from the headers when it could not be read."""
        if envelope is not None:
            return cls(
                str(uuid6.uuid7()),
                record,
                reason,
                detail,
                handler,
                envelope.source,
                envelope.traceparent,
                envelope.recordedtime,
                now,
            )
        source, traceparent = _header(record, "ce_source"), _header(record, "ce_traceparent")
        return cls(str(uuid6.uuid7()), record, reason, detail, handler, source, traceparent, None, now)


async def insert(connection: asyncpg.Connection, letters: Sequence[DeadLetter]) -> None:
    """Write `letters` in the caller's transaction; one that is there already is not written again."""
    # Dead letters are rare: a row each, pipelined.
    await connection.executemany(
        "insert into dead_letter (id, topic, partition_id, record_offset, record_key, value, header_names,"
        " header_values, reason, detail, handler, source, traceparent, recordedtime, created_at)"
        " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict do nothing",
        [_row(letter) for letter in letters],
    )


async def listing(
    connection: asyncpg.Connection,
    *,
    topic: str | None = None,
    reason: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    state: str | None = "waiting",
    before: str | None = None,
    limit: int = 100,
) -> list[asyncpg.Record]:
    """Return dead letters without their bytes, newest first; `before` is the id where the page before ended."""
    # Ids are UUIDv7: their order is that of creation.
    return await connection.fetch(
        "select id, topic, partition_id, record_offset, reason, detail, handler, source, traceparent, recordedtime,"
        " created_at, state, settled_at, settled_by, settled_why, octet_length(value) as size from dead_letter"
        " where ($1::text is null or topic = $1) and ($2::text is null or reason = $2)"
        " and ($3::text is null or source = $3) and ($4::timestamptz is null or created_at >= $4)"
        " and ($5::text is null or state = $5) and ($6::uuid is null or id < $6)"
        " order by id desc limit $7",
        topic,
        reason,
        source,
        since,
        state,
        before,
        limit,
    )


async def show(connection: asyncpg.Connection, letter_id: str) -> asyncpg.Record | None:
    """Return one dead letter with its bytes, or None."""
    # One row by its key.
    return await connection.fetchrow(
        "select id, topic, partition_id, record_offset, record_key, value, header_names, header_values, reason, detail,"
        " handler, source, traceparent, recordedtime, created_at, state, settled_at, settled_by, settled_why"
        " from dead_letter where id = $1",
        letter_id,
    )


async def replay(connection: asyncpg.Connection, letter_id: str, by: str, now: datetime) -> asyncpg.Record | None:
    """Mark a waiting letter replayed and return its record for the outbox; None when it is not waiting.

    It cannot have a second effect: the handler's natural keys see to that, as with any repeated record.
    """
    # Only a waiting letter changes: of two operators, the second gets nothing.
    return await connection.fetchrow(
        "update dead_letter set state = 'replayed', settled_at = $3, settled_by = $2"
        " where id = $1 and state = 'waiting'"
        " returning topic, record_key, value, header_names, header_values, recordedtime",
        letter_id,
        by,
        now,
    )


async def drop(connection: asyncpg.Connection, letter_id: str, by: str, why: str, now: datetime) -> bool:
    """Mark a waiting letter dropped, keeping who and why; False when it is not waiting."""
    # The row stays: what was dropped can still be shown.
    dropped = await connection.fetchval(
        "update dead_letter set state = 'dropped', settled_at = $4, settled_by = $2, settled_why = $3"
        " where id = $1 and state = 'waiting' returning id",
        letter_id,
        by,
        why,
        now,
    )
    return dropped is not None


async def count_waiting(connection: asyncpg.Connection) -> int:
    """Return how many dead letters wait for an operator."""
    # A partial index holds just these rows.
    count: int = await connection.fetchval("select count(*) from dead_letter where state = 'waiting'")
    return count


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    record = letter.record
    return (
        letter.id,
        record.topic,
        record.partition,
        record.offset,
        record.key,
        record.value,
        [name.encode("utf-8", "surrogateescape") for name, _ in record.headers],
        [value for _, value in record.headers],
        letter.reason,
        _storable(letter.detail),
        letter.handler,
        _storable(letter.source),
        _storable(letter.traceparent),
        letter.recordedtime,
        letter.created_at,
    )


def _header(record: Record, name: str) -> str | None:
    value = dict(record.headers).get(name)
    return None if value is None else value[:255].decode("utf-8", "backslashreplace")


def _storable(text: str | None) -> str | None:
    """PostgreSQL's text holds no NUL and no lone surrogates."""
    return None if text is None else text.replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()
