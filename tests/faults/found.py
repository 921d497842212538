"""What a system really holds: its tables, read as their owners, and its topics from the first record to the last."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

import asyncpg
from aiokafka import AIOKafkaConsumer

from contracts.topics import ACCOUNTS, ACTIVITY, ALERTS, KPIS
from deploy.databases import SERVICES
from tests.faults.figures import COUNTED
from tests.faults.history import Scope

READ_TOPICS = (ACTIVITY.name, ACCOUNTS.name, KPIS.name, ALERTS.name)
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One event as the ledger keeps it."""

    interaction_id: str
    source: str
    revision: tuple[int, int, int, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class InteractionRow:
    """One interaction as accounts keeps it; `claimed` by external key."""

    present: bool
    occurred_at: datetime
    claimed: frozenset[str]
    unmatched: bool
    conversation: str | None


@dataclass(frozen=True, slots=True)
class AttributionRow:
    """What accounts remembers to have published last."""

    version: int
    present: bool
    touch_class: str | None


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """One dead letter of one service."""

    service: str
    topic: str
    partition: int
    offset: int
    value: bytes | None
    reason: str
    state: str


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record of one of our topics, in the order of its partition."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    type: str
    value: bytes | None

    @property
    def body(self) -> Any:
        """The data, or None where it is no JSON object (somebody else's)."""
        try:
            parsed = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return None
        return parsed if isinstance(parsed, dict) else None


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One delivery of an alert, as the notifier keeps it."""

    id: str
    state: str
    attempts: int


@dataclass(slots=True)
class Found:
    """Everything that is compared."""

    accounts: dict[str, str] = field(default_factory=dict)
    """External key by id."""
    contacts: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, LedgerRow] = field(default_factory=dict)
    interactions: dict[str, InteractionRow] = field(default_factory=dict)
    """Without places that are kept for parents which nobody has reported."""
    attributions: dict[tuple[str, str], AttributionRow] = field(default_factory=dict)
    """By (interaction, account's external key)."""
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    records: dict[str, list[TopicRecord]] = field(default_factory=dict)
    """By topic."""
    rollups: dict[tuple[Scope, date], dict[str, Decimal]] = field(default_factory=dict)
    """As metrics adds them up, without what is nothing."""
    outbox: dict[str, int] = field(default_factory=dict)
    """Rows left, by service."""


class Readable(Protocol):
    """A system whose tables and topics can be read."""

    @property
    def bootstrap(self) -> str:
        """host:port of Kafka."""
        ...

    def fetch(self, service: str, query: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        """What a service's database answers to its owner."""
        ...


def look(system: Readable) -> Found:
    """Read everything. The system should be drained."""
    found = Found()
    found.accounts = _keys(system.fetch("accounts", "select id, external_key from account"))
    found.contacts = _keys(system.fetch("accounts", "select id, external_key from contact"))
    _read_ledger(system, found)
    for service in SERVICES:
        found.dead_letters += _dead_letters(system, service)
        found.outbox[service] = system.fetch(service, "select count(*) from outbox")[0][0]
    _read_rollups(system, found)
    found.records = asyncio.run(_records(system.bootstrap, READ_TOPICS))
    return found


def _keys(rows: Iterable[asyncpg.Record]) -> dict[str, str]:
    return {str(row["id"]): str(row["external_key"] or row["id"]) for row in rows}


def _read_ledger(system: Readable, found: Found) -> None:
    events = system.fetch(
        "accounts",
        "select event_id, interaction_id, source, authority, revision_order, mapper, digest, body from ledger",
    )
    for row in events:
        revision = row["authority"], row["revision_order"], row["mapper"], row["digest"]
        found.ledger[str(row["event_id"])] = LedgerRow(
            str(row["interaction_id"]), row["source"], revision, bytes(row["body"])
        )
    interactions = system.fetch(
        "accounts",
        "select id, present, occurred_at, claimed, unmatched, conversation_id from interaction where state is not null",
    )
    for row in interactions:
        found.interactions[str(row["id"])] = InteractionRow(
            row["present"],
            row["occurred_at"],
            frozenset(found.accounts.get(str(account), str(account)) for account in row["claimed"]),
            row["unmatched"],
            None if row["conversation_id"] is None else str(row["conversation_id"]),
        )
    attributions = system.fetch(
        "accounts", "select interaction_id, account_id, version, present, touch_class from attribution"
    )
    for row in attributions:
        account = found.accounts.get(str(row["account_id"]), str(row["account_id"]))
        found.attributions[str(row["interaction_id"]), account] = AttributionRow(
            row["version"], row["present"], row["touch_class"]
        )


def _read_rollups(system: Readable, found: Found) -> None:
    names = {str(row["id"]): row["email"] for row in system.fetch("accounts", "select id, email from app_user")}
    names |= {str(row["id"]): row["name"] for row in system.fetch("accounts", "select id, name from team")}
    for row in system.fetch("metrics", "select scope, scope_id, day, counts, money from rollup"):
        scope = row["scope"], "" if row["scope"] == "portfolio" else names[str(row["scope_id"])]
        amounts = dict(zip(COUNTED, map(Decimal, row["counts"]), strict=True))
        amounts |= {code: Decimal(amount) for code, amount in json.loads(row["money"] or "{}").items()}
        standing = {name: amount for name, amount in amounts.items() if amount}
        if standing:
            found.rollups[scope, row["day"]] = standing


def _dead_letters(system: Readable, service: str) -> list[DeadLetterRow]:
    rows = system.fetch(
        service, "select topic, partition_id, record_offset, value, reason, state from dead_letter order by created_at"
    )
    return [
        DeadLetterRow(
            service,
            row["topic"],
            row["partition_id"],
            row["record_offset"],
            None if row["value"] is None else bytes(row["value"]),
            row["reason"],
            row["state"],
        )
        for row in rows
    ]


async def _records(bootstrap: str, topics: Sequence[str]) -> dict[str, list[TopicRecord]]:
    """Every committed record, partition by partition."""
    return {topic: await asyncio.wait_for(_of_topic(bootstrap, topic), _PATIENCE) for topic in topics}


async def _of_topic(bootstrap: str, topic: str) -> list[TopicRecord]:
    # Without a group it has all partitions at once.
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        found: list[TopicRecord] = []
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [_record(topic, record) for record in batch]
    finally:
        await consumer.stop()
    return sorted(found, key=lambda each: (each.partition, each.offset))


def _record(topic: str, record: Any) -> TopicRecord:
    type_ = next((value.decode("ascii", "replace") for name, value in record.headers if name == "ce_type"), "")
    return TopicRecord(topic, record.partition, record.offset, record.key, type_, record.value)
