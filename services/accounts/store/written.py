"""What a batch writes of ledger, parties and attributions: most of it is about interactions that are new."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import asyncpg

from services.accounts.domain.ports import AttributionRow, Report
from services.runtime import arrays
from services.runtime.fresh import insert_fresh

R = TypeVar("R")
P = TypeVar("P", Report, AttributionRow)

_ADD_REPORTS = (
    "insert into ledger (event_id, interaction_id, event_type, occurred_at, authority, revision_order, mapper, digest,"
    " source, imported, recordedtime, body) select event_id, interaction_id, event_type, occurred_at, authority,"
    " revision_order, mapper, digest, source, imported, recordedtime, body from (select"
    " unnest($1::uuid[]) as event_id, unnest($2::uuid[]) as interaction_id, unnest($3::text[]) as event_type,"
    " unnest($4::timestamptz[]) as occurred_at, unnest($5::bigint[]) as authority,"
    " unnest($6::bigint[]) as revision_order, unnest($7::bigint[]) as mapper, unnest($8::text[]) as digest,"
    " unnest($9::text[]) as source, unnest($10::boolean[]) as imported, unnest($11::timestamptz[]) as recordedtime,"
    " unnest($12::bytea[]) as body) as new"
)
# The comparison stands here once more, so that no path into the ledger can replace a greater revision.
_KEEP_REPORTS = (
    " on conflict (event_id) do update set occurred_at = excluded.occurred_at, authority = excluded.authority,"
    " revision_order = excluded.revision_order, mapper = excluded.mapper, digest = excluded.digest, source ="
    " excluded.source, imported = excluded.imported, recordedtime = excluded.recordedtime, body = excluded.body"
    ' where (ledger.authority, ledger.revision_order, ledger.mapper, ledger.digest collate "C")'
    ' < (excluded.authority, excluded.revision_order, excluded.mapper, excluded.digest collate "C")'
)
_ADD_PARTIES = (
    "insert into interaction_party (identity_key, interaction_id)"
    " select unnest($1::text[]) as identity_key, unnest($2::uuid[]) as interaction_id"
)
_KEEP_PARTIES = " on conflict do nothing"
_ADD_ATTRIBUTIONS = (
    "insert into attribution (interaction_id, account_id, version, digest, present, reason, touch_class,"
    " conversation_id, contacts, occurred_at) select interaction_id, account_id, version, digest, present, reason,"
    " touch_class, conversation_id, coalesce(contacts::uuid[], '{}'), occurred_at from (select"
    " unnest($1::uuid[]) as interaction_id, unnest($2::uuid[]) as account_id, unnest($3::bigint[]) as version,"
    " unnest($4::bytea[]) as digest, unnest($5::boolean[]) as present, unnest($6::text[]) as reason,"
    " unnest($7::text[]) as touch_class, unnest($8::uuid[]) as conversation_id, unnest($9::text[]) as contacts,"
    " unnest($10::timestamptz[]) as occurred_at) as new"
)
# The account is locked, so a lower version cannot overtake.
_KEEP_ATTRIBUTIONS = (
    " on conflict (interaction_id, account_id) do update set version = excluded.version, digest = excluded.digest,"
    " present = excluded.present, reason = excluded.reason, touch_class = excluded.touch_class, conversation_id ="
    " excluded.conversation_id, contacts = excluded.contacts, occurred_at = excluded.occurred_at where"
    " attribution.version < excluded.version"
)


async def save_reports(connection: asyncpg.Connection, rows: Sequence[Report], fresh: Collection[str]) -> None:
    """Keep events; of one event the greatest revision stays. `fresh`: interactions that have none yet."""
    first, others = _parted(rows, fresh)
    await _add(connection, _ADD_REPORTS, _KEEP_REPORTS, first, _report_columns)
    if others:
        await connection.execute(_ADD_REPORTS + _KEEP_REPORTS, *_report_columns(others))


async def change_parties(
    connection: asyncpg.Connection,
    gone: Sequence[tuple[str, str]],
    new: Sequence[tuple[str, str]],
    fresh: Sequence[tuple[str, str]],
) -> None:
    """Update the index of parties: pairs of (key, interaction id); `fresh`: of interactions that had none."""
    if gone:
        # Parties that a later report no longer names.
        await connection.execute(
            "delete from interaction_party using unnest($1::text[], $2::uuid[]) as gone"
            " (identity_key, interaction_id) where interaction_party.identity_key = gone.identity_key and"
            " interaction_party.interaction_id = gone.interaction_id",
            arrays.texts(key for key, _ in gone),
            arrays.ids(interaction for _, interaction in gone),
        )
    await _add(connection, _ADD_PARTIES, _KEEP_PARTIES, fresh, _party_columns)
    if new:
        await connection.execute(_ADD_PARTIES + _KEEP_PARTIES, *_party_columns(new))


async def save_attributions(
    connection: asyncpg.Connection, rows: Sequence[AttributionRow], fresh: Collection[str]
) -> None:
    """Remember what is said now. `fresh`: interactions of which nothing was said before."""
    first, others = _parted(rows, fresh)
    await _add(connection, _ADD_ATTRIBUTIONS, _KEEP_ATTRIBUTIONS, first, _attribution_columns)
    if others:
        await connection.execute(_ADD_ATTRIBUTIONS + _KEEP_ATTRIBUTIONS, *_attribution_columns(others))


async def _add(
    connection: asyncpg.Connection,
    adding: str,
    conflict: str,
    rows: Sequence[R],
    columns: Callable[[Sequence[R]], Sequence[arrays.Packed]],
) -> None:
    if rows:
        await insert_fresh(connection, adding, conflict, columns(rows), len(rows))


def _parted(rows: Sequence[P], fresh: Collection[str]) -> tuple[Sequence[P], Sequence[P]]:
    """Return the rows of fresh interactions, and the others."""
    first = [row for row in rows if row.interaction_id in fresh]
    return first, [] if len(first) == len(rows) else [row for row in rows if row.interaction_id not in fresh]


def _report_columns(rows: Sequence[Report]) -> list[arrays.Packed]:
    events = [row.event for row in rows]
    revisions = [event.revision for event in events]
    return [
        arrays.ids([row.event_id for row in rows]),
        arrays.ids([row.interaction_id for row in rows]),
        arrays.texts([event.TYPE for event in events]),
        arrays.moments([event.occurred_at for event in events]),
        arrays.numbers([revision.authority for revision in revisions]),
        arrays.numbers([revision.order for revision in revisions]),
        arrays.numbers([revision.mapper for revision in revisions]),
        arrays.texts([revision.digest for revision in revisions]),
        arrays.texts([event.source for event in events]),
        arrays.flags([event.imported for event in events]),
        arrays.moments([row.recorded_at for row in rows]),
        arrays.blobs([row.body for row in rows]),
    ]


def _party_columns(pairs: Sequence[tuple[str, str]]) -> list[arrays.Packed]:
    return [arrays.texts([key for key, _ in pairs]), arrays.ids([interaction for _, interaction in pairs])]


def _attribution_columns(rows: Sequence[AttributionRow]) -> list[arrays.Packed]:
    some = arrays.or_nothing
    return [
        arrays.ids([row.interaction_id for row in rows]),
        arrays.ids([row.account_id for row in rows]),
        arrays.numbers([row.version for row in rows]),
        arrays.blobs([row.digest for row in rows]),
        arrays.flags([row.present for row in rows]),
        arrays.texts([row.reason for row in rows]),
        some(arrays.texts, [row.touch_class for row in rows]),
        arrays.ids([row.conversation_id for row in rows]),
        some(arrays.texts, [arrays.literal_ids(row.contacts) if row.contacts else None for row in rows]),
        arrays.moments([row.occurred_at for row in rows]),
    ]
