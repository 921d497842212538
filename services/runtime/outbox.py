"""The outbox: what a transaction wants to say goes into its own table, and one relay says it afterwards, in order.

The columns are those of Debezium's EventRouter, so that a log-based relay can take over when one process is too slow.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle
from typing import Any

import asyncpg
import orjson
import structlog
from msgspec import Struct

from contracts.envelope import Envelope
from contracts.topics import Topic
from services.runtime import arrays
from services.runtime.backoff import Backoff, pause
from services.runtime.failpoints import RuntimeFailpoint, reach
from services.runtime.faults import Rejected, Unfinished
from services.runtime.headers import Headers, dump_headers
from services.runtime.lasting import lasting
from services.runtime.postgres import PEER_SETTINGS, notice_silence
from services.runtime.publishing import Fenced, Outgoing, TransactionalPublisher
from services.runtime.session_locks import SESSIONS_OF_SILENCE
from services.runtime.settings import RuntimeSettings
from services.runtime.telemetry import Telemetry

__all__ = ["Backlog", "OutboxMessage", "RawRecord", "Relay", "append", "append_raw", "backlog"]

# Below the broker's limit of 1 MiB for a batch, with room for its framing.
RECORD_LIMIT = 900_000
_CHANNEL = "tenure_outbox"
# Advisory locks are per database, so every service may use the same key.
_LEASE_KEY = 0x54454E555245
_POLL_SECONDS = 1.0
_SLOW_SECONDS = 3.0
_ROUND_BYTES = 16 * 1024 * 1024
_log = structlog.get_logger(__name__)


class OutboxMessage(Struct, frozen=True, gc=False):
    """One record to be published to `topic` under `key`. `value` None is a tombstone."""

    topic: Topic
    key: str
    envelope: Envelope
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record as it once was on logical `topic`."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    recordedtime: datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is committed and not yet published. `created_at` is real time, `recordedtime` the system's clock."""

    rows: int
    oldest_recordedtime: datetime | None
    oldest_created_at: datetime | None


async def append(
    connection: asyncpg.Connection, messages: Sequence[OutboxMessage], *, limit: int = RECORD_LIMIT
) -> None:
    """Add `messages`, in order, to the caller's transaction and wake the relay when it commits.

    Raises `Rejected` when a record is larger than `limit` bytes. Call it once per transaction, after the locks.
    """
    if not messages:
        return
    headers = [orjson.dumps(message.envelope.texts()).decode() for message in messages]
    for message, encoded in zip(messages, headers, strict=True):
        size = len(message.value or b"") + len(message.key) + len(encoded)
        if size > limit:
            detail = f"a record of {size} bytes for {message.topic.name} exceeds the limit of {limit}"
            raise Rejected("record_too_large", detail)
    await _insert(
        connection,
        [message.topic.name for message in messages],
        [message.key for message in messages],
        [message.envelope.type for message in messages],
        [message.value for message in messages],
        headers,
        [message.envelope.recordedtime for message in messages],
    )


async def append_raw(connection: asyncpg.Connection, records: Sequence[RawRecord]) -> None:
    """Add records as they once were on their topics, in order, and wake the relay when the transaction commits."""
    # Few, and an operator's doing: a row each, pipelined. A key that is no text has its own column.
    await connection.executemany(
        "insert into outbox (aggregatetype, aggregateid, record_key, type, payload, headers, recordedtime)"
        " values ($1, $2, $3, $4, $5, $6::text::json, $7)",
        [_raw_row(record) for record in records],
    )
    await connection.execute("select pg_notify('tenure_outbox', '')")


def _raw_row(record: RawRecord) -> tuple[Any, ...]:
    text = _text(record.key)
    kind = (dict(record.headers).get("ce_type") or b"").decode("ascii", "replace").replace("\0", "?")
    key = record.key if text is None else None
    return record.topic, text, key, kind, record.value, dump_headers(record.headers), record.recordedtime


def _text(key: bytes | None) -> str | None:
    """The key as PostgreSQL's text can hold it; None when that is impossible."""
    try:
        return None if key is None or b"\0" in key else key.decode()
    except UnicodeDecodeError:
        return None


