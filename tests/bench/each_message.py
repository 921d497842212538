"""The way one would begin: FastStream, its own decoding, a transaction per message, the offset committed after it.

The same effects as accounts' consumer (ledger, whose it is, conversation, attribution, outbox), in tables of its own.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import asyncpg
import orjson
from asyncpg.pool import PoolConnectionProxy
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from contracts.events import OrderPlaced
from contracts.ids import derive_id
from tests.bench import company
from tests.bench.figures import expect
from tests.bench.ground import Ground
from tests.bench.stream import Pace

_SCHEMA = """
drop table if exists identity, account, ledger, conversation, attribution, outbox;
create table identity (value text primary key, account_id uuid not null);
create table account (id uuid primary key, version bigint not null default 0, total numeric not null default 0);
create table ledger (event_id uuid primary key, interaction_id uuid not null, body jsonb not null);
create table conversation (id uuid primary key, interactions integer not null);
create table attribution (
    account_id uuid not null, interaction_id uuid not null, version bigint not null,
    primary key (account_id, interaction_id)
);
create table outbox (id bigint generated always as identity primary key, key text not null, payload bytea not null);
"""
Connection = asyncpg.Connection | PoolConnectionProxy


def one_by_one(ground: Ground, topic: str, messages: int, accounts: int, database: str) -> float:
    """Messages a second; reads the first `messages` of `topic`."""
    ground.settle()
    arguments = {"bootstrap": ground.kafka, "topic": topic, "messages": messages, "accounts": accounts}
    return float(ground.apart("tests.bench.each_message:job", database=database, **arguments)["per_second"])


async def job(*, bootstrap: str, topic: str, messages: int, accounts: int, database: str) -> dict[str, Any]:
    """Handles messages one by one, until so many have had their effect."""
    pool = await asyncpg.create_pool(database)
    async with pool.acquire() as connection:
        await _begin(connection, accounts)
    pace = Pace()
    enough = asyncio.Event()
    broker = KafkaBroker(bootstrap, logger=None)

    @broker.subscriber(
        topic, group_id=f"each-{uuid.uuid4().hex}", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    async def on_order_placed(event: OrderPlaced) -> None:
        if enough.is_set():
            return
        async with pool.acquire() as connection, connection.transaction():
            await _apply(connection, event)
        pace.committed(pace.total + 1)
        if pace.total == messages:
            enough.set()

    await broker.start()
    await enough.wait()
    await broker.stop()
    for table in ("ledger", "attribution", "outbox"):
        expect(f"rows in {table}", await pool.fetchval(f"select count(*) from {table}"), messages)  # noqa: S608
    await pool.close()
    return {"per_second": pace.per_second}


async def _begin(connection: Connection, accounts: int) -> None:
    await connection.execute(_SCHEMA)
    known = [(company.organisation(number), company.account_id(number)) for number in range(accounts)]
    await connection.copy_records_to_table("account", records=[(account,) for _, account in known], columns=["id"])
    await connection.copy_records_to_table("identity", records=known)


async def _apply(connection: Connection, event: OrderPlaced) -> None:
    # the ledger, which also keeps doubles out
    fresh = await connection.fetchval(
        "insert into ledger (event_id, interaction_id, body) values ($1, $2, $3) on conflict do nothing returning true",
        event.id,
        event.interaction.id,
        event.model_dump_json(exclude_none=True),
    )
    if not fresh:
        return
    # whose it is
    account = await connection.fetchval(
        "select account_id from identity where value = $1", event.parties[0].identities[0].value
    )
    # what it answers
    await connection.execute(
        "insert into conversation (id, interactions) values ($1, 1)"
        " on conflict (id) do update set interactions = conversation.interactions + 1",
        derive_id("conversation", event.references[0].value),
    )
    # the account is locked, its version drawn
    version = await connection.fetchval(
        "update account set version = version + 1, total = total + $2 where id = $1 returning version",
        account,
        event.net.amount if event.net else 0,
    )
    # the attribution
    await connection.execute(
        "insert into attribution (account_id, interaction_id, version) values ($1, $2, $3)",
        account,
        event.interaction.id,
        version,
    )
    # what others are told
    payload = orjson.dumps({"account_id": str(account), "interaction_id": event.interaction.id, "version": version})
    await connection.execute("insert into outbox (key, payload) values ($1, $2)", str(account), payload)
