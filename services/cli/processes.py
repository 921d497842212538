"""`tenure up`, `tenure down`, `tenure run`: the processes of one machine."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deploy.databases import SERVICES
from deploy.local.instance import INSTANCES, Instance, instance_directory
from deploy.local.system import SystemPlan, start_system
from services.cli.faults import CommandFault
from services.cli.targets import DEFAULT_INSTANCE, InstanceName
from services.cli.terminal import progress

_LOOK_EVERY = 1.0  # seconds


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(run)


def up(
    instance: InstanceName = None,
    sources: Annotated[Path | None, typer.Option(exists=True, help="sources.toml; its secrets lie beside it")] = None,
    time_zone: Annotated[str, typer.Option(help="the company's one time zone")] = "Europe/Berlin",
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="begin with empty databases and topics")] = False,
    stay: Annotated[bool, typer.Option("--stay", help="stay in the foreground; Ctrl-C stops everything")] = False,
) -> None:
    """Start Kafka, PostgreSQL and every service on this machine. `tenure down` stops them."""
    directory = instance_directory(instance or DEFAULT_INSTANCE)
    if _released_and_running(directory):
        raise CommandFault(f"It is up already ({directory}); `tenure status` shows it, `tenure down` stops it.")
    plan = SystemPlan(time_zone=_zone(time_zone))
    if sources:
        _check(sources)
        plan = replace(plan, environment={"ingest": {"SOURCES_FILE": str(sources.resolve())}})
    with progress() as report:
        system = start_system(directory, plan, fresh=fresh, report=report)
    try:
        for service, address in system.services.items():
            typer.echo(f"{service:<10} {address.http}   operations: {address.operations}")
        typer.echo(f"kafka      {system.kafka.bootstrap}")
        typer.echo(f"logs       {system.instance.logs}")
        while stay:
            system.check()
            time.sleep(_LOOK_EVERY)
        system.release()
    except BaseException:
        system.stop()
        raise
    typer.echo("`tenure status` says whether everything flows; `tenure down` stops it.")


def down(
    instance: InstanceName = None,
    *,
    purge: Annotated[bool, typer.Option("--purge", help="delete its data as well")] = False,
) -> None:
    """Stop what `tenure up` or the demo has left running; without --instance, every system of this checkout."""
    of_each = INSTANCES.glob("*/logs" if purge else "*/state.json")
    there = sorted(path.parent.name for path in of_each)
    # A name that was given is looked at, however little of it there is.
    names = there if instance is None else [instance]
    instances = [Instance(instance_directory(name)) for name in names]
    stopped = [found.directory.name for found in instances if found.directory.exists()]
    with progress() as report:
        for found in instances:
            found.stop_all(report)
            if purge:
                found.remove()
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def run(service: Annotated[str, typer.Argument(help=f"one of {', '.join(SERVICES)}")]) -> None:
    """Run one service in the foreground, with the settings of the environment (TENURE_…)."""
    if service not in SERVICES:
        raise CommandFault(f"There is no service {service}; there are {', '.join(SERVICES)}.")
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service}.app"])  # noqa: S606 - becomes the service


def _zone(name: str) -> str:
    from services.runtime.settings import known_zone  # noqa: PLC0415 - brings pydantic along

    try:
        return known_zone(name)
    except ValueError as wrong:
        raise CommandFault(f"--time-zone: {name!r} {wrong}.") from None


def _check(sources: Path) -> None:
    """Look before anything is started: ingest would say the same a minute later."""
    from services.ingest.configuration import examine  # noqa: PLC0415 - brings the readers of all providers along

    mistakes = [str(remark) for remark in examine(sources).remarks if remark.severe]
    if mistakes:
        raise CommandFault("\n".join(mistakes))


def _released_and_running(directory: Path) -> bool:
    processes = Instance(directory).state().processes
    return any(record.find() is not None for record in processes.values())
