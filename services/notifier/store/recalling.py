"""Taking back what was published and then forgotten by a restore from a backup."""

from collections.abc import Sequence

import asyncpg

from services.notifier.domain.delivery import enqueue
from services.notifier.domain.recall import Recalled, uncertain
from services.notifier.domain.state import AT_ONCE
from services.notifier.store import accounts, alerts, deliveries, enqueuing, taking


async def take_back(connection: asyncpg.Connection, recalled: Sequence[Recalled]) -> int:
    """Write alerts that were published in a later state than is known here; return how many.

    What may not have arrived is queued again, under the key that it had, held like all mail while something is caught
    up. Every rule with such an alert is looked at.
    """
    # What is known here of the alerts that were published.
    rows = await connection.fetch(
        "select alert_id, version from alert where alert_id = any($1::uuid[])",
        [one.alert.alert_id for one in recalled],
    )
    known = {row["alert_id"]: row["version"] for row in rows}
    forgotten = [one for one in recalled if known.get(one.alert.alert_id, -1) < one.alert.version]
    await accounts.lock(connection, {one.alert.account_id for one in forgotten})
    await alerts.save_alerts(connection, (one.alert for one in forgotten))
    await _save_steps(connection, forgotten)
    # Their causes may be gone.
    await connection.executemany(
        "update due set due_at = $3 where account_id = $1 and rule = $2",
        [(one.alert.account_id, one.alert.rule, AT_ONCE) for one in forgotten],
    )
    again = [(step, (step.alert.owner_id,) if step.alert.owner_id else ()) for step in uncertain(forgotten)]
    places = await deliveries.mailboxes(connection, {user for _, users in again for user in users})
    routes = await deliveries.routes(connection)
    await enqueuing.enqueue(connection, enqueue(again, places, routes, None, gathering=True))
    return len(forgotten)


async def _save_steps(connection: asyncpg.Connection, forgotten: Sequence[Recalled]) -> None:
    # Those that the backup has stay as they are.
    await connection.executemany(
        """
            insert into alert_step (alert_id, version, account_id, kind, taken_at, document, occasion)
            values ($1, $2, $3, $4, $5, $6::text::jsonb, $7)
            on conflict do nothing
        """,
        [taking.history_row(step) for one in forgotten for step in one.steps],
    )
