"""Destinations and routes: where alerts go beside their owners' mail."""

from collections.abc import Mapping
from typing import Any

import asyncpg


async def destinations(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return all destinations, people's own mailboxes included."""
    # They are as few as users.
    return await connection.fetch(
        """
            select destination_id, kind, name, address, user_id, secret_file, active, paused
            from destination
            order by kind, name, destination_id
        """
    )


async def add_destination(connection: asyncpg.Connection, destination_id: str, given: Mapping[str, Any]) -> None:
    """Add a destination."""
    # Ids are given by the API.
    await connection.execute(
        "insert into destination (destination_id, kind, name, address, secret_file) values ($1, $2, $3, $4, $5)",
        destination_id,
        given["kind"],
        given["name"],
        given["address"],
        given["secret_file"],
    )


async def change_destination(
    connection: asyncpg.Connection, destination_id: str, *, paused: bool | None, active: bool | None
) -> asyncpg.Record | None:
    """Pause, resume, switch off or on; return the destination, or None where there is none.

    What was tried before a pause has 72 fresh hours after it.
    """
    # A destination that is paused keeps its queue; one that is switched off gets nothing new.
    return await connection.fetchrow(
        """
            with resumed as (
                update delivery d set first_tried_at = null
                from destination before
                where before.destination_id = $1 and before.paused and not $2
                    and d.destination_id = $1 and d.state = 'waiting' and d.attempts > 0
            )
            update destination set paused = coalesce($2, paused), active = coalesce($3, active)
            where destination_id = $1
            returning destination_id, kind, name, address, user_id, secret_file, active, paused
        """,
        destination_id,
        paused,
        active,
    )


async def routes(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Return all routes."""
    # They are few.
    return await connection.fetch(
        """
            select route_id, destination_id, rule, least_severity, account_id, owner_id, spoken_only
            from route
            order by route_id
        """
    )


async def add_route(connection: asyncpg.Connection, route_id: str, given: Mapping[str, Any]) -> bool:
    """Add a route; False where its destination does not exist."""
    # The destination is looked up in the same statement.
    added = await connection.fetchval(
        """
            insert into route (route_id, destination_id, rule, least_severity, account_id, owner_id,
                spoken_only)
            select $1, x.destination_id, $3, $4, $5, $6, $7
            from destination x
            where x.destination_id = $2
            returning route_id
        """,
        route_id,
        given["destination_id"],
        given["rule"],
        given["least_severity"],
        given["account_id"],
        given["owner_id"],
        given["spoken_only"],
    )
    return added is not None


async def remove_route(connection: asyncpg.Connection, route_id: str) -> bool:
    """Remove a route; False where there is none."""
    # What is queued already still goes out.
    return (
        await connection.fetchval(
            """
        delete
        from route
        where route_id = $1
        returning route_id
    """,
            route_id,
        )
        is not None
    )
