"""Taking back what was published and then forgotten by a restore from a backup."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import asyncpg

from contracts.values import Dated
from services.notifier.domain.delivery import enqueue
from services.notifier.domain.life import Step
from services.notifier.domain.recall import Recalled, uncertain
from services.notifier.domain.recipients import told_users
from services.notifier.domain.sources import told_of_source
from services.notifier.domain.state import AT_ONCE, Watched
from services.notifier.domain.view import AccountView
from services.notifier.store import accounts, alerts, deliveries, enqueuing, people, taking


async def take_back(connection: asyncpg.Connection, recalled: Sequence[Recalled], now: datetime, zone: ZoneInfo) -> int:
    """Write alerts that were published in a later state than is known here; return how many.

    What may not have arrived is queued again, under the key that it had, held like all mail while something is caught
    up: for those who would be told now, as far as they are known here. Every rule with such an alert is looked at.
    """
    # What is known here of the alerts that were published.
    rows = await connection.fetch(
        "select alert_id, version from alert where alert_id = any($1::uuid[])",
        [one.alert.alert_id for one in recalled],
    )
    known = {row["alert_id"]: row["version"] for row in rows}
    forgotten = [one for one in recalled if known.get(one.alert.alert_id, -1) < one.alert.version]
    watched = await accounts.lock(connection, {one.alert.account_id for one in forgotten})
    await alerts.save_alerts(connection, (one.alert for one in forgotten))
    await _save_steps(connection, forgotten)
    # Their causes may be gone.
    await connection.executemany(
        "update due set due_at = $3 where account_id = $1 and rule = $2",
        [(one.alert.account_id, one.alert.rule, AT_ONCE) for one in forgotten],
    )
    again = await _told(connection, uncertain(forgotten), watched, now, zone)
    places = await deliveries.mailboxes(connection, {user for _, users in again for user in users})
    routes = await deliveries.routes(connection)
    await enqueuing.enqueue(connection, enqueue(again, places, routes, None, gathering=True))
    return len(forgotten)


async def _told(
    connection: asyncpg.Connection, steps: Sequence[Step], watched: Mapping[str, Watched], now: datetime, zone: ZoneInfo
) -> list[tuple[Step, tuple[str, ...]]]:
    """Return steps, each with the users to be told of it again: the owner whom it names, or who else would be."""
    users, teams = await people.everybody(connection), await people.teams(connection)
    day = now.astimezone(zone).date()
    again: list[tuple[Step, tuple[str, ...]]] = []
    for step in steps:
        alert, account = step.alert, watched[step.alert.account_id].account
        if alert.source is not None:
            told = told_of_source(step, alert.source, users, teams, day)
        elif account is not None:
            # The owner may have changed after the backup.
            owners = () if alert.owner_id is None else (Dated[str](value=alert.owner_id, since=day),)
            view = AccountView(account.model_copy(update={"owners": owners}), zone, users=users)
            told = told_users(step, view, teams, now)
        else:
            told = () if alert.owner_id is None else (alert.owner_id,)
        again.append((step, told))
    return again


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
