"""`tenure conservation`: is every report that was accepted in exactly one place? The topic against accounts."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.topics import INTERACTIONS
from deploy.topics import list_topics
from services.cli.faults import CommandFault
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import Bootstrap, InstanceName, Prefix, fact, running_instance
from services.cli.terminal import plain, progress

_CHUNK = 5000
_COLUMNS = ("accepted", "attributed", "unmatched", "nobodys", "dead_letter", "waiting", "missing")
_UNNAMED = "?"
_LONGEST_LIST = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Seen(NamedTuple):
    """A record of the topic, as far as its headers can be read."""

    source: str
    event_id: str | None
    partition: int
    offset: int


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("conservation")(conservation)


def conservation(
    url: Url = None,
    token_file: TokenFile = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    instance: InstanceName = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Look for every record of tenure.interactions at accounts; exit with 1 when one is missing.

    Repetitions count as often as they were sent. What was accepted longer ago than the topic keeps is not looked at.
    """
    if bootstrap is None:
        found = running_instance(instance)
        bootstrap, prefix = str(fact(found, "kafka")), str(fact(found, "topic_prefix"))
    remote = Remote("accounts", "operator", url, token_file, instance)
    try:
        counts, missing = asyncio.run(_count(remote, bootstrap, prefix or ""))
    except KafkaError as away:
        raise CommandFault(f"Kafka at {bootstrap} does not answer ({type(away).__name__}).") from None
    if as_json:
        typer.echo(json.dumps({"sources": counts, "missing": missing}))
    else:
        _show(counts)
        for one in missing:
            typer.echo(f"missing: event {one['id']} at partition {one['partition']} offset {one['offset']}")
    if missing:
        raise typer.Exit(1)


async def _count(remote: Remote, bootstrap: str, prefix: str) -> tuple[dict[str, dict[str, int]], list[dict[str, Any]]]:
    counted: dict[str, Counter[str]] = {}
    missing: list[dict[str, Any]] = []
    looked_at = 0
    with progress() as say:
        async for chunk in _chunks(bootstrap, prefix):
            asked = [{"id": one.event_id, "partition": one.partition, "offset": one.offset} for one in chunk]
            told = await asyncio.to_thread(remote.call, "POST", "/v1/conservation", None, {"records": asked})
            for seen, question, place in zip(chunk, asked, told["places"], strict=True):
                counted.setdefault(seen.source, Counter()).update(["accepted", place])
                if place == "missing" and len(missing) < _LONGEST_LIST:
                    missing.append(question)
            looked_at += len(chunk)
            say(f"{looked_at} records looked for")
    return {source: {name: counts[name] for name in _COLUMNS} for source, counts in sorted(counted.items())}, missing


async def _chunks(bootstrap: str, prefix: str) -> AsyncIterator[Sequence[Seen]]:
    """Everything that is on the topic now, a chunk at a time: the memory does not grow with the topic."""
    topic = prefix + INTERACTIONS.name
    count = (await list_topics(bootstrap, prefix=prefix))[topic]
    if count is None:
        raise CommandFault(f"There is no topic {topic} at {bootstrap}; see --prefix.")
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap.split(","), isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            fetched = await consumer.getmany(timeout_ms=500, max_records=_CHUNK)
            chunk = [
                _seen(dict(one.headers), one.partition, one.offset)
                for partition, records in fetched.items()
                for one in records
                if one.offset < ends[partition]
            ]
            if chunk:
                yield chunk
    finally:
        await consumer.stop()


def _seen(headers: dict[str, bytes], partition: int, offset: int) -> Seen:
    source = headers.get("ce_source", b"").decode("utf-8", "replace").removeprefix("/sources/")
    event_id = headers.get("ce_id", b"").decode("ascii", "replace")
    return Seen(source or _UNNAMED, event_id if _ID.fullmatch(event_id) else None, partition, offset)


def _show(counts: dict[str, dict[str, int]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for source, counted in counts.items():
            typer.echo(" ".join([f"source={plain(source)}", *(f"{name}={number}" for name, number in counted.items())]))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("source")
    for name in _COLUMNS:
        table.add_column(name.replace("_", " ").replace("nobodys", "nobody's"), justify="right")
    for source, counted in counts.items():
        table.add_row(
            Text(plain(source)),
            *(str(number) for number in counted.values()),
            style="red" if counted["missing"] else None,
        )
    console.print(table)