async def _insert(  # noqa: PLR0917 - the columns, in their order
    connection: asyncpg.Connection,
    topics: Sequence[str],
    keys: Sequence[str],
    types: Sequence[str],
    payloads: Sequence[bytes | None],
    headers: Sequence[str],
    moments: Sequence[datetime],
) -> None:
    # One statement for the whole transaction; `ordinality` makes ids follow the order given. Equal notifications of
    # one transaction are delivered once, when it commits.
    await connection.execute(
        "with appended as (insert into outbox (aggregatetype, aggregateid, type, payload, headers, recordedtime)"
        " select topic, record_key, type, payload, headers::json, recordedtime"
        " from unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[])"
        " with ordinality as message (topic, record_key, type, payload, headers, recordedtime, place) order by place)"
        " select pg_notify('tenure_outbox', '')",
        arrays.texts(topics),
        arrays.texts(keys),
        arrays.texts(types),
        arrays.blobs(payloads),
        arrays.texts(headers),
        arrays.moments(moments),
    )


async def backlog(connection: asyncpg.Connection) -> Backlog:
    """Return what waits in the outbox."""
    # A scan, because the oldest recordedtime need not have the lowest id; the table is nearly empty while all is well.
    row = await connection.fetchrow(
        "select count(*) as rows, min(recordedtime) as recordedtime, min(created_at) as created_at from outbox"
    )
    assert row is not None  # noqa: S101 - an aggregate always has one row
    return Backlog(row["rows"], row["recordedtime"], row["created_at"])


