"""`tenure topics`: the topics of contracts/topics.py on the cluster."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from contracts.topics import TOPICS
from deploy import topics
from services.cli.targets import Bootstrap, InstanceName, Prefix, fact, running_instance

Embedded = Annotated[bool, typer.Option("--embedded", help="one broker: one replica of each topic")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = typer.Typer(help="The topics of contracts/topics.py on the cluster.", no_args_is_help=True)
    group.command("list")(show)
    group.command()(create)
    group.command()(check)
    app.add_typer(group, name="topics")


def show(bootstrap: Bootstrap = None, prefix: Prefix = None, instance: InstanceName = None) -> None:
    """Every topic: who writes and reads it, and how many partitions it has."""
    server, before, _ = _cluster(bootstrap, prefix, instance, embedded=False)
    counts = asyncio.run(topics.list_topics(server, prefix=before))
    for topic in TOPICS:
        count = counts[before + topic.name]
        partitions = "missing" if count is None else f"{count} partitions"
        typer.echo(f"{before + topic.name:<28} {partitions:<15} {topic.producer} → {', '.join(topic.consumers)}")


def create(
    bootstrap: Bootstrap = None, prefix: Prefix = None, instance: InstanceName = None, *, embedded: Embedded = False
) -> None:
    """Create the topics that are missing."""
    server, before, one_broker = _cluster(bootstrap, prefix, instance, embedded=embedded)
    created = asyncio.run(topics.create_topics(server, prefix=before, embedded=one_broker))
    typer.echo("\n".join(f"created {name}" for name in created) or "every topic is there")


def check(
    bootstrap: Bootstrap = None, prefix: Prefix = None, instance: InstanceName = None, *, embedded: Embedded = False
) -> None:
    """Exit with 1 when a topic is missing or not set as contracts/topics.py says."""
    server, before, one_broker = _cluster(bootstrap, prefix, instance, embedded=embedded)
    differences = asyncio.run(topics.check_topics(server, prefix=before, embedded=one_broker))
    for difference in differences:
        typer.echo(f"{difference.topic}: {difference.setting} is {difference.found}, wanted {difference.wanted}")
    if differences:
        raise typer.Exit(1)
    typer.echo("every topic is as written down")


def _cluster(
    bootstrap: str | None, prefix: str | None, instance: str | None, *, embedded: bool
) -> tuple[str, str, bool]:
    """(bootstrap servers, prefix, whether it is the embedded broker)."""
    if bootstrap is not None:
        return bootstrap, prefix or "", embedded
    found = running_instance(instance)
    return str(fact(found, "kafka")), str(fact(found, "topic_prefix")) if prefix is None else prefix, True
