"""What operators see of deliveries, and how they try one again."""

import asyncpg


async def listing(
    connection: asyncpg.Connection,
    *,
    state: str | None,
    destination_id: str | None,
    alert_id: str | None,
    limit: int,
) -> list[asyncpg.Record]:
    """Return deliveries, the latest first, with the alerts that they carry."""
    # For operators; the address stays in the destination.
    return await connection.fetch(
        """
            select d.delivery_id, d.destination_id, x.kind, x.name, d.state, d.folded, d.attempts, d.created_at,
                d.next_attempt_at, d.settled_at, d.last_outcome,
                array(select c.alert_id from delivery_step c where c.delivery_id = d.delivery_id) as alert_ids
            from delivery d
            join destination x using (destination_id)
            where ($1::text is null or d.state = $1) and ($2::uuid is null or d.destination_id = $2)
                and (
                    $3::uuid is null
                    or exists (select from delivery_step c where c.delivery_id = d.delivery_id and c.alert_id = $3)
                )
            order by d.created_at desc, d.delivery_id
            limit $4
        """,
        state,
        destination_id,
        alert_id,
        limit,
    )


async def attempts_of(connection: asyncpg.Connection, delivery_id: str) -> list[asyncpg.Record]:
    """Return the attempts of a delivery, the first first."""
    # By the primary key's first column.
    return await connection.fetch(
        "select attempt, at, outcome, delivered from delivery_attempt where delivery_id = $1 order by attempt",
        delivery_id,
    )


async def retry(connection: asyncpg.Connection, delivery_id: str) -> bool:
    """Try a dead or waiting delivery again now, with 72 fresh hours; False where there is none."""
    # A dead one comes back to life; its attempts stay counted.
    found = await connection.fetchval(
        """
            update delivery
            set state = 'waiting', next_attempt_at = now(), settled_at = null,
                first_tried_at = case when state = 'dead' then null else first_tried_at end
            where delivery_id = $1 and state in ('dead', 'waiting')
            returning delivery_id
        """,
        delivery_id,
    )
    return found is not None