class Relay:
    """Publishes the outbox, one process per service at a time.

    The lease is an advisory lock on a connection of its own: when that is lost, publishing stops before the next
    commit. Transactional ids shut out an old relay that does not know yet. A crash between the commit to Kafka and
    the deletion repeats records; it never loses or reorders any.
    """

    def __init__(self, *, service: str, dsn: str, settings: RuntimeSettings, telemetry: Telemetry) -> None:
        self._service = service
        self._dsn = dsn
        self._settings = settings
        self._metrics = telemetry.metrics
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._status = "waiting: not started"
        self._sending_since: float | None = None

    @property
    def status(self) -> str:
        """What the relay does, in words for people: "running", "waiting: …" or "stopped: …"."""
        since = self._sending_since
        if since is not None and time.monotonic() - since > _SLOW_SECONDS:
            return f"waiting: the broker has not acknowledged for {time.monotonic() - since:.0f} s"
        return self._status

    async def start(self) -> None:
        """Begin; returns at once, also while the broker or the database is away."""
        self._task = lasting(self._run(), name="relay")

    async def stop(self) -> None:
        """Finish the running transaction (at most 10 s), give the lease back; `Unfinished` when it did not end."""
        self._stopping.set()
        self._wake.set()
        if self._task is not None:
            done, _ = await asyncio.wait({self._task}, timeout=10)
            if not done:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            if not done:
                raise Unfinished("publishing was broken off; what is not published stays in the outbox")

    async def _run(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                await self._hold_lease(backoff)
            except asyncio.CancelledError:
                raise
            except Fenced:
                # Somebody else began publishing. Ask for the lease again, and only its holder builds a producer.
                self._status = "waiting: fenced by another relay"
                _log.warning("fenced by another relay, asking for the lease again", service=self._service)
            except Exception as error:  # noqa: BLE001 - the relay outlives every fault of broker and database
                self._metrics.relay_faults.labels(type(error).__name__).inc()
                self._status = f"waiting: {type(error).__name__}: {error}"[:300]
                _log.warning("publishing interrupted", error=self._status, attempt=backoff.attempts)
            finally:
                self._metrics.relay_lease.set(0)
            await pause(self._stopping, backoff.next())
        self._status = "stopped: asked to"

    async def _hold_lease(self, backoff: Backoff) -> None:
        connection = await asyncpg.connect(
            self._dsn,
            server_settings={
                "application_name": f"{self._service}-relay",
                **PEER_SETTINGS,
                # All that it writes is that what was published is gone. Should the server crash before that is on its
                # disk, the last rounds are published once more, in order, as after a crash of ours before the deletion;
                # nobody has to wait for the disk meanwhile.
                "synchronous_commit": "off",
                # The lease goes with the session, and whoever holds it asks every second. One that is not heard of any
                # more, although something on the way still answers for it, must not keep the others from publishing.
                # A round that the broker keeps for longer loses the lease too; what it sent is said again.
                "idle_session_timeout": str(int(SESSIONS_OF_SILENCE * self._settings.session_seconds * 1000)),
            },
            timeout=10,
            # A server that vanished without a word must not hold the relay for ever: another one has the lease by then.
            command_timeout=30,
        )
        notice_silence(connection)
        connection.add_termination_listener(lambda _connection: self._wake.set())
        try:
            # One relay per service; the lock goes with the connection, however that ends.
            while not await connection.fetchval("select pg_try_advisory_lock($1)", _LEASE_KEY):
                self._status = "waiting: another replica publishes"
                if await pause(self._stopping, _POLL_SECONDS):
                    return
            await self._publish(connection, backoff)
        finally:
            await _close(connection)

    async def _publish(self, connection: asyncpg.Connection, backoff: Backoff) -> None:
        # Two that take turns: the broker finishes a round's transaction while the other one has begun the next. Neither
        # publishes before both have shut out all earlier ones.
        publishers = [
            TransactionalPublisher(
                self._settings.kafka_bootstrap,
                self._settings.physical(f"{self._service}-{name}"),
                holds=lambda: not connection.is_closed(),
            )
            for name in ("relay", "relay-2")
        ]
        try:
            for publisher in publishers:
                await publisher.start()
            await connection.add_listener(_CHANNEL, lambda *_: self._wake.set())
            self._metrics.relay_lease.set(1)
            self._status = "running"
            _log.info("relay holds the lease", service=self._service)
            turns = cycle(publishers)
            publisher = next(turns)
            while not self._stopping.is_set():
                self._wake.clear()
                if await self._round(connection, publisher):
                    publisher = next(turns)
                else:
                    await _wait(self._wake, _POLL_SECONDS)
                if connection.is_closed():
                    message = "the connection that holds the lease is lost"
                    raise ConnectionError(message)
                self._status = "running"
                backoff.reset()
        finally:
            for publisher in publishers:
                await publisher.close()

    async def _round(self, connection: asyncpg.Connection, publisher: TransactionalPublisher) -> int:
        """Publish what is there, at most one transaction's worth; return the number of rows."""
        # By id; never from a remembered one: a lower id of another account may be committed later.
        # The running sum keeps large records from filling the memory; one row is always taken.
        rows = await connection.fetch(
            "select id, aggregatetype, aggregateid, record_key, payload, headers from ("
            " select id, aggregatetype, aggregateid, record_key, payload, headers,"
            " sum(coalesce(octet_length(payload), 0)) over (order by id rows unbounded preceding)"
            " - coalesce(octet_length(payload), 0) as size_before"
            " from (select id, aggregatetype, aggregateid, record_key, payload, headers from outbox"
            " order by id limit $1) as waiting) as counted where size_before < $2 order by id",
            self._settings.relay_batch,
            _ROUND_BYTES,
        )
        if not rows:
            return 0
        reach(RuntimeFailpoint.RELAY_READ)
        physical = self._settings.physical
        outgoing = [
            (physical(topic), Outgoing(raw_key if key is None else key.encode(), payload, headers))
            for _, topic, key, raw_key, payload, headers in rows
        ]
        self._sending_since = time.monotonic()
        try:
            await publisher.publish(outgoing)
        finally:
            self._sending_since = None
        reach(RuntimeFailpoint.RELAY_PUBLISHED)
        # Exactly the rows that were read; what was committed meanwhile between their ids stays.
        await connection.execute("delete from outbox where id = any($1::bigint[])", [row["id"] for row in rows])
        reach(RuntimeFailpoint.RELAY_DELETED)
        for topic, count in _counts(rows).items():
            self._metrics.published.labels(topic).inc(count)
        return len(rows)


def _counts(rows: Sequence[asyncpg.Record]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["aggregatetype"]] = counts.get(row["aggregatetype"], 0) + 1
    return counts


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    await pause(wake, seconds)


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=3)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
