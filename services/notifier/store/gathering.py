"""Mails that are held while something is caught up, and what becomes of them afterwards."""

from collections.abc import Collection

import asyncpg

from services.notifier.domain.absence import Gathered, Pending, gather
from services.notifier.domain.delivery import OVER, gathered_id
from services.notifier.store import enqueuing

_TOGETHER = "told together with others in one message"


async def hold(connection: asyncpg.Connection) -> None:
    """Hold all mail that waits and that nobody is sending."""
    # What goes to programs is never held: they want every step.
    await connection.execute(
        """
            update delivery d set held = true
            from destination x
            where x.destination_id = d.destination_id and x.kind = 'mail' and d.state = 'waiting' and not d.held
                and (d.lease_until is null or d.lease_until < now())
        """
    )


async def release(connection: asyncpg.Connection) -> None:
    """Let go what was held: one message for each destination, nothing of alerts that are resolved by now.

    What was tried before keeps its idempotency key: it may have arrived. So does what was said before a restore.
    """
    # What was tried goes on as it was. What is over is found out, and withdrawn, when its turn comes.
    await connection.execute(
        """
            update delivery d set held = false
            where d.held and d.state = 'waiting' and (
                d.first_tried_at is not null or d.attempts > 0
                or exists (
                    select from delivery_step c
                    where c.delivery_id = d.delivery_id and c.version >> 40 < (select epoch from version_epoch)
                )
            )
        """
    )
    # What is held and was never tried, step by step.
    rows = await connection.fetch(
        """
            select d.delivery_id, d.destination_id, c.alert_id, c.version, a.state = 'resolved' as settled
            from delivery d
            join delivery_step c using (delivery_id)
            join alert a using (alert_id)
            where d.held and d.state = 'waiting'
            order by d.created_at, d.delivery_id, c.version
            for update of d
        """
    )
    pending = [
        Pending(row["delivery_id"], row["destination_id"], row["alert_id"], row["version"], row["settled"])
        for row in rows
    ]
    for one in gather(pending):
        await _let_go(connection, one)


async def let_go(connection: asyncpg.Connection, rules: Collection[str]) -> None:
    """Let held mails go that are about alerts of `rules` only, each under its own key."""
    # Few are held, and mostly none.
    await connection.execute(
        """
            update delivery d set held = false
            where d.held and d.state = 'waiting' and not exists (
                select from delivery_step c
                join alert a using (alert_id)
                where c.delivery_id = d.delivery_id and not a.rule = any($1::text[])
            )
        """,
        list(rules),
    )


async def _let_go(connection: asyncpg.Connection, gathered: Gathered) -> None:
    obsolete = {one.delivery_id for one in gathered.obsolete}
    told = {one.delivery_id for one in gathered.told}
    if len(told) > 1 or told & obsolete:
        # Only a part of a message is left, or several are: one that says it all takes their place.
        await _send_together(connection, gathered)
        await _withdraw(connection, told, _TOGETHER)
    else:
        # A single message goes out under its own key.
        await connection.execute(
            "update delivery set held = false, next_attempt_at = now() where delivery_id = any($1::uuid[])", list(told)
        )
    over = {one.delivery_id for one in gathered.obsolete if one.settled}
    await _withdraw(connection, over - told, OVER)
    await _withdraw(connection, obsolete - over - told, _TOGETHER)


async def _send_together(connection: asyncpg.Connection, gathered: Gathered) -> None:
    delivery_id = gathered_id(gathered.destination_id, (one.delivery_id for one in gathered.told))
    # The same message after a restore is the same delivery.
    if await enqueuing.insert(connection, delivery_id, gathered.destination_id, folded=True) is not None:
        await enqueuing.carry(connection, delivery_id, [(one.alert_id, one.version) for one in gathered.told])


async def _withdraw(connection: asyncpg.Connection, delivery_ids: set[str], why: str) -> None:
    # They stay readable, with the reason.
    await connection.execute(
        """
            update delivery set state = 'withdrawn', held = false, settled_at = now(), last_outcome = $2
            where delivery_id = any($1::uuid[])
        """,
        list(delivery_ids),
        why,
    )
