"""Where a command finds its cluster: named by an option or the environment, else the system of this checkout."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer

from deploy.local.instance import INSTANCES, Instance, instance_directory
from deploy.local.system import AUDIENCE, ISSUER
from services.cli.faults import CommandFault

DEFAULT_INSTANCE = "local"
InstanceName = Annotated[str | None, typer.Option("--instance", help="which of the systems of this checkout")]
Bootstrap = Annotated[
    str | None, typer.Option("--bootstrap", envvar="TENURE_KAFKA_BOOTSTRAP", help="host:port of Kafka")
]
Prefix = Annotated[str | None, typer.Option("--prefix", envvar="TENURE_TOPIC_PREFIX", help="before every topic")]


def web_address(given: str) -> str:
    """An http(s) address without a slash at its end. Raises CommandFault when it is none."""
    try:
        url = httpx2.URL(given)
        good = url.scheme in {"http", "https"} and bool(url.host) and not set(given) & set(" \t\n")
    except httpx2.InvalidURL:
        good = False
    if not good:
        raise CommandFault(f"{given!r} is no address; write it as http://host:port.")
    return given.rstrip("/")


def running_instance(name: str | None) -> Instance:
    """The named system, else the only one that runs. Raises CommandFault when there is none or more than one."""
    if name is not None:
        found = Instance(instance_directory(name))
        if not found.exists():
            raise CommandFault(f"Nothing runs under the name {name}; start it with `tenure up --instance {name}`.")
        return found
    running = sorted(path.parent for path in INSTANCES.glob("*/state.json"))
    if not running:
        raise CommandFault("Nothing runs here; start it with `tenure up`, or name a cluster (see --help).")
    if len(running) > 1:
        names = ", ".join(directory.name for directory in running)
        raise CommandFault(f"Several systems run here ({names}); choose one with --instance.")
    return Instance(running[0])


def local_token(name: str | None, subject: str, roles: Iterable[str], lifetime: timedelta) -> str:
    """A bearer token that the services of a running system accept."""
    from services.runtime.auth import Issuer  # noqa: PLC0415 - brings FastAPI along, which most commands do without

    issuer = Issuer(running_instance(name).secrets / "issuer", ISSUER, AUDIENCE)
    return issuer.issue(subject, roles, lifetime)


def sources_file(name: str | None) -> Path:
    """Where the sources of a running system are written, by default that of this checkout."""
    return Path(fact(running_instance(name), "sources"))


def fact(instance: Instance, name: str) -> Any:
    """A fact of a system that is up. Raises CommandFault while it is still starting."""
    facts = instance.state().facts
    if name not in facts:
        raise CommandFault(f"{instance.directory.name} is still starting; try again in a moment.")
    return facts[name]
