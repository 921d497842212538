"""What is put into the queue of deliveries. What was tried once may have arrived, and is never changed again."""

from collections.abc import Iterable
from datetime import timedelta

import asyncpg

from services.notifier.domain.delivery import FOLD_AT_MOST, FOLD_FOR, STORM_FROM, STORM_WITHIN, Enqueued


async def enqueue(connection: asyncpg.Connection, deliveries: Iterable[Enqueued]) -> None:
    """Queue deliveries in the transaction of the steps that they carry."""
    for one in deliveries:
        folded = not one.held and (one.folded or (one.foldable and await _storms(connection, one.destination_id)))
        delivery_id = await _open_fold(connection, one) if folded else None
        if delivery_id is None:
            delivery_id = await insert(
                connection,
                one.delivery_id,
                one.destination_id,
                folded=folded,
                held=one.held,
                wait=FOLD_FOR if folded else timedelta(0),
            )
        # Queued already, the same step to the same place: it may have been sent, and says what it said.
        if delivery_id is not None:
            await carry(connection, delivery_id, [(one.alert_id, one.version)])


async def insert(
    connection: asyncpg.Connection,
    delivery_id: str,
    destination_id: str,
    *,
    folded: bool,
    held: bool = False,
    wait: timedelta = timedelta(0),
) -> str | None:
    """Queue a delivery that carries nothing yet, and return its id; None where there is one with this key."""
    # The reader's time zone is written down: under one key the same is said for ever.
    found: str | None = await connection.fetchval(
        """
            insert into delivery (delivery_id, destination_id, folded, held, next_attempt_at, time_zone)
            select $1, x.destination_id, $3, $4, now() + $5,
                coalesce(u.document -> 'working_hours' ->> 'time_zone', '')
            from destination x
            left join app_user u on u.user_id = x.user_id
            where x.destination_id = $2
            on conflict do nothing
            returning delivery_id
        """,
        delivery_id,
        destination_id,
        folded,
        held,
        wait,
    )
    return found


async def carry(connection: asyncpg.Connection, delivery_id: str, steps: Iterable[tuple[str, int]]) -> None:
    """Have a delivery that was never tried tell these steps, (alert, version), with the accounts' present names."""
    # The name is written down beside the step, for the same reason.
    await connection.executemany(
        """
            insert into delivery_step (delivery_id, alert_id, version, account_name)
            select $1, s.alert_id, s.version, coalesce(w.account ->> 'name', 'source ' || a.source, '')
            from alert_step s
            join alert a on a.alert_id = s.alert_id
            join watched_account w on w.account_id = s.account_id
            where s.alert_id = $2 and s.version = $3
            on conflict do nothing
        """,
        [(delivery_id, alert_id, version) for alert_id, version in steps],
    )


async def _storms(connection: asyncpg.Connection, destination_id: str) -> bool:
    # By the index on destinations; no more rows are read than it takes to know.
    found: bool = await connection.fetchval(
        """
            select count(*) >= $2
            from (
                select from delivery
                where destination_id = $1 and created_at > now() - $3::interval
                limit $2
            ) lately
        """,
        destination_id,
        STORM_FROM,
        STORM_WITHIN,
    )
    return found


async def _open_fold(connection: asyncpg.Connection, one: Enqueued) -> str | None:
    # A folded message that has not been tried yet takes one more step, and waits a little for others.
    found: str | None = await connection.fetchval(
        """
            update delivery
            set next_attempt_at = least(now() + $2, greatest(next_attempt_at, created_at + $3))
            where delivery_id = (
                select delivery_id
                from delivery
                where destination_id = $1 and folded and state = 'waiting' and not held
                    and first_tried_at is null and attempts = 0
                order by created_at
                limit 1
                for update skip locked
            )
            returning delivery_id
        """,
        one.destination_id,
        FOLD_FOR,
        FOLD_AT_MOST,
    )
    return found
