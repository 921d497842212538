"""What a rehearsal of reports compares them with. It locks nothing and changes nothing."""

from collections.abc import Collection

import asyncpg

from contracts.values import RevisionOrder
from services.accounts.domain.rehearsal import Kept
from services.accounts.store import directory
from services.runtime import arrays


async def load(
    connection: asyncpg.Connection, events: Collection[str], interactions: Collection[str], keys: Collection[str]
) -> Kept:
    """Return what is kept of the events, whose the interactions are, and who is known under the identity keys."""
    # Rows of the ledger by their primary key, without the bodies.
    rows = await connection.fetch(
        "select event_id, authority, revision_order, mapper, digest from ledger where event_id = any($1::uuid[])",
        arrays.ids(events),
    )
    ledger = {row[0]: RevisionOrder(*row[1:]) for row in rows}
    # Accounts of interactions and parents that have been reported.
    rows = await connection.fetch(
        "select id, claimed from interaction where id = any($1::uuid[]) and state is not null", arrays.ids(interactions)
    )
    return Kept(ledger, {row["id"]: tuple(row["claimed"]) for row in rows}, await directory.load(connection, keys))
