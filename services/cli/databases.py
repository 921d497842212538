"""`tenure provision` and `tenure migrate`: databases, roles and tables, here or on any PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from deploy.databases import SERVICES, access, login_roles, migrate, provision
from deploy.local.postgres import LocalPostgres
from services.cli.faults import CommandFault
from services.cli.targets import InstanceName, running_instance


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("provision")(provision_command)
    app.command("migrate")(migrate_command)


def provision_command(
    admin_url: Annotated[str, typer.Option(envvar="TENURE_ADMIN_DATABASE_URL", help="a superuser's connection URL")],
    passwords: Annotated[
        Path, typer.Option(help="a folder with one file per login role; missing passwords are generated into it")
    ],
) -> None:
    """Create the databases, group roles and login roles that are missing; can be repeated."""
    passwords.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = {login: _password(passwords / login) for login in login_roles()}
    try:
        asyncio.run(provision(admin_url, known))
    except (OSError, asyncpg.PostgresError, ValueError) as refusal:
        raise CommandFault(f"PostgreSQL cannot be provisioned with this connection URL: {refusal}") from refusal
    typer.echo(f"provisioned {', '.join(SERVICES)}; the passwords are in {passwords}")


def migrate_command(
    services: Annotated[list[str] | None, typer.Argument(help="which; without any, all")] = None,
    owner_url: Annotated[
        str | None, typer.Option(envvar="TENURE_OWNER_DATABASE_URL", help="the owner's connection URL, for one service")
    ] = None,
    instance: InstanceName = None,
) -> None:
    """Apply the migrations that are pending."""
    wanted = services or list(SERVICES)
    if unknown := set(wanted) - set(SERVICES):
        raise CommandFault(f"There is no service {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}.")
    if owner_url is not None and len(wanted) != 1:
        raise CommandFault("A connection URL belongs to one service; name it: tenure migrate accounts --owner-url …")
    for service in wanted:
        migrate(service, owner_url or local_owner(service, instance))
        typer.echo(f"{service}: up to date")


def local_owner(service: str, instance: str | None) -> str:
    """Return the owner's connection URL of a service's database in a system of this checkout."""
    found = running_instance(instance)
    server = LocalPostgres.running(found.directory / "postgres")
    known = json.loads((found.secrets / "database-passwords.json").read_text())
    return access(server.admin_dsn, service, known).owner


def _password(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
    return path.read_text().strip()
