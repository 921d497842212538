"""How far mailboxes have been read, in ingest's database."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.ingest.domain.uids import FolderState, UidSet


@dataclass(frozen=True, slots=True)
class FolderReport:
    """A folder as people see it. The running pass has read `done` of `total` mails."""

    folder: str
    compared: int
    missing: int
    checked_at: datetime | None
    done: int
    total: int


async def load_folder(connection: asyncpg.Connection, source: str, folder: str) -> FolderState | None:
    """Return how far a folder has been read; None: never."""
    # by primary key
    row = await connection.fetchrow(
        """
        select uid_validity, last_uid, read_uids, total, checked_at, compared, missing
        from mailbox_cursor
        where source = $1 and folder = $2
        """,
        source,
        folder,
    )
    if row is None:
        return None
    return FolderState(
        uid_validity=row["uid_validity"],
        last_uid=row["last_uid"],
        read=UidSet((each.lower, each.upper) for each in row["read_uids"]),
        total=row["total"],
        checked_at=row["checked_at"],
        compared=row["compared"],
        missing=row["missing"],
    )


async def add_read(
    connection: asyncpg.Connection,
    source: str,
    folder: str,
    *,
    uid_validity: int,
    read: UidSet,
    done: int,
    total: int,
) -> None:
    """Add mails that are with the broker, under one validity; another validity begins anew."""
    # two replicas that read the same mailbox must not undo one another
    await connection.execute(
        """
        insert into mailbox_cursor as stored
            (source, folder, uid_validity, last_uid, read_uids, pass_done, pass_total)
        values ($1, $2, $3, coalesce(upper(range_merge($4::int8multirange)) - 1, 0), $4, $5, $6)
        on conflict (source, folder) do update set
            uid_validity = excluded.uid_validity,
            last_uid = case
                when stored.uid_validity = excluded.uid_validity then greatest(stored.last_uid, excluded.last_uid)
                else excluded.last_uid
            end,
            read_uids = case
                when stored.uid_validity = excluded.uid_validity then stored.read_uids + excluded.read_uids
                else excluded.read_uids
            end,
            total = case when stored.uid_validity = excluded.uid_validity then stored.total end,
            checked_at = case when stored.uid_validity = excluded.uid_validity then stored.checked_at end,
            pass_done = excluded.pass_done,
            pass_total = excluded.pass_total
        """,
        source,
        folder,
        uid_validity,
        [asyncpg.Range(first, after) for first, after in read.ranges],
        done,
        total,
    )


async def save_look(
    connection: asyncpg.Connection, source: str, folder: str, *, uid_validity: int, last_uid: int, total: int
) -> None:
    """Store that everything new in a folder has been read; `total`: how many mails lie in it."""
    # by primary key; an empty folder has no row yet
    await connection.execute(
        """
        insert into mailbox_cursor as stored (source, folder, uid_validity, last_uid, total)
        values ($1, $2, $3, $4, $5)
        on conflict (source, folder) do update set
            uid_validity = excluded.uid_validity,
            last_uid = case
                when stored.uid_validity = excluded.uid_validity then greatest(stored.last_uid, excluded.last_uid)
                else excluded.last_uid
            end,
            read_uids = case when stored.uid_validity = excluded.uid_validity then stored.read_uids else '{}' end,
            total = excluded.total,
            pass_done = 0,
            pass_total = 0
        """,
        source,
        folder,
        uid_validity,
        last_uid,
        total,
    )


async def forget_read(connection: asyncpg.Connection, source: str, folder: str) -> None:
    """Read a folder from its beginning: its numbers are those of other mails now."""
    # by primary key
    await connection.execute(
        """
        update mailbox_cursor set last_uid = 0, read_uids = '{}', total = null, checked_at = null
        where source = $1 and folder = $2
        """,
        source,
        folder,
    )


async def forget_gone(
    connection: asyncpg.Connection, source: str, folder: str, uid_validity: int, there: UidSet
) -> None:
    """Forget that mails were read which lie in a folder no more: should they come back, they are read again."""
    # by primary key
    await connection.execute(
        """
        update mailbox_cursor set read_uids = read_uids * $4::int8multirange
        where source = $1 and folder = $2 and uid_validity = $3
        """,
        source,
        folder,
        uid_validity,
        [asyncpg.Range(first, after) for first, after in there.ranges],
    )


async def save_comparison(
    connection: asyncpg.Connection, source: str, folder: str, *, checked_at: datetime, compared: int, missing: int
) -> None:
    """Store that a folder has been compared whole."""
    # by primary key
    await connection.execute(
        "update mailbox_cursor set checked_at = $3, compared = $4, missing = $5 where source = $1 and folder = $2",
        source,
        folder,
        checked_at,
        compared,
        missing,
    )


async def load_folders(connection: asyncpg.Connection) -> Mapping[str, Sequence[FolderReport]]:
    """Return all folders of all mailboxes, by source."""
    # few rows: one per configured folder
    rows = await connection.fetch(
        """
        select source, folder, compared, missing, checked_at, pass_done, pass_total
        from mailbox_cursor
        order by source, folder
        """
    )
    found: defaultdict[str, list[FolderReport]] = defaultdict(list)
    for row in rows:
        found[row["source"]].append(
            FolderReport(
                folder=row["folder"],
                compared=row["compared"],
                missing=row["missing"],
                checked_at=row["checked_at"],
                done=row["pass_done"],
                total=row["pass_total"],
            )
        )
    return found


async def hold(connection: asyncpg.Connection, source: str, holder: str, seconds: float) -> bool:
    """Take or keep a mailbox for this replica; False while another one has it. By the database's own clock."""
    # one row; whoever comes first
    row = await connection.fetchrow(
        """
        insert into mailbox_pass as stored (source, status, holder, held_until)
        values ($1, 'waiting: no pass yet', $2, now() + $3 * interval '1 second')
        on conflict (source) do update set holder = excluded.holder, held_until = excluded.held_until
        where stored.holder = excluded.holder or stored.held_until is null or stored.held_until < now()
        returning source
        """,
        source,
        holder,
        seconds,
    )
    return row is not None


