"""Connections to the service's own database: codecs, time-outs, and the transaction that carries a caller's scope."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import cast

import asyncpg
import orjson

from services.runtime import arrays
from services.runtime.auth import Caller
from services.runtime.failpoints import RuntimeFailpoint, reach

_CONNECT_SECONDS = 10
PEER_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "25000",
        "client_connection_check_interval": "5000",
    }
)
"""By these the server notices within half a minute that we have vanished without a word, and lets our locks go."""


_BREAK_OFF_SECONDS = 2.0
ANSWER_PEOPLE = 20.0
"""Seconds after which a connection counts as silent where somebody waits for an answer: they try again, on another."""


async def create_pool(
    dsn: str,
    *,
    name: str = "tenure",
    min_size: int = 0,
    max_size: int = 8,
    lock_timeout_ms: int = 0,
    idle_in_transaction_ms: int = 30_000,
    statement_timeout_ms: int = 0,
    command_seconds: float | None = 120,
    search_path: str | None = None,
) -> asyncpg.Pool:
    """Open a pool whose connections give `uuid` as `str` and `json(b)` as Python values.

    `lock_timeout_ms` is for edits by people, which rather fail and are tried again than wait; 0 waits for ever.
    `idle_in_transaction_ms` bounds how long a process that was stopped in mid-batch keeps others from its partitions.
    `command_seconds` bounds the wait for one answer: a connection that has gone silent raises `TimeoutError` and is
    thrown away (where the network says that it is dead, after 25 s already). Jobs with longer statements need more.
    `search_path` names the schemas where tables are looked for, where these are not the usual ones.
    A connection that is given back is taken to be as it was: whoever takes one sets nothing beyond a transaction,
    listens to nothing and holds no lock (`session_locks.held` cleans up after itself).
    With `min_size` 0 it connects only when a connection is asked for: a service starts while its database is away.
    """
    server_settings = {
        "application_name": name,
        "timezone": "UTC",
        **PEER_SETTINGS,
        "idle_in_transaction_session_timeout": str(idle_in_transaction_ms),
        "lock_timeout": str(lock_timeout_ms),
        "statement_timeout": str(statement_timeout_ms),
        # The JIT costs more than it brings for statements over one batch.
        "jit": "off",
    }
    if search_path is not None:
        server_settings["search_path"] = search_path
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        init=register_codecs,
        reset=_as_it_is,
        server_settings=server_settings,
        command_timeout=command_seconds,
        timeout=_CONNECT_SECONDS,
    )


def notice_silence(connection: asyncpg.Connection) -> None:
    """Let the network tell us within half a minute that the server has vanished without a word."""
    # asyncpg has no setting for it. A Unix socket has none of these options and needs none.
    peer = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # noqa: SLF001 - see above
    try:
        if peer.family in {socket.AF_INET, socket.AF_INET6}:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000)
    except (ValueError, AttributeError) as closed:
        # uvloop's word for a socket that was closed meanwhile: nobody would take that for a lost connection
        message = "the connection ended as soon as it was made"
        raise ConnectionError(message) from closed


async def register_codecs(connection: asyncpg.Connection) -> None:
    """Make `uuid` columns read and write `str`, `json` and `jsonb` any JSON value; let whole columns come packed."""
    notice_silence(connection)
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=str, decoder=str, format="text")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_dump, decoder=orjson.loads, format="text")
    arrays.register(connection)


async def _as_it_is(connection: asyncpg.Connection) -> None:
    # In the place of asyncpg's four statements each time, against what nobody here leaves behind in a session.
    del connection


@asynccontextmanager
async def acquire(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    """Take a connection out of the pool for the block; one that is lost in it takes the idle ones along."""
    async with pool.acquire() as connection:
        # asyncpg's stubs tell the pool's proxy from the connection that it stands for; our functions do not.
        one = cast("asyncpg.Connection", connection)
        try:
            async with not_asked_again(one):
                yield one
        finally:
            if _is_lost(one):
                _leave_idle(pool)


def _is_lost(connection: asyncpg.Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # It was cut, and the pool has taken it back.
        return True


def _leave_idle(pool: asyncpg.Pool) -> None:
    """Cut the connections that nobody uses: what silenced one has probably silenced all that stood beside it.

    Otherwise each of them would be asked in turn, and each would be waited for as long as the first.
    """
    # asyncpg can only expire them, which says good-bye to each and waits for an answer that never comes.
    for holder in pool._holders:  # type: ignore[attr-defined]  # noqa: SLF001 - see above
        if holder.is_idle() and holder.is_connected():
            holder._con.terminate()  # noqa: SLF001 - see above


@asynccontextmanager
async def not_asked_again(connection: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """Cut a connection that did not answer in the block: it would not answer a rollback or a reset either.

    Who is cancelled in the middle of a statement has it broken off, and waits no longer than a moment for that.
    """
    try:
        yield connection
    except TimeoutError:
        connection.terminate()
        raise
    except asyncio.CancelledError:
        # asyncpg would wait for as long as for an answer, and keep one of the pool's connections meanwhile.
        if not _is_lost(connection):
            with suppress(TimeoutError):
                await connection._protocol._wait_for_cancellation(_BREAK_OFF_SECONDS)  # type: ignore[attr-defined]  # noqa: SLF001 - see above
        raise


@asynccontextmanager
async def savepoint(connection: asyncpg.Connection) -> AsyncIterator[asyncpg.Connection]:
    """Begin a part of a transaction that may fail by itself; where the connection is silent it is cut instead."""
    async with connection.transaction(), not_asked_again(connection):
        yield connection


@contextmanager
def _cancelled_for_good() -> Iterator[None]:
    """Let a cancellation that cut its connection leave the block as what it is."""
    try:
        yield
    except asyncpg.InterfaceError as closed:
        # asyncpg, asked to end a transaction on a closed connection, raises this in the place of what was under way.
        cause: BaseException | None = closed
        while isinstance(cause, asyncpg.InterfaceError):
            cause = cause.__context__
        if isinstance(cause, asyncio.CancelledError):
            raise cause from None
        raise


@asynccontextmanager
async def transaction(pool: asyncpg.Pool, *, readonly: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """Begin a transaction; it commits when the block ends without an error."""
    async with acquire(pool) as connection:
        with _cancelled_for_good():
            async with connection.transaction(readonly=readonly):
                async with not_asked_again(connection):
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
