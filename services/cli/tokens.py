"""`tenure token`: a bearer token of the local issuer, for a first try of the APIs."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from services.cli.faults import CommandFault
from services.cli.targets import InstanceName, local_token

_ROLES = frozenset({"admin", "operator"})


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(token)


def token(
    subject: Annotated[str, typer.Option(help="who calls; accounts maps it to a user")],
    role: Annotated[list[str] | None, typer.Option(help="admin or operator; can be given more than once")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=60, help="how long it is valid")] = 5,
    instance: InstanceName = None,
) -> None:
    """Print a bearer token that the services of this machine accept."""
    if not subject.strip():
        raise CommandFault("--subject is empty; name who calls, such as anna.brandt.")
    unknown = sorted({*(role or ())} - _ROLES)
    if unknown:
        raise CommandFault(f"There is no role {', '.join(unknown)}; there are {', '.join(sorted(_ROLES))}.")
    typer.echo(local_token(instance, subject, role or (), timedelta(minutes=minutes)))
