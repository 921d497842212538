"""Runs jobs: interactions that an edit, a conversation or a parent made outdated are read again, chunk by chunk."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import asyncpg
import structlog

from services.accounts.handlers.fold import Fold
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, transaction

_log = structlog.get_logger(__name__)
_CHUNK = 1000
_POLL_SECONDS = 1.0


class JobTable(Protocol):
    """What the runner asks of `store.jobs`."""

    async def take(self, connection: asyncpg.Connection) -> Any:
        """Lock and return a job that is due, or None."""
        ...

    async def next_chunk(self, connection: asyncpg.Connection, job: Any, size: int) -> list[str]:
        """Return the next interactions of a job."""
        ...

    async def advance(self, connection: asyncpg.Connection, job: Any, chunk: Sequence[str]) -> None:
        """Remember that a chunk is done."""
        ...

    async def finish(self, connection: asyncpg.Connection, job: Any) -> None:
        """Remove a job that is done."""
        ...

    async def postpone(self, connection: asyncpg.Connection, job_id: int, error: str) -> None:
        """Try a failed job later."""
        ...

    async def backlog(self, connection: asyncpg.Connection) -> Any:
        """Return open, oldest, failing."""
        ...


class JobRunner:
    """A component of the service. `wake` it after every commit that may have added a job."""

    def __init__(self, pool: asyncpg.Pool, fold: Fold, jobs: JobTable) -> None:
        self._pool = pool
        self._fold = fold
        self._jobs = jobs
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    async def start(self) -> None:
        """Begin; returns at once."""
        self._task = lasting(self._loop(), name="jobs")

    async def stop(self) -> None:
        """Finish the running chunk."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def probe(self, now: datetime) -> Part:  # noqa: ARG002 - an open job is open at any time
        """Say for `/flow` what is still to be read again; an open job holds the horizon."""
        async with acquire(self._pool) as connection:
            backlog = await self._jobs.backlog(connection)
        return Part(backlog.open == 0, backlog.oldest, {"open": backlog.open, "failing": backlog.failing})

    async def run_until_done(self) -> None:
        """Run everything that is due, in the caller's task."""
        while await self._step():
            pass

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if await self._step():
                    continue
            except Exception as error:  # noqa: BLE001 - the runner outlives every fault; what is open shows in /flow
                _log.warning("jobs wait and try again", error=f"{type(error).__name__}: {error}"[:300])
            try:
                await asyncio.wait_for(self._wake.wait(), _POLL_SECONDS)
            except TimeoutError:
                continue

    async def _step(self) -> bool:
        """Run one chunk; say whether there was something to do."""
        job_id: int | None = None
        try:
            async with transaction(self._pool) as connection:
                job = await self._jobs.take(connection)
                if job is None:
                    return False
                job_id = job.id
                chunk = await self._jobs.next_chunk(connection, job, _CHUNK)
                if chunk:
                    await self._fold.read_again(connection, chunk, job.recorded_at)
                    await self._jobs.advance(connection, job, chunk)
                if len(chunk) < _CHUNK:
                    await self._jobs.finish(connection, job)
        except Exception as error:
            if job_id is None or judge(error) is Fault.TRANSIENT:
                raise
            # Kept open and shown in /flow: it holds the horizon until somebody mends what it stumbles over.
            _log.error("a job failed and will be tried again", job=job_id, exc_info=error)
            async with acquire(self._pool) as connection:
                await self._jobs.postpone(connection, job_id, f"{type(error).__name__}: {error}")
        return True
