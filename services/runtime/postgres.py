"""Connections to the service's own database: codecs, time-outs, and the transaction that carries a caller's scope."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import asyncpg
import orjson

from services.runtime.auth import Caller
from services.runtime.failpoints import RuntimeFailpoint, reach


async def create_pool(
    dsn: str,
    *,
    name: str = "tenure",
    min_size: int = 0,
    max_size: int = 8,
    lock_timeout_ms: int = 0,
    idle_in_transaction_ms: int = 30_000,
    statement_timeout_ms: int = 0,
) -> asyncpg.Pool:
    """Open a pool whose connections give `uuid` as `str` and `json(b)` as Python values.

    `lock_timeout_ms` is for edits by people, which rather fail and are tried again than wait; 0 waits for ever.
    `idle_in_transaction_ms` bounds how long a process that was stopped in mid-batch keeps others from its partitions.
    With `min_size` 0 it connects only when a connection is asked for: a service starts while its database is away.
    """
    server_settings = {
        "application_name": name,
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": str(idle_in_transaction_ms),
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": str(statement_timeout_ms),
        # The JIT costs more than it brings for statements over one batch.
        "jit": "off",
    }
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        init=register_codecs,
        server_settings=server_settings,
        command_timeout=None,
    )


async def register_codecs(connection: asyncpg.Connection) -> None:
    """Make `uuid` columns read and write `str`, `json` and `jsonb` columns any JSON value."""
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_dump, decoder=orjson.loads, format="text")


@asynccontextmanager
async def acquire(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Take a connection out of the pool for the block."""
    async with pool.acquire() as connection:
        # asyncpg's stubs tell the pool's proxy from the connection that it stands for; our functions do not.
        yield cast("asyncpg.Connection", connection)


@asynccontextmanager
async def transaction(pool: asyncpg.Pool, *, readonly: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """Begin a transaction; it commits when the block ends without an error."""
    async with acquire(pool) as connection:
        async with connection.transaction(readonly=readonly):
            yield connection
            if not readonly:
                reach(RuntimeFailpoint.COMMITTING)
        if not readonly:
            reach(RuntimeFailpoint.COMMITTED)


@asynccontextmanager
async def scoped(pool: asyncpg.Pool, caller: Caller, *, readonly: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """Begin a transaction in which row-level security sees `caller`; it commits unless the block fails."""
    async with transaction(pool, readonly=readonly) as connection:
        # The three settings live as long as the transaction: nothing is left behind in the pool.
        await connection.execute(
            "select set_config('tenure.issuer', $1, true), set_config('tenure.subject', $2, true),"
            " set_config('tenure.admin', $3, true)",
            caller.issuer,
            caller.subject,
            "true" if caller.is_admin else "false",
        )
        yield connection


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
