"""Alerts said again: `services.runtime.republish.States` of the notifier."""

import asyncpg

from contracts.envelope import Envelope
from contracts.ids import derive_id
from contracts.topics import ALERTS
from services.notifier.store.accounts import lock
from services.runtime.outbox import OutboxMessage, append
from services.runtime.republish import Order, Said


class AlertsAgain:
    """The last step of every alert, on `tenure.alerts`. Nobody is told of it: deliveries have a queue of their own.

    A step is something that happened: it keeps its version also after a restore; steps that follow have greater ones.
    """

    name = "alerts"

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the accounts of the next alerts, in order of id, and append the last steps to the outbox."""
        # By primary key.
        rows = await connection.fetch(
            "select alert_id, account_id from alert where $1::text::uuid is null or alert_id > $1::text::uuid"
            " order by alert_id limit $2",
            after,
            order.limit,
        )
        if not rows:
            return Said(0, None)
        await lock(connection, {row["account_id"] for row in rows})
        # What was published last of each, read under the lock.
        steps = await connection.fetch(
            "select distinct on (alert_id) alert_id, version, account_id, kind, taken_at, document::text as document"
            " from alert_step where alert_id = any($1::uuid[]) order by alert_id, version desc",
            [row["alert_id"] for row in rows],
        )
        await append(connection, [_message(step, order) for step in steps])
        return Said(len(steps), rows[-1]["alert_id"] if len(rows) == order.limit else None)


def _message(step: asyncpg.Record, order: Order) -> OutboxMessage:
    envelope = Envelope(
        id=derive_id("alert-step", step["alert_id"], str(step["version"])),
        source="/notifier",
        type=f"tenure.alert.{step['kind']}.v1",
        subject=step["alert_id"],
        time=step["taken_at"],
        recordedtime=order.recorded_at,
        republished=order.run_id,
    )
    return OutboxMessage(topic=ALERTS, key=step["account_id"], envelope=envelope, value=step["document"].encode())
