"""`tenure dead-letters`: what could not be read or applied, kept whole; an operator replays or drops it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from services.cli.faults import CommandFault
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName

KEEPERS = ("accounts", "metrics", "notifier", "ingest")
"""Services that read topics, and so may set records aside."""

Service = Annotated[
    str | None, typer.Option("--service", help=f"only one service: {', '.join(KEEPERS)}; by default all of them")
]
LetterId = Annotated[str, typer.Argument(metavar="ID", help="the letter's id, from `tenure dead-letters list`")]
State = Literal["waiting", "replayed", "dropped", "any"]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    letters = typer.Typer(help="Records that were set aside: list, show, replay, drop.", no_args_is_help=True)
    letters.command(name="list")(list_letters)
    letters.command(name="show")(show_letter)
    letters.command(name="replay")(replay_letter)
    letters.command(name="drop")(drop_letter)
    app.add_typer(letters, name="dead-letters")


def list_letters(
    topic: Annotated[str | None, typer.Option(help="only from one topic, such as tenure.interactions")] = None,
    reason: Annotated[str | None, typer.Option(help="only for one reason, such as bad_data")] = None,
    source: Annotated[str | None, typer.Option(help="only from one source")] = None,
    since: Annotated[str | None, typer.Option(help="only since a moment, such as 2026-03-02T09:00:00Z")] = None,
    *,
    state: Annotated[State, typer.Option(help="whether they wait for a decision")] = "waiting",
    service: Service = None,
    url: Url = None,
    token_file: TokenFile = None,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters of all services, newest first within each."""
    query = {"topic": topic, "reason": reason, "source": source, "since": since, "state": state}
    found = []
    for remote in _remotes(service, url, token_file, instance):
        found += [{"service": remote.service, **letter} for letter in _pages(remote, query)]
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("no dead letters")
    else:
        _show(found)


def show_letter(
    letter: LetterId,
    service: Service = None,
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter with its headers and its bytes as they came."""
    remote, found = _find(letter, _remotes(service, url, token_file, instance))
    if as_json:
        typer.echo(json.dumps({"service": remote.service, **found}))
        return
    typer.echo(f"{found['topic']} partition {found['partition']} offset {found['offset']}, kept by {remote.service}")
    typer.echo(f"{found['state']} since {found['created_at']}: {found['reason']}")
    typer.echo(found["detail"])
    for header in found["headers"]:
        typer.echo(f"  {header['name']}: {_readable(header['value'])}")
    typer.echo(f"key: {_readable(found['key'])}")
    typer.echo(_readable(found["value"]))


def replay_letter(
    letter: LetterId,
    service: Service = None,
    url: Url = None,
    token_file: TokenFile = None,
    instance: InstanceName = None,
) -> None:
    """Send a record through its topic again, as it came. It cannot have a second effect."""
    remote, _ = _find(letter, _remotes(service, url, token_file, instance))
    remote.call("POST", f"/v1/dead-letters/{letter}/replay")
    typer.echo(f"{letter} goes through its topic again; if it fails again it becomes a new dead letter")


def drop_letter(
    letter: LetterId,
    why: Annotated[str, typer.Option(help="for those who ask later")],
    *,
    service: Service = None,
    url: Url = None,
    token_file: TokenFile = None,
    instance: InstanceName = None,
) -> None:
    """Give a record up. The letter stays readable, with who dropped it and why."""
    remote, _ = _find(letter, _remotes(service, url, token_file, instance))
    remote.call("DELETE", f"/v1/dead-letters/{letter}", {"why": why})
    typer.echo(f"{letter} is dropped")


def _remotes(service: str | None, url: str | None, token_file: Any, instance: str | None) -> list[Remote]:
    if url is not None and service is None:
        raise CommandFault("--url names one service; say which with --service.")
    if service is not None and service not in KEEPERS:
        raise CommandFault(f"There is no service {service}; choose one of {', '.join(KEEPERS)}.")
    names = KEEPERS if service is None else (service,)
    return [Remote(name, "operator", url, token_file, instance) for name in names]


def _pages(remote: Remote, query: Mapping[str, str | None]) -> Iterator[Mapping[str, Any]]:
    before: str | None = None
    while True:
        page = remote.call("GET", "/v1/dead-letters", {**query, "before": before, "limit": "500"})
        yield from page["items"]
        before = page["next"]
        if before is None:
            return


def _find(letter: str, remotes: list[Remote]) -> tuple[Remote, dict[str, Any]]:
    """Return the letter and who keeps it; an id says nothing about its service."""
    faults = []
    for remote in remotes:
        try:
            return remote, remote.call("GET", f"/v1/dead-letters/{letter}")
        except CommandFault as fault:
            faults.append(str(fault))
    raise CommandFault(f"No dead letter {letter} was found: {faults[0]}")


def _readable(content: str | None) -> str:
    """Bytes as text where they are text, else as Python would write them."""
    if content is None:
        return "(none)"
    raw = b64decode(content)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return repr(raw)
    # A stranger's bytes must not steer the terminal.
    return text if all(line.isprintable() for line in text.splitlines()) else repr(raw)


def _show(letters: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    columns = ("id", "service", "topic", "place", "reason", "detail")
    rows = [
        (
            letter["id"],
            letter["service"],
            letter["topic"],
            f"{letter['partition']}/{letter['offset']}",
            letter["reason"],
            letter["detail"],
        )
        for letter in letters
    ]
    if not console.is_terminal:
        for row in rows:
            console.print(" ".join(row), markup=False, soft_wrap=True)
        return
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)
