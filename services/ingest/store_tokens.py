"""Tokens that came once, in ingest's database."""

import asyncpg


async def remember(connection: asyncpg.Connection, source: str, token: str, content: str, seconds: float) -> str:
    """Return what came with a token first: `content`, unless another door was faster. Kept for so many seconds."""
    # one statement: of two doors one inserts, and the other waits for it and reads what it wrote
    found: str = await connection.fetchval(
        """
        insert into used_token as used (source, token, content, expires_at)
        values ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
        on conflict (source, token) do update set content = used.content
        returning content
        """,
        source,
        token,
        content,
        seconds,
    )
    return found


async def forget(connection: asyncpg.Connection) -> None:
    """Delete tokens of which nothing can pass any more."""
    # by its index; a row that a door is looking at waits for the next time
    await connection.execute(
        """
        delete from used_token
        where (source, token) in (
            select source, token from used_token where expires_at < clock_timestamp() limit 10000 for update skip locked
        )
        """
    )
