"""Delivers what waits in the queue. Each destination is a lane of its own: nobody waits for the slow or the dead."""

import asyncio
import random
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import structlog

from services.notifier.domain.delivery import OVER, Attempt, Job
from services.notifier.domain.ports import Channel, DeliveryTables
from services.notifier.domain.retry import next_attempt
from services.notifier.failpoints import NotifierFailpoint
from services.runtime.backoff import Backoff, pause
from services.runtime.failpoints import reach
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, transaction
from services.runtime.telemetry import Telemetry

_MAIL_AT_ONCE = 8
_HOOKS_AT_ONCE = 64
_IDLE_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class Dispatcher:
    """Runs beside the poller. Several replicas share the queue by leases, in real time."""

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        deliveries: DeliveryTables,
        channels: Mapping[str, Channel],
        zone: ZoneInfo,
        first_retry: timedelta,
        lease_seconds: float,
        wake: asyncio.Event,
        begin: asyncio.Event,
        telemetry: Telemetry,
    ) -> None:
        """`lease_seconds` after a replica died or stood still another takes over what it was delivering.

        `begin` is set by whoever knows whether mail must be held because we were away; nothing is sent before.
        """
        self._pool = pool
        self._deliveries = deliveries
        self._channels = channels
        self._zone = zone
        self._first_retry = first_retry
        self._lease_seconds = lease_seconds
        self._wake = wake
        self._begin = begin
        self._metrics = telemetry.metrics
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        self._attempts: dict[asyncio.Task[None], Job] = {}
        self.status = "waiting: not started"

    async def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = [
            lasting(self._run(), name="dispatcher"),
            lasting(self._keep_leases(), name="delivery leases"),
        ]

    async def stop(self) -> None:
        """Finish the running attempts, at most 15 s; what is cut off is tried again after its lease."""
        self._stopping = True
        self._wake.set()
        self._begin.set()
        if self._tasks:
            await self._tasks[0]
        if self._attempts:
            _, cut_off = await asyncio.wait(set(self._attempts), timeout=15)
            for attempt in cut_off:
                attempt.cancel()
            await asyncio.gather(*cut_off, return_exceptions=True)
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def flow(self, _now: datetime) -> Part:
        """Say whether everything was tried at least once; what waits for a retry is shown, not counted as left."""
        async with acquire(self._pool) as connection:
            counts = await self._deliveries.counts(connection)
        shown = ("untried", "retrying", "paused", "held", "dead")
        details = {"status": self.status, **{name: counts[name] for name in shown}}
        self._metrics.deliveries_held.set(counts["held"])
        self._metrics.deliveries_dead.set(counts["dead"])
        return Part(drained=counts["untried"] == 0 and counts["held"] == 0, details=details)

    async def _run(self) -> None:
        backoff = Backoff()
        await self._begin.wait()
        while not self._stopping:
            self._wake.clear()
            try:
                wait = await self._round()
                self.status = "running"
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - the dispatcher outlives every fault; what is queued stays queued
                wait = backoff.next()
                self.status = f"waiting: {type(error).__name__}: {error}"[:300]
                _log.warning("reading the queue of deliveries failed", error=self.status, exc_info=error)
            await pause(self._wake, wait)

    async def _round(self) -> float:
        """Start what may be tried; return in how many seconds to look again."""
        mails = sum(job.destination.kind == "mail" for job in self._attempts.values())
        busy = {job.destination.destination_id for job in self._attempts.values()}
        async with transaction(self._pool) as connection:
            jobs = await self._deliveries.lease(
                connection,
                busy=busy,
                mail_free=max(_MAIL_AT_ONCE - mails, 0),
                limit=_MAIL_AT_ONCE + _HOOKS_AT_ONCE - len(self._attempts),
                for_seconds=self._lease_seconds,
                zone=self._zone,
            )
            soon = await self._deliveries.next_attempt_in(connection)
        if jobs:
            reach(NotifierFailpoint.DELIVERY_CLAIMED)
        for job in jobs:
            task = asyncio.create_task(self._attempt(job), name=f"delivery {job.delivery_id}")
            self._attempts[task] = job
            task.add_done_callback(self._done)
        if jobs:
            return 0.0
        # What is ready but whose lane is full is looked at when an attempt ends, which wakes us.
        return _IDLE_SECONDS if soon is None else min(max(soon, 0.05), _IDLE_SECONDS)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._attempts.pop(task, None)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            # Most likely the database went away: the lease runs out and the delivery is tried again, with the same key.
            _log.warning("a delivery's outcome was not recorded", exc_info=task.exception())

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 4)
            running = list(self._attempts.values())
            if not running:
                continue
            try:
                async with acquire(self._pool) as connection:
                    await self._deliveries.renew(connection, running, self._lease_seconds)
            except Exception as error:  # noqa: BLE001 - a lease that runs out costs a second attempt, under the same key
                _log.warning("leases of deliveries not renewed", error=type(error).__name__)

    async def _attempt(self, job: Job) -> None:
        if not job.notices:
            async with transaction(self._pool) as connection:
                await self._deliveries.withdraw(connection, job, OVER)
            self._count(job, "withdrawn")
            return
        began = time.monotonic()
        try:
            attempt = await self._channels[job.destination.kind].deliver(job)
        except Exception as error:  # noqa: BLE001 - a message that cannot be made must end up visible, not retried unseen
            _log.error("a channel failed", delivery=job.delivery_id, exc_info=error)
            attempt = Attempt(delivered=False, outcome=f"our own fault: {type(error).__name__}")
        reach(NotifierFailpoint.DELIVERY_SENT)
        again = None if attempt.delivered else self._again(job, attempt, timedelta(seconds=time.monotonic() - began))
        async with transaction(self._pool) as connection:
            await self._deliveries.settle(connection, job, attempt, again)
        reach(NotifierFailpoint.DELIVERY_SETTLED)
        self._count(job, "delivered" if attempt.delivered else "failed" if again else "dead")

    def _again(self, job: Job, attempt: Attempt, lasted: timedelta) -> datetime | None:
        again = next_attempt(
            job.attempts + 1,
            job.first_tried_at,
            job.leased_at + lasted,
            first=self._first_retry,
            luck=random.random(),  # noqa: S311 - jitter, no secret
            leave_alone=attempt.leave_alone,
        )
        _log.info(
            "delivery failed",
            delivery=job.delivery_id,
            outcome=attempt.outcome,
            attempts=job.attempts + 1,
            gave_up=again is None,
        )
        return again

    def _count(self, job: Job, outcome: str) -> None:
        self._metrics.deliveries.labels(job.destination.kind, outcome).inc()
