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

__all__ = ["DeadLetter", "LetterFilter", "Rejected", "count_waiting", "drop", "insert", "listing", "matching", "replay"]

# Letters that are replayed in one transaction, at most; and their bytes.
_CHUNK = 500
_CHUNK_BYTES = 16 * 1024 * 1024


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


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant; a field that is None says nothing. `since` ≤ created_at < `until`; `up_to` is an id."""

    topic: str | None = None
    reason: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    up_to: str | None = None


# The one place that says what a filter means; it stands for text of this module, never for anything given.
_MATCHES = (
    "($1::text is null or topic = $1) and ($2::text is null or reason = $2) and ($3::text is null or source = $3)"
    " and ($4::timestamptz is null or created_at >= $4) and ($5::timestamptz is null or created_at < $5)"
    " and ($6::uuid is null or id <= $6)"
)


def _terms(which: LetterFilter) -> tuple[Any, ...]:
    return which.topic, which.reason, which.source, which.since, which.until, which.up_to


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
    which: LetterFilter,
    *,
    state: str | None = "waiting",
    before: str | None = None,
    limit: int = 100,
) -> list[asyncpg.Record]:
    """Return dead letters without their bytes, newest first; `before` is the id where the page before ended."""
    # Ids are UUIDv7: their order is that of creation.
    return await connection.fetch(
        "select id, topic, partition_id, record_offset, reason, detail, handler, source, traceparent, recordedtime,"  # noqa: S608 - _MATCHES
        " created_at, state, settled_at, settled_by, settled_why, octet_length(value) as size from dead_letter"
        f" where {_MATCHES} and ($7::text is null or state = $7) and ($8::uuid is null or id < $8)"
        " order by id desc limit $9",
        *_terms(which),
        state,
        before,
        limit,
    )


async def matching(connection: asyncpg.Connection, which: LetterFilter) -> tuple[int, str | None]:
    """Return how many letters wait, and the id of the newest of them."""
    # What waits is few; a partial index holds it.
    row = await connection.fetchrow(
        "select count(*) as number, (array_agg(id order by id desc))[1] as newest from dead_letter"  # noqa: S608 - _MATCHES
        f" where state = 'waiting' and {_MATCHES}",
        *_terms(which),
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row["number"], row["newest"]


async def show(connection: asyncpg.Connection, letter_id: str) -> asyncpg.Record | None:
    """Return one dead letter with its bytes, or None."""
    # One row by its key.
    return await connection.fetchrow(
        "select id, topic, partition_id, record_offset, record_key, value, header_names, header_values, reason, detail,"
        " handler, source, traceparent, recordedtime, created_at, state, settled_at, settled_by, settled_why"
        " from dead_letter where id = $1",
        letter_id,
    )


async def replay(
    connection: asyncpg.Connection, which: LetterFilter | str, by: str, now: datetime
) -> list[asyncpg.Record]:
    """Mark waiting letters replayed and return their records for the outbox, oldest first.

    `which` is one id, or a filter: then at most 500 letters of 16 MiB together are taken, the oldest; call again until
    none is left. It cannot have a second effect: the handler's natural keys see to that, as with any repeated record.
    """
    ids = [which] if isinstance(which, str) else await _oldest(connection, which)
    # Only a waiting letter changes: of two operators, the second gets nothing.
    rows = await connection.fetch(
        "update dead_letter set state = 'replayed', settled_at = $3, settled_by = $2"
        " where id = any($1::uuid[]) and state = 'waiting'"
        " returning id, topic, record_key, value, header_names, header_values, recordedtime, handler",
        ids,
        by,
        now,
    )
    return sorted(rows, key=lambda row: str(row["id"]))


async def _oldest(connection: asyncpg.Connection, which: LetterFilter) -> list[str]:
    # The running sum keeps large records from filling the memory; one letter is always taken.
    rows = await connection.fetch(
        "select id from (select id, coalesce(sum(coalesce(octet_length(value), 0))"  # noqa: S608 - _MATCHES
        " over (order by id rows between unbounded preceding and 1 preceding), 0) as size_before"
        f" from (select id, value from dead_letter where state = 'waiting' and {_MATCHES} order by id limit $7)"
        " as waiting) as counted where size_before < $8 order by id",
        *_terms(which),
        _CHUNK,
        _CHUNK_BYTES,
    )
    return [row["id"] for row in rows]


async def drop(connection: asyncpg.Connection, which: LetterFilter | str, by: str, why: str, now: datetime) -> int:
    """Mark one waiting letter (its id) or all that match dropped, keeping who and why; return how many."""
    one = which if isinstance(which, str) else None
    terms = _terms(LetterFilter() if isinstance(which, str) else which)
    # The rows stay: what was dropped can still be shown.
    dropped: int = await connection.fetchval(
        "with dropped as (update dead_letter set state = 'dropped', settled_at = $9, settled_by = $7, settled_why = $8"  # noqa: S608 - _MATCHES
        f" where state = 'waiting' and ($10::uuid is null or id = $10) and {_MATCHES} returning id)"
        " select count(*) from dropped",
        *terms,
        by,
        why,
        now,
        one,
    )
    return dropped


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
