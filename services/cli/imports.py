"""`tenure import`: history (NDJSON) to ingest, accounts, contacts, domains and users (CSV) to accounts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from services.cli.faults import CommandFault
from services.cli.targets import InstanceName, fact, local_token, running_instance
from services.cli.terminal import progress

MOST_LINES = 500
MOST_BYTES = 1_000_000
_PATIENCE = 60.0  # seconds for one answer
_ATTEMPTS = 30  # while the service says that it cannot take anything for now
_MOST_SHOWN = 1000
_SUBJECT = "tenure-import"

Post = Callable[[bytes], httpx2.Response]


class Holds(StrEnum):
    """What a CSV file holds."""

    ACCOUNTS = "accounts"
    CONTACTS = "contacts"
    DOMAINS = "domains"
    USERS = "users"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One row that was not taken. `line` counts from 1, the head of a CSV included."""

    line: int
    field: str
    reason: str


@dataclass(slots=True)
class Outcome:
    """What became of a file."""

    accepted: int = 0
    rejections: list[Rejection] = field(default_factory=list)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="import")(import_file)


def import_file(
    file: Annotated[Path, typer.Argument(help="FILE.ndjson with history, or FILE.csv", exists=True, dir_okay=False)],
    source: Annotated[str | None, typer.Option(help="NDJSON: the configured source with provider = import")] = None,
    holds: Annotated[Holds | None, typer.Option("--as", help="CSV: what it holds; by default its name says it")] = None,
    url: Annotated[str | None, typer.Option(help="the service's public address, instead of this checkout's")] = None,
    token_file: Annotated[Path | None, typer.Option(help="a file with a bearer token of an operator")] = None,
    *,
    instance: InstanceName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="CSV: only say what would be rejected")] = False,
) -> None:
    """Import a file. Good rows go in, bad ones are listed with their line and reason; exit with 1 when there are any.

    The same file twice changes nothing.
    """
    bearer = _bearer(token_file, instance)
    with progress() as say:
        if file.suffix == ".csv":
            base = url or _address(instance, "accounts")
            outcome = _import_csv(file, holds or _guess(file), base, bearer, dry_run=dry_run)
        else:
            if source is None:
                raise CommandFault("Which source is this the history of? Name it with --source.")
            outcome = _import_history(file, source, url or _address(instance, "ingest"), bearer, say)
    _show(outcome, would=dry_run)
    if outcome.rejections:
        raise typer.Exit(1)


def chunks(lines: Iterator[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Yields (number of the first line, lines) of what goes in one request: 500 lines, 1 MB at most."""
    first, held, size = 1, list[bytes](), 0
    for number, line in enumerate(lines, start=1):
        if held and (len(held) == MOST_LINES or size + len(line) > MOST_BYTES):
            yield first, held
            first, held, size = number, [], 0
        held.append(line)
        size += len(line)
    if held:
        yield first, held


def _import_history(
    file: Path, source: str, base: str, bearer: Callable[[], str], say: Callable[[str], None]
) -> Outcome:
    outcome = Outcome()
    total = file.stat().st_size
    done = 0
    with httpx2.Client(base_url=base, timeout=_PATIENCE) as client, file.open("rb") as opened:
        for first, lines in chunks(iter(opened)):
            if len(lines[0]) > MOST_BYTES:
                outcome.rejections.append(Rejection(first, "line", f"is longer than {MOST_BYTES} bytes"))
                continue
            # A last line without its end still ends.
            body = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
            answer = _send(client, f"/v1/imports/{source}", body, "application/x-ndjson", bearer)
            outcome.accepted += int(answer["accepted"])
            outcome.rejections += _rejections(answer["rejected"], first - 1)
            done += sum(map(len, lines))
            say(f"{file.name}: {done * 100 // max(total, 1)} %, {outcome.accepted} accepted")
    return outcome


def _import_csv(file: Path, holds: Holds, base: str, bearer: Callable[[], str], *, dry_run: bool) -> Outcome:
    path = f"/v1/imports/{holds}" + ("?dry_run=true" if dry_run else "")
    with httpx2.Client(base_url=base, timeout=_PATIENCE) as client:
        answer = _send(client, path, file.read_bytes(), "text/csv", bearer)
    rejections = _rejections(answer.get("rejected", ()), 0)
    return Outcome(int(answer.get("accepted", 0)), rejections)


def _send(client: httpx2.Client, path: str, body: bytes, media: str, bearer: Callable[[], str]) -> Mapping[str, Any]:
    for _ in range(_ATTEMPTS):
        headers = {"content-type": media, "authorization": f"Bearer {bearer()}"}
        try:
            response = client.post(path, content=body, headers=headers)
        except httpx2.HTTPError as away:
            raise CommandFault(f"{client.base_url} does not answer ({type(away).__name__}); is it running?") from None
        if response.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            return _read(response)
        time.sleep(float(response.headers.get("retry-after", "1")))
    raise CommandFault("The service could take nothing for a while; import the file again later, nothing will double.")


def _read(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = {}
    if response.is_success and isinstance(content, dict):
        return content
    said = content.get("detail") or content.get("title") if isinstance(content, dict) else None
    raise CommandFault(f"The service refused the file ({response.status_code}): {said or 'it did not say why'}")


def _rejections(rejected: Sequence[Mapping[str, Any]], before: int) -> list[Rejection]:
    found = []
    for row in rejected:
        line = int(row["line"]) + before
        errors = row.get("errors") or [row]
        for error in errors:
            place = error.get("field") or error.get("column") or ""
            reason = "; ".join(filter(None, (error.get("message") or error.get("reason"), error.get("remedy"))))
            found.append(Rejection(line, str(place), reason))
    return found


def _show(outcome: Outcome, *, would: bool) -> None:
    rows = len({rejection.line for rejection in outcome.rejections})
    typer.echo(f"{outcome.accepted} rows {'would be ' if would else ''}accepted, {rows} rejected")
    shown = outcome.rejections[:_MOST_SHOWN]
    if not shown:
        return
    if sys.stdout.isatty():
        table = Table("line", "field", "reason")
        for rejection in shown:
            table.add_row(str(rejection.line), rejection.field, rejection.reason)
        Console().print(table)
    else:
        for rejection in shown:
            typer.echo(f"line {rejection.line}: {rejection.field}: {rejection.reason}")
    if len(outcome.rejections) > len(shown):
        typer.echo(f"and {len(outcome.rejections) - len(shown)} more")


def _guess(file: Path) -> Holds:
    for each in Holds:
        if each.value in file.stem.lower():
            return each
    raise CommandFault(f"What does {file.name} hold? Say it with --as accounts, contacts, domains or users.")


def _bearer(token_file: Path | None, instance: str | None) -> Callable[[], str]:
    """A function that gives a token: a file may be renewed meanwhile, and our own issuer's live for minutes."""
    if token_file is not None:
        return lambda: token_file.read_text(encoding="ascii").strip()
    return lambda: local_token(instance, _SUBJECT, ["operator"], timedelta(minutes=5))


def _address(instance: str | None, service: str) -> str:
    return str(fact(running_instance(instance), "services")[service]["http"])
