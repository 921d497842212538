"""Faults among our own processes: many at once, one that wakes up late, one that everybody else waits for."""

from __future__ import annotations

import asyncio
import json
import time

import asyncpg
from aiokafka import AIOKafkaConsumer

from contracts.topics import ALERTS
from services.runtime.failpoints import RuntimeFailpoint
from tests.faults.strike import Strike, until
from tests.faults.upheaval import everything

_RELAY_LEASE = 0x54454E555245
"""The advisory lock of relays; see `services/runtime/outbox.py`."""
_SILENCES = frozenset({"stale_touch", "order_gap", "unanswered_mail"})
"""Rules that speak of what did not happen."""
_SPEAKS = ("tenure.alert.opened.v1", "tenure.alert.escalated.v1", "tenure.alert.reopened.v1")


def crowd(strike: Strike) -> None:
    """Three replicas of accounts and two of metrics, edits at any of them, and now and then one that stands still."""
    ground = strike.ground
    for part in ("accounts-2", "accounts-3", "metrics-2"):
        ground.start(part)
    ground.system.wait_ready(["accounts-2", "accounts-3"])
    ground.spread_over = ("accounts", "accounts-2", "accounts-3")
    began = time.monotonic()
    while strike.loaded() and time.monotonic() - began < strike.at_most(15.0):
        place = strike.chance.choice((RuntimeFailpoint.COMMITTING, RuntimeFailpoint.BATCH_LOCKED))
        ground.order("accounts", place, "stall", on=strike.chance.randint(1, 3), seconds=0.4)
        strike.wait(0.3, 1.0)


def blocked_outbox(strike: Strike) -> None:
    """Somebody holds the lease of a relay: what replicas commit meanwhile waits, and goes out in order afterwards."""
    ground = strike.ground
    for part in ("accounts-2", "accounts-3"):
        ground.start(part)
    ground.system.wait_ready(["accounts-2", "accounts-3"])
    ground.spread_over = ("accounts", "accounts-2", "accounts-3")

    async def hold() -> None:
        connection = await asyncpg.connect(ground.system.databases["accounts"].owner)
        try:
            taken = False
            while not taken:
                await asyncio.to_thread(ground.end_sessions, "accounts-relay")
                taken = await connection.fetchval("select pg_try_advisory_lock($1)", _RELAY_LEASE)
            began = time.monotonic()
            while strike.loaded() and time.monotonic() - began < strike.at_most(12.0):
                ground.order("accounts", RuntimeFailpoint.BATCH_LOCKED, "stall", on=1, seconds=0.3)
                await asyncio.sleep(0.4)
        finally:
            await connection.close()

    asyncio.run(hold())


def zombie(strike: Strike) -> None:
    """A relay stands still with records in its hands; another one takes over and goes on; then the first wakes up."""
    ground = strike.ground
    ground.start("accounts-2")
    ground.system.wait_ready(["accounts-2"])
    place = strike.chance.choice(
        (RuntimeFailpoint.RELAY_READ, RuntimeFailpoint.RELAY_READ, RuntimeFailpoint.RELAY_SENT)
    )
    ground.order("accounts", place, "stop")
    if not until(lambda: bool(ground.hits()["accounts", place, "stop"]), 15.0):
        return
    ground.withdraw_orders()
    # the server notices that its client is gone, and gives the lease to whoever asks
    ground.end_sessions("accounts%")
    time.sleep(strike.at_most(10.0))
    for part in ("accounts", "accounts-2"):
        ground.system.resume(part)
    strike.wait(1.0, 2.0)


def left_behind(strike: Strike) -> None:
    """The clock goes on while metrics is away and reports come: nobody may speak of a silence meanwhile."""
    ground = strike.ground
    ground.kill("metrics")
    time.sleep(1.0)
    began = time.time()
    ended = time.monotonic() + strike.at_most(15.0)
    while strike.loaded() and time.monotonic() < ended:
        time.sleep(0.1)
    time.sleep(2.0)
    spoken = asyncio.run(_spoken(ground.bootstrap, ground.system.plan.topic_prefix + ALERTS.name, began))
    for said in spoken:
        strike.complain("silence", said, "nothing while metrics has not come past it", "spoken")
    ground.start("metrics")


async def _spoken(bootstrap: str, topic: str, since: float) -> list[str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        records = await everything(consumer, topic)
    finally:
        await consumer.stop()
    found = []
    for record in records:
        kind = dict(record.headers).get("ce_type", b"").decode()
        body = json.loads(record.value or b"{}")
        if kind in _SPEAKS and body["rule"] in _SILENCES and record.timestamp / 1000 > since:
            found.append(f"{body['rule']} of {body['account_id']} ({kind})")
    return found
