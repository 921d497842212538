"""Bugs on the way out: outbox, relay, deliveries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import asyncpg
from aiokafka import AIOKafkaProducer

from services.notifier.dispatch import Dispatcher
from services.notifier.domain.delivery import Attempt, Job
from services.runtime import outbox, publishing
from services.runtime.headers import dump_headers, load_headers
from services.runtime.postgres import transaction
from tests.faults.planted import put

_BEGAN = "planted-transaction"


class _Reordering:
    """A connection that gives outbox rows in the order in which their transactions began."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def fetch(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """The same rows, otherwise."""
        rows = await self._connection.fetch(query, *arguments)
        return sorted(rows, key=lambda row: (int(dict(load_headers(row["headers"])).get(_BEGAN) or 0), row["id"]))


def order_by_transaction() -> None:
    """Each row says which transaction wrote it, and the relay reads rows in the order of these.

    The number is that of the whole transaction. `xmin` would be that of the savepoint in which a batch is handled. It
    is drawn when the accounts are being locked, and so in the right order.
    """
    usual_insert, usual_round = outbox._insert, outbox.Relay._round  # noqa: SLF001

    async def insert(connection: asyncpg.Connection, *columns: Sequence[Any]) -> None:
        began = await connection.fetchval("select pg_current_xact_id()::text")
        topics, keys, types, payloads, headers, moments = columns
        marked = [dump_headers([*load_headers(text), (_BEGAN, began.encode())]) for text in headers]
        await usual_insert(connection, topics, keys, types, payloads, marked, moments)

    async def read_round(self: Any, connection: Any, publisher: Any) -> int:
        return await usual_round(self, _Reordering(connection), publisher)  # type: ignore[arg-type]

    put(outbox, "_insert", insert)
    put(outbox.Relay, "_round", read_round)


def publish_before_commit() -> None:
    """What a transaction appends is published at once, whatever becomes of the transaction."""
    producers: list[AIOKafkaProducer] = []

    async def insert(_: asyncpg.Connection, *columns: Sequence[Any]) -> None:
        if not producers:
            producer = AIOKafkaProducer(bootstrap_servers=os.environ["TENURE_KAFKA_BOOTSTRAP"], acks="all")
            await producer.start()
            producers.append(producer)
        topics, keys, _types, payloads, headers, _recorded = columns
        for topic, key, payload, its_headers in zip(topics, keys, payloads, headers, strict=True):
            name = os.environ.get("TENURE_TOPIC_PREFIX", "") + topic
            encoded = None if key is None else key.encode()
            await producers[0].send_and_wait(name, payload, key=encoded, headers=load_headers(its_headers))

    put(outbox, "_insert", insert)


class _Unfenced(publishing.TransactionalPublisher):
    """Publishes without transactions: whoever holds it may send, for ever."""

    def __init__(self, bootstrap: str, transactional_id: str, holds: Any = None) -> None:
        super().__init__(bootstrap, transactional_id, holds or (lambda: True))
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap.split(","), client_id=transactional_id, acks="all", max_batch_size=1_000_000
        )

    async def close(self) -> None:
        await self._producer.stop()

    async def publish(self, records: Sequence[tuple[str, publishing.Outgoing]]) -> None:
        self._sent = []
        for lane, its_records in (await self._lanes(records)).items():
            await self._send(lane, its_records)
        await asyncio.gather(*self._sent)


def leave_unfenced() -> None:
    """No transactional id, and nobody asks whether the lease is still held."""
    put(outbox, "TransactionalPublisher", _Unfenced)


def mark_before_sending() -> None:
    """A delivery is settled as delivered, and then tried."""

    async def attempt(self: Any, job: Job) -> None:
        async with transaction(self._pool) as connection:
            await self._deliveries.settle(connection, job, Attempt(delivered=True, outcome="sent"), None)
        await self._channels[job.destination.kind].deliver(job)

    put(Dispatcher, "_attempt", attempt)
