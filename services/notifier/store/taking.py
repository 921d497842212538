"""Taking steps of alerts, of any number of accounts at once: state, outbox and deliveries in one transaction."""

from collections.abc import Sequence
from dataclasses import replace

import asyncpg

from contracts.codec import encode
from contracts.envelope import Envelope
from contracts.ids import derive_id
from contracts.topics import ALERTS
from services.notifier.domain.delivery import Enqueued, enqueue
from services.notifier.domain.life import Alert, Step, alert_id_of, dedup_key
from services.notifier.domain.look import Decided, event_of, versioned
from services.notifier.store import deliveries, enqueuing
from services.notifier.store.alerts import save_alerts
from services.runtime.outbox import OutboxMessage, append

_Told = tuple[Step, tuple[str, ...]]


async def take(connection: asyncpg.Connection, decided: Sequence[Decided], *, gathering: bool = False) -> int:
    """Take what was decided about locked accounts, each step with the users told of it; return how much is delivered.

    `gathering`: something is being caught up, and mails wait until that is done. Of an interaction of which people were
    told before, under an account that has been merged into this one since, they are not told again.
    """
    speaking = [one for one in decided if one.steps]
    if not speaking:
        return 0
    taken = await _save_steps(connection, speaking)
    queued = await _queued(connection, speaking, taken, gathering=gathering)
    await enqueuing.enqueue(connection, queued)
    messages = [_message(step, one.traceparent) for one, steps in zip(speaking, taken, strict=True) for step in steps]
    await append(connection, messages)
    return len(queued)


async def _save_steps(connection: asyncpg.Connection, decided: Sequence[Decided]) -> list[tuple[Step, ...]]:
    """Name and number the steps of locked accounts, write alerts and steps, and return by account the steps taken."""
    epoch, named = await _named(connection, [step for one in decided for step, _ in one.steps])
    taken, numbers, rest = [], [], iter(named)
    for one in decided:
        its_own = [next(rest) for _ in one.steps]
        steps, next_version = versioned(its_own, epoch, one.watched.next_version)
        taken.append(steps)
        numbers.append(next_version)
    # Under the accounts' locks, so numbers follow the order of commits.
    await connection.execute(
        """
            update watched_account w set next_version = s.next_version
            from unnest($1::uuid[], $2::bigint[]) as s (account_id, next_version)
            where w.account_id = s.account_id
        """,
        [one.watched.account_id for one in decided],
        numbers,
    )
    everything = [step for steps in taken for step in steps]
    await save_alerts(connection, [step.alert for step in everything])
    await _save_history(connection, everything)
    return taken


async def _save_history(connection: asyncpg.Connection, steps: Sequence[Step]) -> None:
    # What was published, kept as the alert's history.
    await connection.executemany(
        """
            insert into alert_step (alert_id, version, account_id, kind, taken_at, document, occasion)
            values ($1, $2, $3, $4, $5, $6::text::jsonb, $7)
        """,
        [history_row(step) for step in steps],
    )


def history_row(step: Step) -> tuple[object, ...]:
    """Return what is kept of a step in `alert_step`, in the order of its columns as they are inserted."""
    return (
        step.alert.alert_id,
        step.alert.version,
        step.alert.account_id,
        step.kind,
        step.alert.changed_at,
        encode(event_of(step)).decode(),
        step.occasion,
    )


