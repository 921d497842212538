"""`tenure restored`: what a service's database needs after it was restored from a backup, before the service starts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import asyncpg
import typer

from services.cli.databases import local_owner
from services.cli.faults import CommandFault
from services.cli.remote import AsJson
from services.cli.republish import TOPICS
from services.cli.targets import InstanceName
from services.runtime.restoring import Restored
from services.runtime.restoring import restored as raise_epoch

Restorable = Literal["ingest", "accounts", "metrics", "notifier"]
STATES: Mapping[str, Sequence[str]] = {
    service: [part for owner, parts in TOPICS.values() if owner == service for part in parts]
    for service in ("accounts", "metrics", "notifier")
}
"""By service the states that it says again. ingest publishes none: its mailboxes are read again from their cursors."""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("restored")(restored)


def restored(
    service: Annotated[Restorable, typer.Argument(help="whose database was restored")],
    owner_url: Annotated[
        str | None, typer.Option(envvar="TENURE_OWNER_DATABASE_URL", help="the owner's connection URL of that database")
    ] = None,
    instance: InstanceName = None,
    *,
    epoch: Annotated[int, typer.Option(min=0, help="at least this epoch, for a second restore within ten minutes")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say that a service's database was restored from a backup: its versions rise above all that were published.

    Call it while the service is stopped. It then reads its topics again from where the backup was made, and says every
    state again under a new version, so that nothing that was published in the meantime outlives it.
    """
    done = asyncio.run(_restored(service, owner_url or local_owner(service, instance), epoch))
    if as_json:
        typer.echo(json.dumps({"service": service, "epoch": done.epoch, "run": done.run_id}))
    elif done.epoch is None:
        typer.echo(f"{service}: nothing to raise; start it, and its mailboxes are read again from where the backup was")
    else:
        typer.echo(
            f"{service}: versions now begin with epoch {done.epoch}; start it, and follow it with `tenure status`"
        )


async def _restored(service: str, owner_url: str, at_least: int) -> Restored:
    try:
        connection = await asyncpg.connect(owner_url)
    except (OSError, asyncpg.PostgresError, ValueError) as refusal:
        raise CommandFault(f"The database of {service} cannot be reached with this URL: {refusal}") from refusal
    try:
        async with connection.transaction():
            return await raise_epoch(
                connection, STATES.get(service, ()), datetime.now(UTC), "tenure restored", at_least=at_least
            )
    except asyncpg.UndefinedTableError:
        raise CommandFault(
            f"The database of {service} is older than this software: `tenure migrate {service}` first."
        ) from None
    finally:
        await connection.close()
