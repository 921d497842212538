"""`tenure import`: history from files to ingest, tables of accounts, contacts, domains and users to accounts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from services.cli.faults import CommandFault
from services.cli.options import grouped
from services.cli.remote import Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import progress


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file is read."""

    source: Annotated[str | None, typer.Option(help="history: which source of sources.toml it is the history of")] = (
        None
    )
    as_: Annotated[
        str | None,
        typer.Option("--as", help="what it holds: accounts, contacts, domains, users, or a mapping of --mappings"),
    ] = None
    mapping: Annotated[
        Path | None, typer.Option(help="a mapping of your own: TOML that says what the columns mean", dir_okay=False)
    ] = None
    system: Annotated[str | None, typer.Option(help="the system of sources.toml whose ids the rows carry")] = None
    exported: Annotated[
        str | None, typer.Option(help="when the rows were exported: 2026-03-31, a moment, or `file`")
    ] = None
    zone: Annotated[str | None, typer.Option(help="time zone of moments without an offset; overrides the mapping")] = (
        None
    )
    region: Annotated[str | None, typer.Option(help="country of national phone numbers, such as DE")] = None
    set_: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE for a constant of the mapping")] = None


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is written down beside."""

    report: Annotated[
        Path | None, typer.Option(help="where rejected rows go; by default FILE.rejected.csv", dir_okay=False)
    ] = None
    state: Annotated[
        Path | None,
        typer.Option(help="where it is kept how far it has come; by default beside the file", file_okay=False),
    ] = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where it goes."""

    url: Url = None
    accounts_url: Annotated[
        str | None, typer.Option(help="dry run of history: accounts' public address, for what it knows of the events")
    ] = None
    token_file: TokenFile = None
    instance: InstanceName = None

    def remote(self, service: str) -> Remote:
        """The service as an operator calls it."""
        return Remote(service, "operator", self.url, self.token_file, self.instance)

    @property
    def accounts(self) -> Remote | None:
        """Accounts beside ingest; None where nobody says where it is."""
        if self.url is not None and self.accounts_url is None:
            return None
        return Remote("accounts", "operator", self.accounts_url, self.token_file, self.instance)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="import")(import_file)


@grouped
def import_file(
    reading: Reading,
    keeping: Keeping,
    target: Target,
    file: Annotated[Path | None, typer.Argument(help="the file, or a folder of mail", exists=True)] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would happen")] = False,
    mappings: Annotated[bool, typer.Option("--mappings", help="list the mappings that come with Tenure")] = False,
) -> None:
    """Import a file. Good rows go in, bad ones are reported with line, field, reason and remedy; exit with 1 then.

    The same file twice changes nothing, and an import that was killed goes on where it was.
    """
    # Reading files brings the mappings of ingest along, which the other commands do without.
    from services.cli import imports_files  # noqa: PLC0415 - see above

    if mappings:
        imports_files.list_mappings()
        return
    if file is None:
        raise CommandFault("Name the file: tenure import FILE.")
    with progress() as say:
        whole = imports_files.import_file(file, reading, keeping, target, say, dry_run=dry_run)
    if not whole:
        raise typer.Exit(1)
