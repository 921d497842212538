"""The durable queue of deliveries: where, when it is tried, what became of it. Times are real."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg

from services.notifier.domain.calendar import zone_named
from services.notifier.domain.delivery import Attempt, Job, Notice
from services.notifier.domain.look import EVENTS
from services.notifier.domain.recipients import Destination, Route
from services.notifier.domain.retry import LEFT_ALONE_AT_MOST

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


async def lease(
    connection: asyncpg.Connection,
    *,
    busy: Collection[str],
    mail_free: int,
    limit: int,
    for_seconds: float,
    zone: ZoneInfo,
) -> list[Job]:
    """Lease deliveries that may be tried now: one for each destination that is not `busy`, of mails `mail_free`.

    Whoever leases must `renew` in time; a process that dies or stands still gives its deliveries back by not doing so.
    """
    token = str(uuid.uuid4())
    # Each destination is a lane of its own, and so is all mail: whoever is slow or dead fills no lane but theirs.
    rows = await connection.fetch(
        """
            with ready as (
                select d.delivery_id, d.next_attempt_at, x.kind,
                    row_number() over (partition by d.destination_id order by d.next_attempt_at, d.delivery_id) as place
                from delivery d
                join destination x using (destination_id)
                where d.state = 'waiting' and not d.held and d.next_attempt_at <= now()
                    and (d.lease_until is null or d.lease_until < now())
                    and not x.paused and (x.not_before is null or x.not_before <= now())
                    and not x.destination_id = any($1::uuid[])
            ), first as (
                select r.delivery_id, r.next_attempt_at, r.kind,
                    row_number() over (partition by r.kind order by r.next_attempt_at, r.delivery_id) as place
                from ready r
                where r.place = 1
            ), taken as (
                select d.delivery_id
                from delivery d
                join first f using (delivery_id)
                where f.kind <> 'mail' or f.place <= $2::int
                order by f.next_attempt_at
                limit $3
                for update of d skip locked
            )
            update delivery d
            set lease_until = now() + $4, leased_by = $5, first_tried_at = coalesce(d.first_tried_at, now())
            from taken
            where d.delivery_id = taken.delivery_id and d.state = 'waiting'
                and (d.lease_until is null or d.lease_until < now())
            returning d.delivery_id, d.first_tried_at = now() and d.attempts = 0 as first
        """,
        list(busy),
        mail_free,
        limit,
        timedelta(seconds=for_seconds),
        token,
    )
    await _drop_what_is_over(connection, [row["delivery_id"] for row in rows if row["first"]])
    return await _jobs(connection, [row["delivery_id"] for row in rows], zone)


async def _drop_what_is_over(connection: asyncpg.Connection, delivery_ids: Sequence[str]) -> None:
    # Before the first attempt only: what was sent once must be the same under its key for ever. A mail about nothing
    # else keeps its steps, and is withdrawn.
    await connection.execute(
        """
            delete from delivery_step c
            using alert a, delivery d, destination x
            where c.delivery_id = any($1::uuid[]) and a.alert_id = c.alert_id and a.state = 'resolved'
                and d.delivery_id = c.delivery_id and x.destination_id = d.destination_id and x.kind = 'mail'
                and exists (
                    select from delivery_step other
                    join alert b on b.alert_id = other.alert_id and b.state <> 'resolved'
                    where other.delivery_id = c.delivery_id
                )
        """,
        list(delivery_ids),
    )


async def renew(connection: asyncpg.Connection, jobs: Collection[Job], for_seconds: float) -> None:
    """Keep the leases of running attempts."""
    # Only those that are still ours: what ran out may be somebody else's by now.
    await connection.execute(
        """
            update delivery d set lease_until = now() + $3
            from unnest($1::uuid[], $2::uuid[]) as ours (delivery_id, lease)
            where d.delivery_id = ours.delivery_id and d.leased_by = ours.lease
        """,
        [job.delivery_id for job in jobs],
        [job.lease for job in jobs],
        timedelta(seconds=for_seconds),
    )


async def _jobs(connection: asyncpg.Connection, delivery_ids: Sequence[str], zone: ZoneInfo) -> list[Job]:
    # Everything that a message needs: the steps as published, account names, the reader's time zone. Many steps are of
    # one moment, and a message is the same at every attempt: the order leaves nothing open.
    rows = await connection.fetch(
        f"""
            select d.delivery_id, d.attempts, d.first_tried_at, now() as leased_at, d.leased_by,
                s.kind as step, s.document, x.kind = 'mail' and a.state = 'resolved' as obsolete,
                coalesce(c.account_name, w.account ->> 'name', 'source ' || a.source, '') as account_name,
                coalesce(d.time_zone, u.document -> 'working_hours' ->> 'time_zone', '') as time_zone,
                {_DESTINATION}
            from delivery d
            join destination x using (destination_id)
            join delivery_step c using (delivery_id)
            join alert_step s on s.alert_id = c.alert_id and s.version = c.version
            join alert a on a.alert_id = c.alert_id
            join watched_account w on w.account_id = s.account_id
            left join app_user u on u.user_id = x.user_id
            where d.delivery_id = any($1::uuid[])
            order by d.next_attempt_at, d.delivery_id, s.taken_at, s.version, s.alert_id
        """,  # noqa: S608 - constant columns
        delivery_ids,
    )
    grouped: dict[str, list[asyncpg.Record]] = {}
    for row in rows:
        grouped.setdefault(row["delivery_id"], []).append(row)
    return [_job(found, zone) for found in grouped.values()]


def _job(rows: Sequence[asyncpg.Record], zone: ZoneInfo) -> Job:
    first = rows[0]
    return Job(
        delivery_id=first["delivery_id"],
        destination=_destination(first),
        notices=tuple(
            Notice(row["step"], EVENTS[row["step"]].model_validate(row["document"]), row["account_name"])
            for row in rows
        )
        # Nobody is woken for what is over: mails say what is to be done.
        if not all(row["obsolete"] for row in rows)
        else (),
        attempts=first["attempts"],
        first_tried_at=first["first_tried_at"],
        leased_at=first["leased_at"],
        lease=first["leased_by"],
        zone=zone_named(first["time_zone"], zone),
    )


async def settle(connection: asyncpg.Connection, job: Job, attempt: Attempt, next_attempt_at: datetime | None) -> None:
    """Record an attempt: delivered, tried again at `next_attempt_at`, or (None) a dead end.

    Who lost the lease meanwhile changes nothing but this: what has arrived has arrived.
    """
    state = "delivered" if attempt.delivered else "waiting" if next_attempt_at else "dead"
    # The lease ends with the attempt.
    await connection.execute(
        """
            update delivery
            set state = $2, attempts = attempts + 1, next_attempt_at = coalesce($3, next_attempt_at),
                lease_until = null, leased_by = null, settled_at = case when $2 = 'waiting' then null else now() end,
                last_outcome = $4
            where delivery_id = $1 and state = 'waiting' and (leased_by = $5 or $2 = 'delivered')
        """,
        job.delivery_id,
        state,
        next_attempt_at,
        attempt.outcome,
        job.lease,
    )
    # Every attempt with its outcome, in the order in which they ended.
    await connection.execute(
        """
            insert into delivery_attempt (delivery_id, attempt, outcome, delivered)
            select $1, coalesce(max(attempt), 0) + 1, $2, $3
            from delivery_attempt
            where delivery_id = $1
            on conflict do nothing
        """,
        job.delivery_id,
        attempt.outcome,
        attempt.delivered,
    )
    if attempt.leave_alone is not None:
        # Everything else for the destination waits as well.
        await connection.execute(
            "update destination set not_before = now() + $2 where destination_id = $1",
            job.destination.destination_id,
            min(attempt.leave_alone, LEFT_ALONE_AT_MOST),
        )


async def withdraw(connection: asyncpg.Connection, job: Job, why: str) -> None:
    """Record that a leased delivery is not sent."""
    # It stays readable, with the reason.
    await connection.execute(
        """
            update delivery
            set state = 'withdrawn', settled_at = now(), last_outcome = $2, lease_until = null, leased_by = null
            where delivery_id = $1 and state = 'waiting' and leased_by = $3
        """,
        job.delivery_id,
        why,
        job.lease,
    )


async def counts(connection: asyncpg.Connection) -> asyncpg.Record:
    """Return how many deliveries were never tried, wait for a retry, are paused, held, dead ends."""
    # `untried` leaves out destinations that are paused, or asked to be left alone: somebody wants those to wait.
    row = await connection.fetchrow(
        """
            select count(*) filter (
                    where d.state = 'waiting' and d.attempts = 0 and not x.paused and not d.held
                        and (x.not_before is null or x.not_before <= now())
                ) as untried,
                count(*) filter (
                    where d.state = 'waiting' and not x.paused and not d.held
                        and (d.attempts > 0 or x.not_before > now())
                ) as retrying,
                count(*) filter (where d.state = 'waiting' and x.paused and not d.held) as paused,
                count(*) filter (where d.state = 'waiting' and d.held) as held,
                count(*) filter (where d.state = 'dead') as dead
            from delivery d
            join destination x using (destination_id)
            where d.state in ('waiting', 'dead')
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
                epoch from min(greatest(d.next_attempt_at, d.lease_until, x.not_before)) - now()
            )::float8
            from delivery d
            join destination x using (destination_id)
            where d.state = 'waiting' and not d.held and not x.paused
        """
    )
    return seconds


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