async def _named(connection: asyncpg.Connection, steps: Sequence[Step]) -> tuple[int, list[Step]]:
    """Give alerts that have just opened their ids, and say of each step how many like it the alert had before.

    Returns the first half of versions as well.
    """
    # Most causes come for the first time: then this is the id, and one question answers everything.
    guesses = [step.alert.alert_id or alert_id_of(step.alert, 0) for step in steps]
    # Earlier alerts of this very cause by the index on accounts, steps by the primary key's first column.
    rows = await connection.fetch(
        """
            select e.epoch,
                (
                    select count(*) from alert a
                    where a.account_id = s.account_id and a.rule = s.rule and a.dedup_key = s.dedup_key
                        and a.cause = s.cause
                ) as earlier,
                exists (select from alert a where a.alert_id = s.alert_id) as known,
                (
                    select count(*) from alert_step t where t.alert_id = s.alert_id and t.occasion = s.occasion
                ) as number
            from version_epoch e
            cross join unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[]) with ordinality
                as s (account_id, rule, dedup_key, cause, alert_id, occasion, place)
            order by s.place
        """,
        [step.alert.account_id for step in steps],
        [step.alert.rule for step in steps],
        [step.alert.dedup_key for step in steps],
        [step.alert.cause for step in steps],
        guesses,
        [step.occasion for step in steps],
    )
    named = []
    for step, guess, row in zip(steps, guesses, rows, strict=True):
        if step.alert.alert_id:
            named.append(replace(step, number=row["number"]))
            continue
        opened = guess
        if row["earlier"] or row["known"]:
            opened = await _free_id(connection, step.alert, row["earlier"])
        named.append(replace(step, alert=replace(step.alert, alert_id=opened), number=0))
    return rows[0]["epoch"], named


async def _free_id(connection: asyncpg.Connection, alert: Alert, earlier: int) -> str:
    # Rarely more than one question: of alerts that were taken back after a restore the cause is not known.
    while await connection.fetchval("select true from alert where alert_id = $1", alert_id_of(alert, earlier)):
        earlier += 1
    return alert_id_of(alert, earlier)


async def _queued(
    connection: asyncpg.Connection, decided: Sequence[Decided], taken: Sequence[Sequence[Step]], *, gathering: bool
) -> list[Enqueued]:
    """Return what is to be delivered of the steps taken, account by account."""
    told: list[list[_Told]] = [
        [(step, users) for step, (_, users) in zip(steps, one.steps, strict=True)]
        for one, steps in zip(decided, taken, strict=True)
    ]
    silenced = await _told_before_merge(connection, [step for its in told for step, users in its if users])
    told = [
        [(step, () if (step.alert.alert_id, step.alert.version) in silenced else users) for step, users in its]
        for its in told
    ]
    concerned = {user for its in told for _, users in its for user in users}
    places = await deliveries.mailboxes(connection, concerned) if concerned else {}
    routes = await deliveries.routes(connection)
    queued: list[Enqueued] = []
    for one, its in zip(decided, told, strict=True):
        complete = one.watched.account.history_complete_at if one.watched.account else None
        queued += enqueue(its, places, routes, complete, gathering=gathering)
    return queued


async def _told_before_merge(connection: asyncpg.Connection, steps: Sequence[Step]) -> set[tuple[str, int]]:
    """Return (alert, version) of the steps that say what people were told under an account that was merged since."""
    asked = []
    for step in steps:
        alert = step.alert
        subject = alert.dedup_key.removeprefix(dedup_key(alert.rule, alert.account_id, ""))
        if step.kind == "opened" and subject != "account":
            asked.append((alert.alert_id, alert.version, alert.account_id, alert.rule, subject))
    if not asked:
        return set()
    # By the index on merged accounts, then their alerts by account and rule.
    rows = await connection.fetch(
        """
            select s.alert_id, s.version
            from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[])
                as s (alert_id, version, account_id, rule, subject)
            where exists (
                select from watched_account w
                join alert a on a.account_id = w.account_id and a.rule = s.rule
                where w.account ->> 'merged_into' = s.account_id
                    and a.dedup_key = s.rule || ':' || w.account_id || ':' || s.subject
            )
        """,
        *[list(column) for column in zip(*asked, strict=True)],
    )
    return {(row["alert_id"], row["version"]) for row in rows}


def _message(step: Step, traceparent: str | None) -> OutboxMessage:
    event = event_of(step)
    envelope = Envelope(
        id=derive_id("alert-step", event.alert_id, str(event.version)),
        source="/notifier",
        type=event.TYPE,
        subject=event.alert_id,
        time=event.changed_at,
        recordedtime=event.changed_at,
        traceparent=traceparent,
    )
    return OutboxMessage(topic=ALERTS, key=event.account_id, envelope=envelope, value=encode(event))
