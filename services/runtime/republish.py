"""Current states said again, through the same outbox and under the same locks.

For a topic that was made anew, for a reader that builds its tables anew beside live traffic, and after a restore from
backup. A record that is said again carries the version that it had, so readers that know it ignore it, and the run's id
as the CloudEvents extension `republished`. A run is through once everything of it has left the outbox (`published`):
whoever reads the topic up to the ends that it has then has read all of it. With `fresh_versions` every state gets a new
version instead: after a restore nothing that was published before may outlive it.

A run goes on where it was after whatever interrupted it: each chunk is a transaction that remembers how far it came.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import asyncpg
import structlog
from uuid6 import uuid7

from contracts.envelope import format_instant
from services.runtime.clock import Clock
from services.runtime.faults import Fault, judge
from services.runtime.flow import Part
from services.runtime.garbage import uncollected
from services.runtime.lasting import lasting
from services.runtime.postgres import acquire, transaction

_log = structlog.get_logger(__name__)
_POLL_SECONDS = 1.0
# The relay takes a round of a full outbox in less.
_FULL_SECONDS = 0.1
_FULL_OUTBOX = 20_000
"""Rows in the outbox beyond which a run waits: live traffic must not stand behind a million old states."""


@dataclass(frozen=True, slots=True)
class Order:
    """How to say a chunk again."""

    run_id: str
    recorded_at: datetime
    """For the envelopes: the system's clock when the run was asked for."""
    fresh_versions: bool
    limit: int = 2000


@dataclass(frozen=True, slots=True)
class Said:
    """`count` states were appended to the outbox; `up_to` is the key of the last, None when nothing is left."""

    count: int
    up_to: str | None


class States(Protocol):
    """One kind of state of a service, such as its accounts."""

    @property
    def name(self) -> str:
        """What operators call it."""
        ...

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """Lock the next states whose keys are greater than `after`, in order, and append them to the outbox."""
        ...


@dataclass(frozen=True, slots=True)
class PartOfRun:
    """How far one kind of state has come."""

    run_id: str
    part: str
    state: str
    said: int
    fresh_versions: bool
    requested_at: datetime
    requested_by: str
    published: bool
    last_error: str | None


async def request(
    connection: asyncpg.Connection, parts: Sequence[str], now: datetime, by: str, *, fresh_versions: bool = False
) -> str:
    """Begin a run in the caller's transaction and return its id; one that is open and has said nothing yet will do."""
    # Two requests at once wait for each other here.
    await connection.execute("select pg_advisory_xact_lock(hashtextextended('republish', 0))")
    open_run = await connection.fetchval(
        "select run_id from republish where fresh_versions = $2 group by run_id having bool_or(state = 'open') and"
        " array_agg(part) filter (where state <> 'stopped') @> $1::text[] and max(said) = 0 limit 1",
        list(parts),
        fresh_versions,
    )
    if open_run is not None:
        return str(open_run)
    run_id = str(uuid7())
    await connection.executemany(
        "insert into republish (run_id, part, place, fresh_versions, recordedtime, requested_by)"
        " values ($1, $2, $3, $4, $5, $6)",
        [(run_id, part, place, fresh_versions, now, by) for place, part in enumerate(parts)],
    )
    return run_id


async def listing(connection: asyncpg.Connection, run_id: str | None = None, limit: int = 50) -> list[PartOfRun]:
    """Return runs, the latest first, part by part; `run_id`: only that one."""
    # Published: the outbox holds nothing any more that was there when the part was finished.
    rows = await connection.fetch(
        "select run_id, part, state, said, fresh_versions, recordedtime, requested_by, last_error, state <> 'open' and"
        " not exists (select from outbox where outbox.id <= republish.last_outbox_id) as published from republish where"
        " ($1::text::uuid is null or run_id = $1::text::uuid) order by run_id desc, place limit $2",
        run_id,
        limit,
    )
    return [
        PartOfRun(
            run_id=row["run_id"],
            part=row["part"],
            state=row["state"],
            said=row["said"],
            fresh_versions=row["fresh_versions"],
            requested_at=row["recordedtime"],
            requested_by=row["requested_by"],
            published=row["published"],
            last_error=row["last_error"],
        )
        for row in rows
    ]


async def stop(connection: asyncpg.Connection, run_id: str) -> int:
    """End a run where it is; return how many parts were open."""
    done = await connection.execute(
        "update republish set state = 'stopped', finished_at = now() where run_id = $1 and state = 'open'", run_id
    )
    return int(done.rpartition(" ")[2])


def shown(parts: Sequence[PartOfRun]) -> dict[str, Any]:
    """Return one run as JSON values."""
    first = parts[0]
    states = {part.state for part in parts}
    return {
        "id": first.run_id,
        "requested_at": format_instant(first.requested_at),
        "requested_by": first.requested_by,
        "fresh_versions": first.fresh_versions,
        "state": "open" if "open" in states else "stopped" if "stopped" in states else "finished",
        "published": all(part.published for part in parts) and "stopped" not in states,
        "said": sum(part.said for part in parts),
        "parts": {
            part.part: {
                "state": part.state,
                "said": part.said,
                **({"last_error": part.last_error} if part.last_error else {}),
            }
            for part in parts
        },
    }


