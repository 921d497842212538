"""`tenure erase`: forget people in what ingest keeps of calendars."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName

_AT_ONCE = 100  # addresses in one request
_PATIENCE = 600.0  # seconds: every series that is kept is looked at
_LEFT = (
    "Accounts' ledger and contacts, the notifier's alerts, topics within their retention and dead letters keep what"
    " they hold."
)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("erase")(erase)


def erase(
    addresses: Annotated[list[str], typer.Argument(help="every mail address of whoever is to be forgotten")],
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """Forget people in meetings that calendars told of. It does not reach what other services keep.

    The same again changes nothing. A calendar that still names them names them again: erase them there first.
    """
    ingest = Remote("ingest", "operator", url, token_file, instance)
    meetings = 0
    for start in range(0, len(addresses), _AT_ONCE):
        body = {"addresses": addresses[start : start + _AT_ONCE]}
        meetings += int(ingest.call("POST", "/v1/erasures", body=body, patience=_PATIENCE)["meetings"])
    if as_json:
        typer.echo(json.dumps({"meetings": meetings}))
        return
    typer.echo(f"forgotten in {meetings} {'meeting' if meetings == 1 else 'meetings'}")
    typer.echo(_LEFT)
