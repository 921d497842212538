"""Faults among our own processes: many at once, one that wakes up late, one that everybody else waits for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time

import asyncpg
import httpx2
from aiokafka import AIOKafkaConsumer

from contracts.topics import ALERTS
from services.notifier.failpoints import NotifierFailpoint
from services.runtime.failpoints import RuntimeFailpoint
from tests.faults.strike import Strike, until
from tests.faults.upheaval import everything

_RELAY_LEASE = 0x54454E555245
"""The advisory lock of relays; see `services/runtime/outbox.py`."""
_ASSIGNED = b'"event":"partitions assigned"'
_SILENCES = frozenset({"stale_touch", "order_gap", "unanswered_mail"})
"""Rules that speak of what did not happen."""
_SPEAKS = ("tenure.alert.opened.v1", "tenure.alert.escalated.v1", "tenure.alert.reopened.v1")


def crowd(strike: Strike) -> None:
    """Three replicas of accounts and two of metrics, edits at any of them, and now and then one that stands still."""
    ground = strike.ground
    _join(strike, "accounts-2", "accounts-3", "metrics-2")
    ground.spread_over = ("accounts", "accounts-2", "accounts-3")
    began = time.monotonic()
    while strike.loaded() and time.monotonic() - began < strike.at_most(15.0):
        place = strike.chance.choice((RuntimeFailpoint.COMMITTING, RuntimeFailpoint.BATCH_LOCKED))
        ground.order("accounts", place, "stall", on=strike.chance.randint(1, 3), seconds=0.4)
        strike.wait(0.3, 1.0)


def many_notifiers(strike: Strike) -> None:
    """Three notifiers share rules and deliveries; one after the other stands still or dies with one in its hands."""
    ground = strike.ground
    replicas = _three_of("notifier", strike)
    places = (
        NotifierFailpoint.DELIVERY_CLAIMED,
        NotifierFailpoint.DELIVERY_SENT,
        RuntimeFailpoint.COMMITTING,
        RuntimeFailpoint.BATCH_LOCKED,
    )
    began = time.monotonic()
    while strike.loaded() and time.monotonic() - began < strike.at_most(20.0):
        action = strike.chance.choice(("kill", "stall", "stop"))
        victim = strike.chance.choice(replicas)
        ground.order("notifier", strike.chance.choice(places), action, seconds=1.0, only=victim)
        strike.wait(0.5, 2.0)
        ground.withdraw_orders()
        # what was stopped wakes up when others have its work
        ground.system.resume(victim) if ground.system.runs(victim) else ground.start(victim)


def many_doors(strike: Strike) -> None:
    """Three ingests take what is sent and poll the same mailbox; one after the other dies, politely or not."""
    ground = strike.ground
    replicas = _three_of("ingest", strike)
    ground.spread_over = replicas
    began = time.monotonic()
    while strike.loaded() and time.monotonic() - began < strike.at_most(20.0):
        victim = strike.chance.choice(replicas)
        if strike.chance.random() < 0.5:
            ground.kill(victim)
        else:
            ground.system.stop_part(victim)
        strike.wait(0.3, 1.5)
        ground.start(victim)
        strike.wait(0.5, 1.5)


def _three_of(service: str, strike: Strike) -> tuple[str, str, str]:
    second, third = f"{service}-2", f"{service}-3"
    _join(strike, second, third)
    return service, second, third


def _join(strike: Strike, *parts: str) -> None:
    """Start replicas while the load waits: it goes on when they have partitions, however busy the machine is."""
    system = strike.ground.system
    strike.hold()
    try:
        logs = {part: system.log(part) for part in parts}
        began = {part: log.stat().st_size if log.exists() else 0 for part, log in logs.items()}
        for part in parts:
            strike.ground.start(part)
        system.wait_ready(parts)
        for part, log in logs.items():
            until(lambda: _ASSIGNED in log.read_bytes()[began[part] :], 30.0)  # noqa: B023 - called at once
    finally:
        strike.go_on()


def blocked_outbox(strike: Strike) -> None:
    """Somebody holds the lease of a relay: what replicas commit meanwhile waits, and goes out in order afterwards."""
    ground = strike.ground
    _join(strike, "accounts-2", "accounts-3")
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
                # Its transaction has its number by now, and the others commit about the same accounts meanwhile.
                ground.order("accounts", RuntimeFailpoint.BATCH_LOCKED, "stall", seconds=0.8, only="accounts-2")
                await asyncio.sleep(0.3)
        finally:
            await connection.close()

    asyncio.run(hold())


def zombie(strike: Strike) -> None:
    """A relay stands still with records in its hands; another one takes over and goes on; then the first wakes up."""
    ground = strike.ground
    _join(strike, "accounts-2")
    ground.system.wait_ready(["accounts"])
    read, sent = RuntimeFailpoint.RELAY_READ, RuntimeFailpoint.RELAY_SENT
    place = strike.chance.choice((read, read, sent))
    stopped = ground.hits()["accounts", place, "stop"]
    ground.order("accounts", place, "stop")
    # every account's state is on its way, once from the hands of each relay
    _rename_all(strike, "accounts-2")
    if not until(lambda: ground.hits()["accounts", place, "stop"] > stopped, 15.0):
        return
    ground.withdraw_orders()
    # the server notices that its clients are gone, and gives the lease to whoever asks
    ground.end_sessions("accounts-relay")
    standing = next((part for part in ("accounts", "accounts-2") if not _answers(strike, part)), "accounts")
    _rename_all(strike, "accounts-2" if standing == "accounts" else "accounts")
    waiting = "select count(*) from outbox"
    until(lambda: ground.fetch("accounts", waiting)[0][0] == 0, 20.0)
    ground.system.resume(standing)
    strike.wait(2.0, 4.0)


def _answers(strike: Strike, part: str) -> bool:
    try:
        return httpx2.get(f"{strike.ground.operations_url(part)}/livez", timeout=1.0, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _rename_all(strike: Strike, part: str) -> None:
    """Edits that no oracle cares for: each makes a new state of its account."""
    ground = strike.ground
    headers = {"authorization": f"Bearer {ground.token('nemesis', ('admin', 'operator'))}"}
    for (account,) in ground.fetch("accounts", "select id::text from account where merged_into is null"):
        address = f"{ground.system.url(part)}/v1/accounts/{account}"
        with contextlib.suppress(httpx2.TransportError):
            name = {"name": f"Renamed {strike.chance.randrange(10**6)}"}
            httpx2.patch(address, json=name, headers=headers, timeout=3.0, trust_env=False)


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
