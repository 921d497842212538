"""The durable queue of deliveries: what goes where, when it is tried again, what became of it. Times are real."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg

from contracts.accounts import User
from services.notifier.domain.calendar import zone_of
from services.notifier.domain.delivery import FOLD_FOR, STORM_FROM, STORM_WITHIN, Attempt, Enqueued, Job, Notice
from services.notifier.domain.look import EVENTS
from services.notifier.domain.recipients import Destination, Route

_DESTINATION = "x.destination_id, x.kind, x.name, x.address, x.user_id, x.secret_file, x.active, x.paused"


async def mailboxes(connection: asyncpg.Connection, user_ids: Collection[str]) -> dict[str, Destination]:
    """Return the mail destinations of users."""
    # By the unique index on users.
    rows = await connection.fetch(
        f"select {_DESTINATION} from destination x where x.user_id = any($1::uuid[])",  # noqa: S608 - constant columns
        list(user_ids),
    )
    return {row["user_id"]: _destination(row) for row in rows}


async def routes(connection: asyncpg.Connection) -> list[tuple[Route, Destination]]:
    """Return all routes to active destinations."""
    # They are few.
    rows = await connection.fetch(
        f"select r.route_id, r.rule, r.least_severity, r.account_id, r.owner_id, r.spoken_only, {_DESTINATION}"  # noqa: S608 - constant columns
        " from route r join destination x using (destination_id) where x.active order by r.route_id"
    )
    return [
        (
            Route(
                row["route_id"],
                row["destination_id"],
                row["rule"],
                row["least_severity"],
                row["account_id"],
                row["owner_id"],
                row["spoken_only"],
            ),
            _destination(row),
        )
        for row in rows
    ]


async def enqueue(connection: asyncpg.Connection, deliveries: Iterable[Enqueued]) -> None:
    """Queue deliveries in the transaction of the steps that they carry."""
    for one in deliveries:
        folded = one.folded or (one.foldable and await _storms(connection, one.destination_id))
        delivery_id = await _open_fold(connection, one) if folded else None
        if delivery_id is None:
            delivery_id = one.delivery_id
            # Queued already: the same step to the same place.
            await connection.execute(
                """
                    insert into delivery (delivery_id, destination_id, folded, next_attempt_at)
                    values ($1, $2, $3, now() + $4)
                    on conflict do nothing
                """,
                delivery_id,
                one.destination_id,
                folded,
                FOLD_FOR if folded else timedelta(0),
            )
        # What the delivery carries.
        await connection.execute(
            """
                insert into delivery_step (delivery_id, alert_id, version)
                values ($1, $2, $3)
                on conflict do nothing
            """,
            delivery_id,
            one.alert_id,
            one.version,
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
            set next_attempt_at = now() + $2
            where delivery_id = (
                select delivery_id
                from delivery
                where destination_id = $1 and folded and state = 'waiting' and attempts = 0 and lease_until is null
                order by created_at
                limit 1
                for update skip locked
            )
            returning delivery_id
        """,
        one.destination_id,
        FOLD_FOR,
    )
    return found


async def lease(
    connection: asyncpg.Connection,
    *,
    busy: Collection[str],
    mail_free: int,
    limit: int,
    for_seconds: float,
    zone: ZoneInfo,
) -> list[Job]:
    """Lease deliveries that may be tried now: at most one for each web hook that is not `busy`, `mail_free` mails.

    The lease outlives any attempt; a process that dies gives its deliveries back when it runs out.
    """
    # Each web hook is a lane of its own, and so is all mail: whoever is slow or dead fills no lane but theirs.
    rows = await connection.fetch(
        """
            with ready as (
                select d.delivery_id, d.next_attempt_at, x.kind,
                    row_number() over (
                        partition by case x.kind when 'mail' then null else d.destination_id end
                        order by d.next_attempt_at, d.delivery_id
                    ) as place
                from delivery d
                join destination x using (destination_id)
                where d.state = 'waiting' and d.next_attempt_at <= now()
                    and (d.lease_until is null or d.lease_until < now())
                    and not x.paused and (x.kind = 'mail' or not x.destination_id = any($1::uuid[]))
            ), taken as (
                select d.delivery_id
                from delivery d
                join ready r using (delivery_id)
                where r.place <= case r.kind when 'mail' then $2::int else 1 end
                order by r.next_attempt_at
                limit $3
                for update of d skip locked
            )
            update delivery d
            set lease_until = now() + $4
            from taken
            where d.delivery_id = taken.delivery_id and d.state = 'waiting'
                and (d.lease_until is null or d.lease_until < now())
            returning d.delivery_id
        """,
        list(busy),
        mail_free,
        limit,
        timedelta(seconds=for_seconds),
    )
    return await _jobs(connection, [row["delivery_id"] for row in rows], zone)


