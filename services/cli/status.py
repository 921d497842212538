"""`tenure status`: whether everything flows, at a glance."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.local.instance import Instance
from services.cli.faults import CommandFault
from services.cli.targets import InstanceName, fact, running_instance, web_address

_PATIENCE = 5.0  # seconds for one answer
_OLD_OUTBOX = 60.0  # seconds; a relay that works empties the outbox in less
_SOURCE_TITLES = ("provider", "status", "accepted", "unmapped", "last_delivery", "horizon")


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What one service says of itself.

    `failing`: what each check of /readyz that does not pass says. `flow`: its /flow report, empty while it has none.
    """

    name: str
    live: bool
    failing: Mapping[str, str] = field(default_factory=dict)
    flow: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        """Records that wait in its topics."""
        return sum(int(count) for count in self.flow.get("lag", {}).values())

    @property
    def outbox_rows(self) -> int:
        """Changes that are committed and not yet published."""
        return int(self.flow.get("outbox_rows") or 0)

    @property
    def outbox_age(self) -> float:
        """Seconds that the oldest of them has waited."""
        return float(self.flow.get("oldest_outbox_age") or 0)

    @property
    def dead_letters(self) -> int:
        """Records that wait for a person's decision."""
        return int(self.flow.get("dead_letters_waiting") or 0)

    @property
    def sources(self) -> dict[str, Mapping[str, Any]]:
        """What ingest says of each source; no other service has any."""
        said = self.flow.get("parts", {}).get("sources", {})
        return {name: source for name, source in said.items() if isinstance(source, dict)}

    @property
    def obstacles(self) -> list[str]:
        """What keeps this service's events from flowing; empty when they do."""
        if not self.live:
            return [f"{self.name} does not answer"]
        found = [f"{self.name} is not ready: {check} says {said}" for check, said in self.failing.items()]
        if not self.flow and not found:
            found.append(f"{self.name} cannot say how far it is; Kafka or PostgreSQL does not answer it")
        state = self.flow.get("status", "running")
        if state != "running" and not found:
            found.append(f"{self.name} is {state}")
        for part, said in self.flow.get("parts", {}).items():
            if "error" in said:
                found.append(f"{self.name}: {part} says {said['error']}")
        found += self._ill_sources
        if self.outbox_age > _OLD_OUTBOX:
            found.append(f"{self.name}: a change has waited {self.outbox_age:.0f} s to be published")
        if self.dead_letters:
            found.append(f"{self.name}: {self.dead_letters} dead letters wait for a decision")
        missing = self.flow.get("missing_records", {})
        found += [
            f"{self.name}: {count} records of {topic} were deleted before it read them"
            for topic, count in missing.items()
        ]
        return found

    @property
    def _ill_sources(self) -> list[str]:
        found = []
        for name, source in self.sources.items():
            if str(source.get("status", "")).startswith("broken"):
                found.append(f"the source {name} is {source['status']}")
            elif source.get("quiet"):
                found.append(f"the source {name} is quiet against its own rhythm since {source['last_delivery']}")
        return found


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(status)