async def let_go(connection: asyncpg.Connection, source: str, holder: str) -> None:
    """Give a mailbox back, so that another replica may read it at once."""
    # by primary key
    await connection.execute(
        "update mailbox_pass set holder = null, held_until = null where source = $1 and holder = $2", source, holder
    )


async def save_status(connection: asyncpg.Connection, source: str, status: str) -> None:
    """Store what a mailbox is doing; its horizon stays."""
    # by primary key
    await connection.execute("update mailbox_pass set status = $2 where source = $1", source, status)


async def note_places(
    connection: asyncpg.Connection, source: str, folder: str, uid_validity: int, places: Mapping[int, str]
) -> None:
    """Store where mails lie: native ids by UID."""
    # one statement for a chunk
    await connection.execute(
        """
        insert into mailbox_mail (source, folder, uid_validity, uid, native_id)
        select $1, $2, $3, place.uid, place.native_id
        from unnest($4::bigint[], $5::text[]) as place (uid, native_id)
        on conflict (source, folder, uid_validity, uid) do update set native_id = excluded.native_id
        """,
        source,
        folder,
        uid_validity,
        list(places),
        list(places.values()),
    )


async def leave_places(
    connection: asyncpg.Connection, source: str, folder: str, uid_validity: int, there: UidSet
) -> Sequence[str]:
    """Forget where mails of a folder lay that lie there no more; return the native ids that lie nowhere now."""
    # by the first columns of the primary key; a mail that lies in another folder was moved
    rows = await connection.fetch(
        """
        with gone as (
            delete from mailbox_mail
            where source = $1 and folder = $2 and (uid_validity <> $3 or not ($4::int8multirange @> uid))
            returning native_id
        )
        select distinct gone.native_id
        from gone
        where not exists (
            select 1
            from mailbox_mail as other
            where
                other.source = $1
                and other.native_id = gone.native_id
                and (other.folder <> $2 or (other.uid_validity = $3 and $4::int8multirange @> other.uid))
        )
        """,
        source,
        folder,
        uid_validity,
        [asyncpg.Range(first, after) for first, after in there.ranges],
    )
    return [row["native_id"] for row in rows]


async def note_withdrawn(connection: asyncpg.Connection, source: str, native_ids: Sequence[str]) -> None:
    """Store which mails have been withdrawn."""
    # by primary key
    await connection.execute(
        """
        insert into mailbox_withdrawn (source, native_id)
        select $1, given.native_id
        from unnest($2::text[]) as given (native_id)
        on conflict (source, native_id) do nothing
        """,
        source,
        list(native_ids),
    )


async def take_restored(connection: asyncpg.Connection, source: str, native_ids: Sequence[str]) -> Sequence[str]:
    """Forget that these were withdrawn; return those that were."""
    # by primary key
    rows = await connection.fetch(
        "delete from mailbox_withdrawn where source = $1 and native_id = any($2::text[]) returning native_id",
        source,
        list(native_ids),
    )
    return [row["native_id"] for row in rows]