async def _jobs(connection: asyncpg.Connection, delivery_ids: Sequence[str], zone: ZoneInfo) -> list[Job]:
    # Everything that a message needs: the steps as published, account names, the reader's time zone.
    rows = await connection.fetch(
        f"""
            select d.delivery_id, d.attempts, d.created_at, s.kind as step, s.document,
                w.account ->> 'name' as account_name, u.document::text as reader, {_DESTINATION}
            from delivery d
            join destination x using (destination_id)
            join delivery_step c using (delivery_id)
            join alert_step s on s.alert_id = c.alert_id and s.version = c.version
            join watched_account w on w.account_id = s.account_id
            left join app_user u on u.user_id = x.user_id
            where d.delivery_id = any($1::uuid[])
            order by d.next_attempt_at, d.delivery_id, s.taken_at, s.version
        """,  # noqa: S608 - constant columns
        delivery_ids,
    )
    grouped: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        grouped.setdefault(row["delivery_id"], []).append(row)
    return [_job(found, zone) for found in grouped.values()]


def _job(rows: Sequence[asyncpg.Record], zone: ZoneInfo) -> Job:
    first = rows[0]
    reader = User.model_validate_json(first["reader"]) if first["reader"] else None
    return Job(
        delivery_id=first["delivery_id"],
        destination=_destination(first),
        notices=tuple(
            Notice(row["step"], EVENTS[row["step"]].model_validate(row["document"]), row["account_name"] or "")
            for row in rows
        ),
        attempts=first["attempts"],
        created_at=first["created_at"],
        zone=zone_of(reader.working_hours if reader else None, zone),
    )


async def settle(connection: asyncpg.Connection, job: Job, attempt: Attempt, next_attempt_at: datetime | None) -> None:
    """Record an attempt: delivered, tried again at `next_attempt_at`, or (None) a dead end."""
    state = "delivered" if attempt.delivered else "waiting" if next_attempt_at else "dead"
    # The lease ends with the attempt.
    await connection.execute(
        """
            update delivery
            set state = $2, attempts = $3, next_attempt_at = coalesce($4, next_attempt_at), lease_until = null,
                settled_at = case when $2 = 'waiting' then null else now() end, last_outcome = $5
            where delivery_id = $1 and state = 'waiting'
        """,
        job.delivery_id,
        state,
        job.attempts + 1,
        next_attempt_at,
        attempt.outcome,
    )
    # Every attempt with its outcome.
    await connection.execute(
        """
            insert into delivery_attempt (delivery_id, attempt, outcome, delivered)
            values ($1, $2, $3, $4)
            on conflict do nothing
        """,
        job.delivery_id,
        job.attempts + 1,
        attempt.outcome,
        attempt.delivered,
    )


async def counts(connection: asyncpg.Connection) -> asyncpg.Record:
    """Return how many deliveries were never tried, wait for a retry, are paused, are dead ends."""
    # `untried` leaves out paused destinations: somebody wants those to wait.
    row = await connection.fetchrow(
        """
            select count(*) filter (where d.state = 'waiting' and d.attempts = 0 and not x.paused) as untried,
                count(*) filter (where d.state = 'waiting' and d.attempts > 0 and not x.paused) as retrying,
                count(*) filter (where d.state = 'waiting' and x.paused) as paused,
                count(*) filter (where d.state = 'dead') as dead
            from delivery d
            join destination x using (destination_id)
            where d.state <> 'delivered'
        """
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return row


async def next_attempt_in(connection: asyncpg.Connection) -> float | None:
    """Return in how many seconds the next delivery may be tried; None: none waits."""
    # By the index on waiting deliveries.
    seconds: float | None = await connection.fetchval(
        """
            select extract(
                epoch from min(greatest(d.next_attempt_at, coalesce(d.lease_until, d.next_attempt_at))) - now()
            )::float8
            from delivery d
            join destination x using (destination_id)
            where d.state = 'waiting' and not x.paused
        """
    )
    return seconds


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
                created_at = case when state = 'dead' then now() else created_at end
            where delivery_id = $1 and state in ('dead', 'waiting')
            returning delivery_id
        """,
        delivery_id,
    )
    return found is not None


def _destination(row: asyncpg.Record) -> Destination:
    return Destination(
        row["destination_id"],
        row["kind"],
        row["name"],
        row["address"],
        row["user_id"],
        row["secret_file"],
        row["active"],
        row["paused"],
    )