def status(
    instance: InstanceName = None,
    service: Annotated[
        list[str] | None, typer.Option(help="name=URL of an operations port; instead of the system of this checkout")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Say whether everything flows; exit with 1 when it does not."""
    stopped: list[str] = []
    if service:
        addresses = dict(_named(entry) for entry in service)
    else:
        found = running_instance(instance)
        addresses = {name: str(at["operations"]) for name, at in fact(found, "services").items()}
        stopped = _stopped_servers(found)
    answers = asyncio.run(_ask_all(addresses))
    obstacles = stopped + [obstacle for answer in answers for obstacle in answer.obstacles]
    if as_json:
        typer.echo(
            json.dumps({"flows": not obstacles, "obstacles": obstacles, "services": [asdict(a) for a in answers]})
        )
    else:
        _show(answers)
        typer.echo("; ".join(obstacles) if obstacles else _verdict(answers))
    if obstacles:
        raise typer.Exit(1)


def _named(entry: str) -> tuple[str, str]:
    name, equals, url = entry.partition("=")
    if not name or not equals:
        raise CommandFault(f"{entry!r} names no service; write --service name=http://host:port of its operations port.")
    return name, web_address(url)


def _verdict(answers: list[ServiceStatus]) -> str:
    waiting = sum(answer.lag + answer.outbox_rows for answer in answers)
    return f"everything flows; {waiting} records are on their way" if waiting else "everything flows"


def _stopped_servers(instance: Instance) -> list[str]:
    processes = instance.state().processes
    titles = {"kafka": "Kafka", "postgres": "PostgreSQL"}
    return [
        f"{title} does not run"
        for part, title in titles.items()
        if part in processes and processes[part].find() is None
    ]


async def _ask_all(addresses: Mapping[str, str]) -> list[ServiceStatus]:
    async with httpx2.AsyncClient(timeout=_PATIENCE) as client:
        return list(await asyncio.gather(*(_ask(client, name, url) for name, url in addresses.items())))


async def _ask(client: httpx2.AsyncClient, name: str, url: str) -> ServiceStatus:
    async def get(path: str) -> httpx2.Response | None:
        try:
            return await client.get(url + path)
        except httpx2.HTTPError:
            return None

    live, ready, flow = await asyncio.gather(get("/livez"), get("/readyz"), get("/flow"))
    return ServiceStatus(
        name=name,
        live=live is not None and live.is_success,
        failing=_failing(ready),
        flow=_flow(flow),
    )


def _flow(answer: httpx2.Response | None) -> Mapping[str, Any]:
    """What /flow says; nothing when it is no service of ours that answers."""
    try:
        said = answer.json() if answer is not None and answer.is_success else {}
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get("lag", {}), dict) else {}


def _failing(ready: httpx2.Response | None) -> dict[str, str]:
    if ready is None:
        return {"readyz": "no answer"}
    if ready.is_success:
        return {}
    try:
        checks = ready.json()["checks"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"readyz": f"HTTP {ready.status_code}"}
    return {check: str(said) for check, said in checks if said != "ok"}


def _show(answers: list[ServiceStatus]) -> None:
    console = Console(highlight=False)
    _print(console, [_row(answer) for answer in answers], marked=[bool(answer.obstacles) for answer in answers])
    sources = [
        {"source": name, **{title: _shown(said.get(title)) for title in _SOURCE_TITLES}}
        for answer in answers
        for name, said in answer.sources.items()
    ]
    if sources:
        _print(console, sources, marked=[row["status"].startswith("broken") for row in sources])


def _print(console: Console, rows: list[dict[str, str]], *, marked: list[bool]) -> None:
    """A table on a terminal, with the marked rows in red; a line of name=value for each row elsewhere."""
    if not console.is_terminal:
        for row in rows:
            line = " ".join(f"{title}={value or '-'}" for title, value in row.items())
            console.print(line, markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for title in rows[0] if rows else ():
        table.add_column(title.replace("_", " "))
    for row, mark in zip(rows, marked, strict=True):
        table.add_row(*(Text(value) for value in row.values()), style="red" if mark else None)
    console.print(table)


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _row(answer: ServiceStatus) -> dict[str, str]:
    state = "no answer" if not answer.live else "not ready" if answer.failing else answer.flow.get("status", "unknown")
    lag = " ".join(f"{topic}:{count}" for topic, count in answer.flow.get("lag", {}).items() if int(count))
    outbox = f"{answer.outbox_rows} ({answer.outbox_age:.0f}s)" if answer.outbox_rows else "0"
    return {
        "service": answer.name,
        "state": state,
        "drained": "" if "drained" not in answer.flow else "yes" if answer.flow["drained"] else "no",
        "lag": lag or "0",
        "outbox": outbox,
        "dead_letters": str(answer.dead_letters),
        "horizon": _shown(answer.flow.get("horizon")),
        "parts": " ".join(
            f"{part}:{'drained' if said.get('drained') else 'busy'}"
            for part, said in answer.flow.get("parts", {}).items()
        ),
    }
