"""What is packed here, PostgreSQL reads as it was meant, and gives back the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import asyncpg

from deploy.databases import DatabaseAccess
from services.runtime import arrays
from services.runtime.postgres import create_pool

_NOON = datetime(2026, 3, 2, 12, 0, 0, 1, tzinfo=UTC)
_IDS = ["0197a000-0000-7000-8000-000000000001", "ffffffff-ffff-8fff-bfff-ffffffffffff"]
_LONG = "x" * 5000
_COLUMNS: list[tuple[Callable[[Any], arrays.Packed], str, list[Any]]] = [
    (arrays.ids, "uuid", _IDS),
    (arrays.numbers, "bigint", [0, -1, 2**63 - 1, -(2**63)]),
    (arrays.moments, "timestamptz", [_NOON, datetime(1990, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]),
    (arrays.days, "date", [date(2026, 3, 2), date(1, 1, 1), date(9999, 12, 31)]),
    (arrays.flags, "boolean", [True, False]),
    (arrays.texts, "text", ["", "plain", 'a "quoted" \\ one, {with} NULL', _LONG]),
    (arrays.texts, "text", ["é", "plain", "\U0001f600", _LONG]),
    (arrays.blobs, "bytea", [b"", b"\x00\xff", b"y" * 5000]),
]


async def test_columns_come_back_as_they_were_given(database: Callable[[str], DatabaseAccess]) -> None:
    pool = await create_pool(database("ingest").worker)
    try:
        async with pool.acquire() as connection:
            for pack, kind, values in _COLUMNS:
                for given in (values, [*values, None], [None], [], values[:1]):
                    # Packed and as a list, as an array and row by row.
                    for sent in (pack(given), given, tuple(given)):
                        assert await connection.fetchval(f"select $1::{kind}[]", sent) == given
                    rows = await connection.fetch(f"select unnest($1::{kind}[]) as one", pack(given))
                    assert [row["one"] for row in rows] == given
    finally:
        await pool.close()


async def test_moments_are_the_same_in_every_offset(database: Callable[[str], DatabaseAccess]) -> None:
    pool = await create_pool(database("ingest").worker)
    berlin = _NOON.astimezone(timezone(timedelta(hours=1)))
    try:
        assert await pool.fetchval("select $1::timestamptz[]", arrays.moments([berlin])) == [_NOON]
    finally:
        await pool.close()


async def test_a_shorter_column_is_filled_up_with_nulls(database: Callable[[str], DatabaseAccess]) -> None:
    pool = await create_pool(database("ingest").worker)
    try:
        rows = await pool.fetch(
            "select unnest($1::uuid[]) as id, unnest($2::text[]) as name", arrays.ids(_IDS), arrays.texts([])
        )
        assert [tuple(row) for row in rows] == [(id_, None) for id_ in _IDS]
    finally:
        await pool.close()


async def test_arrays_of_arrays_are_refused(database: Callable[[str], DatabaseAccess]) -> None:
    pool = await create_pool(database("ingest").worker)
    try:
        for wrong in ("one text", [["nested"]], [1]):
            try:
                await pool.fetchval("select $1::text[]", wrong)
            except asyncpg.DataError:
                continue
            raise AssertionError(wrong)
    finally:
        await pool.close()