class Republisher:
    """A component of every service that owns a topic of states. Any replica works off what is open."""

    def __init__(self, pool: asyncpg.Pool, kinds: Sequence[States], clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._kinds = {kind.name: kind for kind in kinds}
        self._wake = asyncio.Event()
        self._stopping = False
        self._full = False
        self._task: asyncio.Task[None] | None = None

    @property
    def parts(self) -> list[str]:
        """The kinds of states, in the order in which a run says them."""
        return list(self._kinds)

    async def start(self) -> None:
        """Begin; returns at once, also while the database is away."""
        self._task = lasting(self._loop(), name="republish")

    async def stop(self) -> None:
        """Finish the running chunk."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    async def begin(self, parts: Sequence[str], by: str, *, fresh_versions: bool = False) -> str:
        """Begin a run of `parts` (known ones, in any order) and return its id."""
        ordered = [name for name in self._kinds if name in parts]
        async with transaction(self._pool) as connection:
            run_id = await request(connection, ordered, self._clock.now(), by, fresh_versions=fresh_versions)
        self._wake.set()
        return run_id

    async def runs(self, run_id: str | None = None) -> list[list[PartOfRun]]:
        """Return runs with their parts, the latest first; `run_id`: only that one."""
        async with acquire(self._pool) as connection:
            found = await listing(connection, run_id)
        grouped: dict[str, list[PartOfRun]] = {}
        for part in found:
            grouped.setdefault(part.run_id, []).append(part)
        return list(grouped.values())

    async def end(self, run_id: str) -> bool:
        """Stop a run where it is; say whether it was open."""
        async with transaction(self._pool) as connection:
            return await stop(connection, run_id) > 0

    async def probe(self, now: datetime) -> Part:  # noqa: ARG002 - an open run is open at any time
        """Say for `/flow` what is being said again. Nothing new is in it, so it holds no horizon."""
        open_runs = [run for run in await self.runs() if any(part.state == "open" for part in run)]
        return Part(not open_runs, None, {"open": len(open_runs), "runs": [shown(run) for run in open_runs]})

    async def run_until_done(self) -> None:
        """Say again whatever is open, in the caller's task."""
        while await self.step():
            pass

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if await self.step():
                    continue
            except Exception as error:  # noqa: BLE001 - it outlives every fault; what is open shows in /flow
                _log.warning("republishing waits and tries again", error=f"{type(error).__name__}: {error}"[:300])
            try:
                await asyncio.wait_for(self._wake.wait(), _FULL_SECONDS if self._full else _POLL_SECONDS)
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Say one chunk again; say whether there was something to do."""
        with uncollected():
            return await self._step()

    async def _step(self) -> bool:
        taken: tuple[str, str] | None = None
        try:
            async with transaction(self._pool) as connection:
                row = await self._take(connection)
                if row is None:
                    return False
                taken = (row["run_id"], row["part"])
                order = Order(row["run_id"], row["recordedtime"], row["fresh_versions"])
                said = await self._kinds[row["part"]].say_again(connection, row["said_up_to"], order)
                await _advance(connection, taken, said)
        except Exception as error:
            if taken is None or judge(error) is Fault.TRANSIENT:
                raise
            # Kept open and shown in /flow until somebody mends what it stumbles over, or stops the run.
            _log.error("republishing failed and will be tried again", run=taken[0], part=taken[1], exc_info=error)
            async with acquire(self._pool) as connection:
                await _postpone(connection, taken, f"{type(error).__name__}: {error}")
        return True

    async def _take(self, connection: asyncpg.Connection) -> asyncpg.Record | None:
        # A bounded look at the outbox: it is nearly empty while the relay keeps up.
        waiting = await connection.fetchval(
            "select count(*) from (select from outbox limit $1) as waiting", _FULL_OUTBOX
        )
        self._full = waiting >= _FULL_OUTBOX
        if self._full:
            return None
        # The oldest open part that no other replica works on; its lock is held until the chunk is committed. Parts of
        # one run come one after the other, so that accounts are known before what concerns them.
        row: asyncpg.Record | None = await connection.fetchrow(
            "select run_id, part, fresh_versions, said_up_to, recordedtime from republish where state = 'open' and"
            " part = any($1::text[]) and not_before <= now() and not exists (select from republish as earlier where"
            " earlier.run_id = republish.run_id and earlier.place < republish.place and earlier.state = 'open')"
            " order by created_at, place limit 1 for update skip locked",
            self.parts,
        )
        return row


async def _advance(connection: asyncpg.Connection, taken: tuple[str, str], said: Said) -> None:
    # Written with the chunk itself: a killed process repeats nothing and leaves nothing out.
    await connection.execute(
        "update republish set said = said + $3, said_up_to = coalesce($4, said_up_to), failures = 0, last_error = null,"
        " state = case when $4::text is null then 'finished' else state end,"
        " finished_at = case when $4::text is null then now() end,"
        " last_outbox_id = case when $4::text is null then (select coalesce(max(id), 0) from outbox) end"
        " where run_id = $1 and part = $2",
        *taken,
        said.count,
        said.up_to,
    )


async def _postpone(connection: asyncpg.Connection, taken: tuple[str, str], error: str) -> None:
    # After 1, 2, 4 … up to 256 seconds of real time.
    await connection.execute(
        "update republish set failures = failures + 1, last_error = $3, not_before = now() + make_interval(secs => 2 ^"
        " least(failures, 8)) where run_id = $1 and part = $2",
        *taken,
        error[:300],
    )
