"""`tenure sources`: is the configuration right, and how does each source stand?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.faults import CommandFault
from services.cli.options import grouped
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.sources_try import try_out
from services.cli.targets import InstanceName, sources_file

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        envvar="TENURE_SOURCES_FILE",
        help="sources.toml, or a folder of *.toml; by default that of the local system",
    ),
]
SecretsDir = Annotated[
    Path | None,
    typer.Option("--secrets-dir", envvar="TENURE_SECRETS_DIR", help="where the secrets lie, when not beside the file"),
]
_COLUMNS = (
    "source",
    "provider",
    "status",
    "last_delivery",
    "complete_up_to",
    "rhythm",
    "accepted",
    "repeated",
    "unmatched",
    "unmapped",
    "ignored",
    "rejected",
)


@dataclass(frozen=True, slots=True)
class Services:
    """Whom to ask."""

    url: Url = None
    accounts_url: Annotated[str | None, typer.Option(help="accounts' public address, for what its ledger knows")] = None
    token_file: TokenFile = None
    instance: InstanceName = None

    def pages(self) -> list[dict[str, Any]]:
        """How every source stands, with what accounts knows of it; that is empty where accounts is not asked."""
        ingest = Remote("ingest", "operator", self.url, self.token_file, self.instance)
        items: list[dict[str, Any]] = ingest.call("GET", "/v1/sources")["items"]
        kept: Mapping[str, Any] = {}
        if self.url is None or self.accounts_url is not None:
            accounts = Remote("accounts", "operator", self.accounts_url, self.token_file, self.instance)
            kept = accounts.call("GET", "/v1/conservation")["sources"]
        return [{**item, "ledger": kept.get(item["name"])} for item in items]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    commands = typer.Typer(no_args_is_help=True)
    commands.command("check")(check)
    commands.command("list")(grouped(list_))
    commands.command("show")(grouped(show))
    commands.command("test")(grouped(try_out))
    app.add_typer(commands, name="sources", help="What sends us events: check, list, show, test.")


def check(file: File = None, secrets_dir: SecretsDir = None, *, as_json: AsJson = False) -> None:
    """Say everything that is wrong in sources.toml and its secrets, with line and remedy; exit with 1 when it is."""
    from services.ingest.configuration import examine  # noqa: PLC0415 - brings the readers of all providers along

    path = file or sources_file(None)
    examined = examine(path, secrets_dir)
    wrong, doubts = len(examined.mistakes), len(examined.remarks) - len(examined.mistakes)
    if as_json:
        remarks = [
            {
                "file": str(remark.file),
                "line": remark.line,
                "severity": "error" if remark.severe else "warning",
                "field": ".".join(remark.mistake.path),
                "message": remark.mistake.message,
                "remedy": remark.mistake.remedy,
            }
            for remark in examined.remarks
        ]
        typer.echo(json.dumps({"good": not wrong, "sources": sorted(examined.sources), "remarks": remarks}))
    else:
        for remark in examined.remarks:
            typer.echo(f"{'error' if remark.severe else 'warning'}: {remark}")
        sources = ", ".join(sorted(examined.sources)) or "none"
        typer.echo(f"{wrong} errors, {doubts} warnings; usable sources: {sources}")
    if wrong:
        raise typer.Exit(1)


def list_(services: Services, *, as_json: AsJson = False) -> None:
    """List every source: what it sent, up to when it is complete, and whether it is quiet."""
    pages = services.pages()
    if as_json:
        typer.echo(json.dumps({"items": pages}))
        return
    if not pages:
        typer.echo("no sources")
        return
    rows = [_row(page) for page in pages]
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in rows:
            typer.echo(" ".join(f"{name}={row[name] or '-'}" for name in _COLUMNS))
        return
    table = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "))
    for row in rows:
        ill = row["status"].startswith("broken") or row["rhythm"] == "quiet"
        table.add_row(*(Text(row[name]) for name in _COLUMNS), style="red" if ill else None)
    console.print(table)


def show(
    name: Annotated[str, typer.Argument(help="the source's name in sources.toml")],
    services: Services,
    *,
    as_json: AsJson = False,
) -> None:
    """Show everything that is known of one source."""
    page = next((page for page in services.pages() if page["name"] == name), None)
    if page is None:
        raise CommandFault(f"ingest has no source {name}; `tenure sources list` names those that it has.")
    if as_json:
        typer.echo(json.dumps(page))
        return
    for title, said in _page(page):
        typer.echo(f"{title:<16}{said}")


def _row(page: Mapping[str, Any]) -> dict[str, str]:
    ledger = page["ledger"]
    return {
        "source": page["name"],
        "provider": page["provider"],
        "status": page["status"],
        "last_delivery": page["last_delivery"] or "",
        "complete_up_to": page["complete_up_to"] or "",
        "rhythm": page["rhythm"]["state"],
        "accepted": str(page["accepted"]),
        "repeated": "" if ledger is None else str(ledger["repeated"]),
        "unmatched": "" if ledger is None else _share(ledger),
        "unmapped": str(page["unmapped"]),
        "ignored": str(page["ignored"]["total"]),
        "rejected": str(sum(page["rejected"].values())),
    }


def _share(ledger: Mapping[str, Any]) -> str:
    """The share of the distinct events that concern nobody we know."""
    events = ledger["events"]
    return f"{100 * ledger['unmatched'] / events:.0f}%" if events else ""


def _page(page: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    rhythm, ledger = page["rhythm"], page["ledger"]
    lines = [
        ("source", f"{page['name']} ({page['provider']}{', ' + page['system'] if page['system'] else ''})"),
        ("status", page["status"]),
        ("last delivery", page["last_delivery"] or "never"),
        ("complete", f"{_complete(page)}: {page['known_by']}"),
        ("rhythm", _rhythm(rhythm)),
        (
            "responsible",
            ", ".join(page["responsible"]) or "nobody is named: its mailbox's user and operators, else leads",
        ),
        ("accepted", f"{page['accepted']}, of them {page['redelivered']} that had come shortly before"),
    ]
    if ledger is not None:
        waiting = ledger["dead_letters"]["waiting"]
        lines += [
            ("in the ledger", f"{ledger['events']} distinct events; {ledger['repeated']} repetitions were left out"),
            ("unmatched", f"{ledger['unmatched']} events ({_share(ledger) or '0%'})"),
            ("dead letters", f"{waiting} wait: `tenure dead-letters list --source {page['name']}`" if waiting else "0"),
        ]
    lines += [("unmapped", str(page["unmapped"])), ("ignored", _counted(page["ignored"]["by_name"]))]
    return [*lines, ("rejected", _counted(page["rejected"]))]


def _rhythm(rhythm: Mapping[str, Any]) -> str:
    if "why" in rhythm:
        return f"{rhythm['state']}: {rhythm['why']}"
    by = rhythm["expected_by"]
    expected = f"something is expected by {by}" if by else "nothing is expected soon"
    return f"{rhythm['state']}; {expected}, a silence beyond {rhythm['unusual_from'] or 'half a year'} is unusual"


def _complete(page: Mapping[str, Any]) -> str:
    return f"up to {page['complete_up_to']}" if page["complete_up_to"] else "not known"


def _counted(numbers: Mapping[str, int]) -> str:
    ranked = sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{name} {number}" for name, number in ranked) or "0"
