"""`tenure dead-letters`: what could not be read or applied, kept whole; an operator replays or drops it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import typer

from services.cli import rereading
from services.cli.faults import CommandFault
from services.cli.options import grouped
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import plain, show_rows

KEEPERS = ("accounts", "metrics", "notifier", "ingest")
"""Services that read topics, and so may set records aside."""

_PATH = "/v1/dead-letters"
LetterId = Annotated[str, typer.Argument(metavar="ID", help="the letter's id, from `tenure dead-letters list`")]
Letter = Annotated[str | None, typer.Argument(metavar="ID", help="one letter; without it, those that the filters say")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say how many it would be")]
All = Annotated[bool, typer.Option("--all", help="all that wait, without a filter")]
Yes = Annotated[bool, typer.Option("--yes", help="do not ask")]
State = Literal["waiting", "replayed", "dropped", "any"]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are meant."""

    topic: Annotated[str | None, typer.Option(help="only from one topic, such as tenure.interactions")] = None
    reason: Annotated[str | None, typer.Option(help="only for one reason, such as bad_data")] = None
    source: Annotated[str | None, typer.Option(help="only from one source")] = None
    since: Annotated[str | None, typer.Option(help="only since a moment, such as 2026-03-02T09:00:00Z")] = None
    until: Annotated[str | None, typer.Option(help="only before a moment")] = None

    def given(self) -> dict[str, str]:
        """Those that say something."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Keepers:
    """Whose letters, and how to ask."""

    service: Annotated[
        str | None,
        typer.Option("--service", help=f"only one service: {', '.join(KEEPERS)}; by default all of them"),
    ] = None
    url: Url = None
    token_file: TokenFile = None
    instance: InstanceName = None

    def remotes(self) -> list[Remote]:
        """The services to be asked."""
        if self.url is not None and self.service is None:
            raise CommandFault("--url names one service; say which with --service.")
        if self.service is not None and self.service not in KEEPERS:
            raise CommandFault(f"There is no service {self.service}; choose one of {', '.join(KEEPERS)}.")
        names = KEEPERS if self.service is None else (self.service,)
        return [Remote(name, "operator", self.url, self.token_file, self.instance) for name in names]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    letters = typer.Typer(help="Records that were set aside: list, show, replay, reread, drop.", no_args_is_help=True)
    letters.command(name="list")(grouped(list_letters))
    letters.command(name="show")(grouped(show_letter))
    letters.command(name="replay")(grouped(replay_letters))
    letters.command(name="drop")(grouped(drop_letters))
    rereading.register(letters)
    app.add_typer(letters, name="dead-letters")


def list_letters(
    filters: Filters,
    keepers: Keepers,
    *,
    state: Annotated[State, typer.Option(help="whether they wait for a decision")] = "waiting",
    as_json: AsJson = False,
) -> None:
    """List dead letters of all services, newest first within each."""
    found = []
    for remote in keepers.remotes():
        found += [{"service": remote.service, **one} for one in _pages(remote, {**filters.given(), "state": state})]
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("no dead letters")
    else:
        show_table(found)


def show_letter(letter: LetterId, keepers: Keepers, *, as_json: AsJson = False) -> None:
    """Show one dead letter with its headers and its bytes as they came."""
    remote, found = _find(letter, keepers.remotes())
    if as_json:
        typer.echo(json.dumps({"service": remote.service, **found}))
        return
    typer.echo(f"{found['topic']} partition {found['partition']} offset {found['offset']}, kept by {remote.service}")
    typer.echo(f"{found['state']} since {found['created_at']}: {found['reason']}")
    typer.echo(plain(found["detail"]))
    if found["traceparent"] is not None:
        typer.echo(f"trace {found['traceparent']}")
    for header in found["headers"]:
        typer.echo(f"  {plain(header['name'])}: {_readable(header['value'])}")
    typer.echo(f"key: {_readable(found['key'])}")
    typer.echo(_readable(found["value"]))


def replay_letters(
    filters: Filters,
    keepers: Keepers,
    letter: Letter = None,
    *,
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Send records through their topics again, as they came. That cannot have a second effect."""
    if letter is not None:
        _refuse_both(filters, everything=everything, dry_run=dry_run)
        remote, _ = _find(letter, keepers.remotes())
        remote.call("POST", f"{_PATH}/{letter}/replay")
        typer.echo(f"{letter} goes through its topic again; if it fails again it becomes a new dead letter")
        return
    for remote, selection in _selected("replay", filters, keepers, {}, everything=everything, dry_run=dry_run, yes=yes):
        total, left = 0, 1
        while left:
            done = remote.call("POST", f"{_PATH}/replay", body=selection)
            total, left = total + done["replayed"], done["matching"]
        typer.echo(
            f"{remote.service}: {total} go through their topics again; what fails again becomes a new dead letter"
        )


