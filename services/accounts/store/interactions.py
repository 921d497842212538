"""Tables of the fold: ledger, interactions and their parties, conversations, attributions, versions."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import asyncpg

from contracts.envelope import Envelope
from contracts.topics import ACTIVITY
from contracts.values import RevisionOrder
from services.accounts.domain.conversations import Member
from services.accounts.domain.matching import Directory
from services.accounts.domain.ports import (
    AttributionRow,
    InteractionRow,
    Report,
    StoredAttribution,
    StoredInteraction,
    StoredReport,
    Versions,
)
from services.accounts.domain.reading import Hand, Rules
from services.accounts.store import directory, jobs, written
from services.runtime import arrays
from services.runtime.outbox import OutboxMessage, append

IDENTITY_LOCK = 0x6964656E74697479  # "identity"


class InteractionTables:
    """`domain.ports.Tables` on one connection with an open transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def share_identities(self) -> None:
        """Lock identities against edits; other batches may share the lock."""
        # Held until the transaction ends: what was matched stays true until it is committed. Sequential scans are off
        # because a plan that was made while a table was small would be kept while it grows.
        await self._connection.execute(
            "select set_config('enable_seqscan', 'off', true), pg_advisory_xact_lock_shared($1)", IDENTITY_LOCK
        )

    async def keep_places(self, ids: Sequence[str]) -> None:
        """Make sure that each of `ids` (sorted) has a row, so that it can be locked."""
        # A parent that nobody has reported: whoever reports it meets this row and knows that there are children.
        await self._connection.execute(
            "insert into interaction (id) select id from unnest($1::uuid[]) as place (id) order by id on"
            " conflict (id) do nothing",
            arrays.ids(ids),
        )

    async def lock_interactions(self, ids: Sequence[str]) -> dict[str, StoredInteraction]:
        """Lock and return those of `ids` (sorted) that exist."""
        # Sorted, so that two transactions that lock some of the same rows wait for each other in one order only.
        rows = await self._connection.fetch(
            "select id, state is not null as known, conversation_id, refs, identities, claimed, hand_accounts,"
            " hand_class, hand_reply_expected, occurred_at, coalesce(kind = 'ticket' and present, false) as ticket,"
            " support_request from interaction where id = any($1::uuid[]) order by id for update",
            arrays.ids(ids),
        )
        return {row["id"]: _stored(row) for row in rows}

    async def load_reports(self, ids: Sequence[str]) -> list[StoredReport]:
        """Return everything reported about the interactions `ids`."""
        # All events of the touched interactions; their rows are locked, so nothing is added meanwhile.
        rows = await self._connection.fetch(
            "select event_id, interaction_id, event_type, authority, revision_order, mapper, digest, body"
            " from ledger where interaction_id = any($1::uuid[])",
            arrays.ids(ids),
        )
        return [
            StoredReport(event_id, interaction_id, event_type, RevisionOrder(authority, order, mapper, digest), body)
            for event_id, interaction_id, event_type, authority, order, mapper, digest, body in rows
        ]

    async def load_claimed(self, ids: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Return by interaction the accounts whose it is."""
        # Parents that are not read now.
        rows = await self._connection.fetch(
            "select id, claimed from interaction where id = any($1::uuid[])", arrays.ids(ids)
        )
        return {row["id"]: tuple(row["claimed"]) for row in rows}

    async def load_survivors(self, accounts: Collection[str]) -> dict[str, str]:
        """Return, for those of `accounts` that were merged into another, the account that stayed."""
        # Only what people decided names accounts that may have been merged since; identities move with a merge.
        rows = await self._connection.fetch(
            "select id, surviving_account(id) as survivor from account where id = any($1::uuid[]) and"
            " merged_into is not null",
            arrays.ids(accounts),
        )
        return {row["id"]: row["survivor"] for row in rows}

    async def load_directory(self, keys: Collection[str]) -> Directory:
        """Return who is known under `keys`, and all users of ours."""
        return await directory.load(self._connection, keys)

    async def load_rules(self, directory_: Directory) -> Rules:
        """Return the rules in order, and the roles of the directory's contacts."""
        return await directory.load_rules(self._connection, directory_)

    async def claim_references(self, proposed: Mapping[str, str]) -> dict[str, str]:
        """Return, and lock, the conversation of every reference; those without one get the proposed."""
        references = sorted(proposed)
        # New references; one that another transaction is adding makes this wait until it is committed.
        rows = await self._connection.fetch(
            "insert into conversation_ref (reference, conversation_id) select reference, conversation_id"
            " from unnest($1::text[], $2::uuid[]) as new (reference, conversation_id) order by reference"
            " on conflict (reference) do nothing returning reference",
            arrays.texts(references),
            arrays.ids([proposed[reference] for reference in references]),
        )
        claimed = {row["reference"]: proposed[row["reference"]] for row in rows}
        known = [reference for reference in references if reference not in claimed]
        if known:
            # The conversation that each of the others belongs to; locked, so that it stays there.
            rows = await self._connection.fetch(
                "select reference, conversation_id from conversation_ref where reference = any($1::text[])"
                " order by reference for update",
                arrays.texts(known),
            )
            claimed |= {row["reference"]: row["conversation_id"] for row in rows}
        return claimed

    async def lock_conversations(self, ids: Sequence[str]) -> None:
        """Lock conversations (sorted), creating those that do not exist."""
        # Whoever adds to a conversation waits here for whoever is adding to it.
        locked = "select id from conversation where id = any($1::uuid[]) order by id for update"
        rows = await self._connection.fetch(locked, arrays.ids(ids))
        if len(rows) == len(ids):
            return
        there = {row["id"] for row in rows}
        missing = arrays.ids([id_ for id_ in ids if id_ not in there])
        # The row is made by the second who adds to a conversation; whoever makes it at the same time waits.
        await self._connection.execute(
            "insert into conversation (id) select id from unnest($1::uuid[]) as new (id) order by id on"
            " conflict (id) do nothing",
            missing,
        )
        await self._connection.execute(locked, missing)

    async def load_members(self, ids: Sequence[str]) -> list[tuple[str, Member]]:
        """Return (conversation, member) of everything in the conversations `ids`."""
        # What each member means to its conversation, without its state.
        rows = await self._connection.fetch(
            "select conversation_id, id, occurred_at, refs, kind = 'ticket' and present as ticket, support_request,"
            " claimed from interaction where conversation_id = any($1::uuid[])",
            arrays.ids(ids),
        )
        return [
            (conversation, Member(id_, occurred_at, tuple(refs), ticket, request, tuple(claimed)))
            for conversation, id_, occurred_at, refs, ticket, request, claimed in rows
        ]

    async def load_outlines(self, ids: Sequence[str], without: Sequence[str]) -> dict[str, list[Member]]:
        """Return, by conversation, its first and last member, and its tickets and calls for help, apart from some."""
        # However many members there are: two ends of an index, and an index of those few that matter to the others.
        rows = await self._connection.fetch(_OUTLINES, arrays.ids(ids), arrays.ids(without))
        outlines: dict[str, dict[str, Member]] = {}
        for conversation, id_, occurred_at, refs, ticket, request, claimed in rows:
            outlines.setdefault(conversation, {})[id_] = Member(
                id_, occurred_at, tuple(refs), ticket, request, tuple(claimed)
            )
        return {conversation: list(members.values()) for conversation, members in outlines.items()}

    async def move_references(self, moved: Mapping[str, str]) -> None:
        """Set the conversation of references."""
        # Conversations that met, or that a lost reference parted.
        await self._connection.execute(
            "update conversation_ref set conversation_id = moved.conversation_id"
            " from unnest($1::text[], $2::uuid[]) as moved (reference, conversation_id)"
            " where conversation_ref.reference = moved.reference",
            arrays.texts(moved),
            arrays.ids(moved.values()),
        )

    async def move_members(self, moved: Mapping[str, str]) -> None:
        """Set the conversation of interactions that are not being read now."""
        # Only where they belong; what follows from it is read again by a job.
        await self._connection.execute(
            "update interaction set conversation_id = moved.conversation_id"
            " from unnest($1::uuid[], $2::uuid[]) as moved (id, conversation_id) where"
            " interaction.id = moved.id",
            arrays.ids(moved),
            arrays.ids(moved.values()),
        )

    async def load_attributions(self, ids: Sequence[str]) -> dict[str, dict[str, StoredAttribution]]:
        """Return by interaction and account what was last said."""
        # To say only what is new, and to tell former accounts.
        rows = await self._connection.fetch(
            "select interaction_id, account_id, version, digest, present, reason from attribution where"
            " interaction_id = any($1::uuid[])",
            arrays.ids(ids),
        )
        loaded: dict[str, dict[str, StoredAttribution]] = {}
        for interaction_id, account_id, version, digest, present, reason in rows:
            loaded.setdefault(interaction_id, {})[account_id] = StoredAttribution(version, digest, present, reason)
        return loaded

    async def save_reports(self, rows: Sequence[Report], fresh: Collection[str]) -> None:
        """Keep events; of one event the greatest revision stays. `fresh`: interactions that have none yet."""
        await written.save_reports(self._connection, rows, fresh)

    async def insert_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Add interactions that were not there; a transient error when one has come meanwhile."""
        # One that exists by now was added as a place for a parent: without it, its children would be missed.
        try:
            await self._connection.execute(
                "insert into interaction (id, kind, occurred_at, present, parent_id, conversation_id, refs, identities,"  # noqa: S608 - names of our own; values are parameters
                " users, claimed, support_request, unmatched, state) select id, kind, occurred_at, present, parent_id,"
                " conversation_id, refs, identities, users, claimed,"
                f" support_request, unmatched, state::json from {_INTERACTIONS} order by id",
                *_interaction_columns(rows),
            )
        except asyncpg.UniqueViolationError:
            raise asyncpg.SerializationError("an interaction was added by another transaction") from None

    async def update_interactions(self, rows: Sequence[InteractionRow]) -> None:
        """Overwrite interactions that are locked, where anything about them differs."""
        # What people decided by hand stands in columns of its own and is not touched. Most of what is read again is as
        # it was, only its conversation is not.
        await self._connection.execute(
            "update interaction set kind = new.kind, occurred_at = new.occurred_at, present = new.present,"  # noqa: S608 - names of our own; values are parameters
            " parent_id = new.parent_id, conversation_id = new.conversation_id, refs = new.refs,"
            " identities = new.identities, users = new.users, claimed = new.claimed, support_request ="
            " new.support_request, unmatched = new.unmatched, state = new.state::json"
            f" from {_INTERACTIONS} where interaction.id = new.id and (interaction.kind, interaction.occurred_at,"
            " interaction.present, interaction.parent_id, interaction.conversation_id, interaction.refs,"
            " interaction.identities, interaction.users, interaction.claimed, interaction.support_request,"
            " interaction.unmatched, interaction.state::text) is distinct from (new.kind, new.occurred_at, new.present,"
            " new.parent_id, new.conversation_id, new.refs, new.identities, new.users, new.claimed,"
            " new.support_request, new.unmatched, new.state)",
            *_interaction_columns(rows),
        )

    async def change_parties(
        self, gone: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]], fresh: Sequence[tuple[str, str]]
    ) -> None:
        """Update the index of parties: pairs of (key, interaction id); `fresh`: of interactions that had none."""
        await written.change_parties(self._connection, gone, new, fresh)

    async def draw_versions(self, counts: Mapping[str, int]) -> dict[str, Versions]:
        """Lock accounts in order and draw so many versions of each."""
        return await draw_versions(self._connection, counts)

    async def save_attributions(self, rows: Sequence[AttributionRow], fresh: Collection[str]) -> None:
        """Remember what is said now. `fresh`: interactions of which nothing was said before."""
        await written.save_attributions(self._connection, rows, fresh)

    async def add_job(self, selector: str, selected: Sequence[str], recorded_at: datetime) -> None:
        """Have interactions read again in transactions of their own."""
        await jobs.add(self._connection, selector, selected, recorded_at)

    async def publish(self, messages: Sequence[tuple[str, Envelope, bytes]]) -> None:
        """Say attributions: (account, envelope, value) in order, while the accounts are locked."""
        await append(
            self._connection,
            [OutboxMessage(ACTIVITY, account, envelope, value) for account, envelope, value in messages],
        )


async def draw_versions(connection: asyncpg.Connection, counts: Mapping[str, int]) -> dict[str, Versions]:
    """Lock accounts in order and draw so many versions of each; a new epoch lifts them above all earlier ones."""
    ids = sorted(counts)
    if not any(counts.values()):
        # What is said again as it was draws nothing: the lock will do.
        rows = await connection.fetch(
            "select id, version, state_version from account where id = any($1::uuid[]) order by id for update",
            arrays.ids(ids),
        )
        return {row["id"]: Versions(row["version"], row["state_version"]) for row in rows}
    # The inner query locks in order; 1099511627776 is 2^40.
    rows = await connection.fetch(
        "with locked as (select id from account where id = any($1::uuid[]) order by id for update), wanted as"
        " (select locked.id, counted.n from locked join unnest($1::uuid[], $2::bigint[]) as counted"
        " (id, n) on counted.id = locked.id) update account set version = greatest(account.version, (select epoch"
        " from version_epoch) * 1099511627776) + wanted.n from wanted where account.id = wanted.id returning"
        " account.id, account.version, account.state_version",
        arrays.ids(ids),
        arrays.numbers([counts[account] for account in ids]),
    )
    return {row["id"]: Versions(row["version"], row["state_version"]) for row in rows}


_MEMBER = (
    "select id, occurred_at, refs, kind = 'ticket' and present as ticket, support_request, claimed from interaction"
    " where conversation_id = chosen.id and id not in (select id from unnest($2::uuid[]) as touched (id))"
)
_OUTLINES = (
    "select chosen.id, member.id, occurred_at, refs, ticket, support_request, claimed from unnest($1::uuid[]) as chosen"  # noqa: S608 - names of our own; values are parameters
    f" (id), lateral (({_MEMBER} order by conversation_id, occurred_at, id limit 1) union all ({_MEMBER} order by"
    f" conversation_id desc, occurred_at desc, id desc limit 1) union all ({_MEMBER} and (kind = 'ticket' and present"
    " or support_request))) as member"
)
_INTERACTIONS = (
    "(select id, kind, occurred_at, present, parent_id, conversation_id, coalesce(refs::text[], '{}') as refs,"
    " coalesce(identities::text[], '{}') as identities, coalesce(users::uuid[], '{}') as users,"
    " coalesce(claimed::uuid[], '{}') as claimed, support_request, unmatched, state"
    " from (select unnest($1::uuid[]) as id, unnest($2::text[]) as kind,"
    " unnest($3::timestamptz[]) as occurred_at, unnest($4::boolean[]) as present,"
    " unnest($5::uuid[]) as parent_id, unnest($6::uuid[]) as conversation_id,"
    " unnest($7::text[]) as refs, unnest($8::text[]) as identities, unnest($9::text[]) as users,"
    " unnest($10::text[]) as claimed, unnest($11::boolean[]) as support_request,"
    " unnest($12::boolean[]) as unmatched, unnest($13::text[]) as state) as column_by_column) as new"
)


def _interaction_columns(rows: Sequence[InteractionRow]) -> list[arrays.Packed]:
    readings = [row.reading for row in rows]
    interactions = [reading.interaction for reading in readings]
    lists, ids, some = arrays.literal_texts, arrays.literal_ids, arrays.or_nothing
    return [
        arrays.ids([interaction.id for interaction in interactions]),
        arrays.texts([interaction.key.kind.value for interaction in interactions]),
        arrays.moments([interaction.occurred_at for interaction in interactions]),
        arrays.flags([interaction.present for interaction in interactions]),
        some(arrays.ids, [reading.parent_id for reading in readings]),
        some(arrays.ids, [row.conversation_id for row in rows]),
        some(arrays.texts, [lists(reading.references) if reading.references else None for reading in readings]),
        some(arrays.texts, [lists(reading.keys) if reading.keys else None for reading in readings]),
        some(arrays.texts, [ids(reading.users) if reading.users else None for reading in readings]),
        some(arrays.texts, [ids(reading.accounts) if reading.accounts else None for reading in readings]),
        arrays.flags([reading.support_request for reading in readings]),
        arrays.flags([reading.unmatched for reading in readings]),
        arrays.texts([row.state for row in rows]),
    ]


def _stored(row: asyncpg.Record) -> StoredInteraction:
    hand = row["hand_accounts"]
    return StoredInteraction(
        id=row["id"],
        known=row["known"],
        conversation_id=row["conversation_id"],
        references=tuple(row["refs"]),
        keys=tuple(row["identities"]),
        claimed=tuple(row["claimed"]),
        hand=Hand(None if hand is None else tuple(hand), row["hand_class"], row["hand_reply_expected"]),
        occurred_at=row["occurred_at"],
        ticket=row["ticket"],
        support_request=row["support_request"],
    )