def drop_letters(
    filters: Filters,
    keepers: Keepers,
    letter: Letter = None,
    *,
    why: Annotated[str, typer.Option(help="for those who ask later")],
    everything: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Give records up. The letters stay readable, with who dropped them and why."""
    if letter is not None:
        _refuse_both(filters, everything=everything, dry_run=dry_run)
        remote, _ = _find(letter, keepers.remotes())
        remote.call("DELETE", f"{_PATH}/{letter}", {"why": why})
        typer.echo(f"{letter} is dropped")
        return
    words = {"why": why}
    for remote, selection in _selected(
        "drop", filters, keepers, words, everything=everything, dry_run=dry_run, yes=yes
    ):
        done = remote.call("POST", f"{_PATH}/drop", body=selection)
        typer.echo(f"{remote.service}: {done['dropped']} are dropped")


def _refuse_both(filters: Filters, *, everything: bool, dry_run: bool) -> None:
    if filters.given() or everything or dry_run:
        raise CommandFault("Name one letter or say with filters which are meant, not both.")


def _selected(
    verb: Literal["replay", "drop"],
    filters: Filters,
    keepers: Keepers,
    words: Mapping[str, str],
    *,
    everything: bool,
    dry_run: bool,
    yes: bool,
) -> Iterator[tuple[Remote, Mapping[str, Any]]]:
    """Each service that has such letters, once the operator agreed, with a selection that no later letter enters."""
    if not filters.given() and not everything:
        raise CommandFault(f"Name the letter to {verb}, say with filters which are meant, or --all for all that wait.")
    wanted = {**filters.given(), **words}
    found = []
    for remote in keepers.remotes():
        answer = remote.call("POST", f"{_PATH}/{verb}", body={**wanted, "dry_run": True})
        if dry_run:
            typer.echo(f"{remote.service}: {answer['matching']} would be {_DONE[verb]}")
        if answer["matching"]:
            found.append((remote, {**wanted, "up_to": answer["newest"]}, answer["matching"]))
    if dry_run:
        return
    if not found:
        typer.echo("no such dead letters")
        return
    question = ", ".join(f"{number} of {remote.service}" for remote, _, number in found)
    if not yes and not typer.confirm(f"{verb} {question}?"):
        raise CommandFault("Nothing was changed.")
    yield from ((remote, selection) for remote, selection, _ in found)


_DONE = {"replay": "replayed", "drop": "dropped"}


def _pages(remote: Remote, query: Mapping[str, str | None]) -> Iterator[Mapping[str, Any]]:
    before: str | None = None
    while True:
        page = remote.call("GET", _PATH, {**query, "before": before, "limit": "500"})
        yield from page["items"]
        before = page["next"]
        if before is None:
            return


def _find(letter: str, remotes: list[Remote]) -> tuple[Remote, dict[str, Any]]:
    """Return the letter and who keeps it; an id says nothing about its service."""
    faults = []
    for remote in remotes:
        try:
            return remote, remote.call("GET", f"{_PATH}/{letter}")
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


def show_table(letters: list[dict[str, Any]]) -> None:
    """Print letters: a table on a terminal, a line each elsewhere."""
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
    show_rows(columns, rows)
