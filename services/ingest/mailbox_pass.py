"""One pass over a mailbox: what is new or was missed goes to the broker, then the cursor moves."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import asyncpg
import structlog

from contracts.codec import encode, event_envelope
from contracts.events import Event, InteractionRestored, InteractionWithdrawn
from contracts.ids import digest
from contracts.topics import INTERACTIONS
from contracts.values import Authority, InteractionKey, Kind, Revision
from services.ingest import store, store_mailbox
from services.ingest.domain.mail_identity import MAIL_SYSTEM
from services.ingest.domain.mapping import MapMail, micros
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.source import Source
from services.ingest.domain.uids import (
    FolderLook,
    FolderState,
    UidSet,
    has_moved,
    seems_set_back,
    starting_point,
    unread,
)
from services.ingest.failpoints import IngestFailpoint
from services.ingest.imap import CHUNK, FetchedMail, ImapSession
from services.ingest.polling import Withheld
from services.ingest.reception import Reception
from services.ingest.taking import MailTaker
from services.runtime import outbox
from services.runtime.failpoints import reach
from services.runtime.outbox import OutboxMessage
from services.runtime.postgres import acquire, transaction

_AT_ONCE = 8
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder after a pass."""

    name: str
    look: FolderLook
    withheld: Collection[int]
    """UIDs of mails that lie there and were not given."""
    there: Sequence[int] | None
    """UIDs of all mails in it, ours or not; None when that is not known for certain."""


class _Left(NamedTuple):
    """Mails that lie there and are not with the broker all the same."""

    refused: int
    withheld: Collection[int]


class MailboxPass:
    """Reads one mailbox. `go_on` is asked between mails, and raises to stop."""

    def __init__(
        self,
        reception: Reception,
        source: Source,
        options: ImapOptions,
        mapping: MapMail,
        pool: asyncpg.Pool,
    ) -> None:
        self._reception = reception
        self._source = source
        self._options = options
        self._pool = pool
        self._taker = MailTaker(reception, source, mapping, options.content)
        self._withheld = Withheld[tuple[str, int, int]]()
        """Folder, UIDVALIDITY and UID of what is not given."""
        self._set_back: set[tuple[str, int]] = set()
        """Folder and UIDVALIDITY of those that seemed to be set back in the last pass."""

    async def run(self, session: ImapSession, go_on: Callable[[], None]) -> None:
        """Read everything that is new or was missed in every folder; the horizon moves to the clock before we began."""
        horizon = self._reception.clock.now()
        folders = [await self._read_folder(session, name, horizon, go_on) for name in self._options.folder]
        go_on()
        # What is not given has no known place here, and may have had one under another number: it is not gone.
        waiting = self._waiting(folders)
        if self._options.deleted == "withdraw" and not waiting and all(each.there is not None for each in folders):
            await self._withdraw(folders, horizon)
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self._source.name, None if waiting else horizon, waiting or "ok")

    def _waiting(self, folders: Sequence[_Folder]) -> str | None:
        """Say which folder shows a mail that is not given; None where there is none that we still wait for."""
        withheld = [(each.name, each.look.uid_validity, uid) for each in folders for uid in each.withheld]
        fresh = [folder for folder, _, _ in self._withheld.waited_for(withheld)]
        if not fresh:
            return None
        number = fresh.count(fresh[0])
        return (
            f"waiting: {fresh[0]} shows {number:,} mail{'s' if number > 1 else ''} that the server does not give;"
            f" {'they are' if number > 1 else 'it is'} asked for in every pass"
        )

    async def _read_folder(
        self, session: ImapSession, name: str, horizon: datetime, go_on: Callable[[], None]
    ) -> _Folder:
        """Read what is new in a folder, or compare it whole."""
        async with acquire(self._pool) as connection:
            stored = await store_mailbox.load_folder(connection, self._source.name, name)
        look = await session.call(session.look, name)
        state = await self._unless_set_back(session, name, starting_point(stored, look), look)
        new = await session.call(session.uids, state.last_uid, None)
        if not self._is_due(state, horizon) and not has_moved(state, look, len(new)):
            ours = await self._ours(session, new, state)
            left = await self._read(session, name, look, ours, go_on)
            await self._looked(name, look, max([state.last_uid, *new]), left)
            return _Folder(name, look, left.withheld, None)
        ours = await session.call(session.uids, 0, self._options.since)
        there = await self._all_there(session, ours, look)
        left = await self._read(session, name, look, unread(state, ours), go_on)
        await self._looked(name, look, max([state.last_uid, *new, *ours]), left)
        async with acquire(self._pool) as connection:
            missing = left.refused + len(left.withheld)
            await store_mailbox.save_comparison(
                connection, self._source.name, name, checked_at=horizon, compared=len(ours), missing=missing
            )
        return _Folder(name, look, left.withheld, there)

    async def _unless_set_back(
        self, session: ImapSession, name: str, state: FolderState, look: FolderLook
    ) -> FolderState:
        """Return the state to go on from; of a folder whose numbers are given a second time, that of a new one."""
        folder = (name, look.uid_validity)
        if look.uid_next is None or not seems_set_back(state, look):
            self._set_back.discard(folder)
            return state
        if any(uid >= look.uid_next for uid in await session.call(session.uids, 0, None)):
            # The server is mistaken about the number that comes next.
            return state
        if folder not in self._set_back:
            # One of several servers may be behind the others for a moment: it must say so twice.
            self._set_back.add(folder)
            return state
        _log.warning("a mailbox was set back and is read from its beginning", source=self._source.name)
        async with acquire(self._pool) as connection:
            await store_mailbox.forget_read(connection, self._source.name, name)
        return FolderState(look.uid_validity, 0)

    async def _all_there(self, session: ImapSession, ours: Sequence[int], look: FolderLook) -> Sequence[int] | None:
        """Return all mails of the open folder; None where they are not needed, or the search did not find all."""
        if self._options.deleted != "withdraw":
            return None
        there = ours if self._options.since is None else await session.call(session.uids, 0, None)
        return there if len(there) >= look.total else None

    def _is_due(self, state: FolderState, now: datetime) -> bool:
        """Say whether a folder is compared whole; a deletion shows in no other way."""
        if state.checked_at is None or self._options.deleted == "withdraw":
            return True
        # Where the clock was ahead then, nobody knows how long ago it was.
        return not 0 <= (now - state.checked_at).total_seconds() < self._options.compare_seconds

    async def _ours(self, session: ImapSession, new: Sequence[int], state: FolderState) -> Sequence[int]:
        if not new or self._options.since is None:
            return new
        return await session.call(session.uids, state.last_uid, self._options.since)

    async def _looked(self, name: str, look: FolderLook, last_uid: int, left: _Left) -> None:
        # Without what was not given: the folder holds more then, and is compared whole the next time.
        total = look.total - len(left.withheld)
        async with acquire(self._pool) as connection:
            await store_mailbox.save_look(
                connection,
                self._source.name,
                name,
                uid_validity=look.uid_validity,
                last_uid=last_uid,
                total=total,
            )
        reach(IngestFailpoint.CURSOR_SAVED)

    async def _read(
        self, session: ImapSession, name: str, look: FolderLook, uids: Sequence[int], go_on: Callable[[], None]
    ) -> _Left:
        """Read these mails; return which of them are not with the broker all the same."""
        refused, withheld = 0, set[int]()
        for start in range(0, len(uids), CHUNK):
            chunk = uids[start : start + CHUNK]
            said = await self._read_chunk(session, name, chunk, go_on)
            refused += sum(native_id is None for native_id in said.values())
            if not_given := [uid for uid in chunk if uid not in said]:
                withheld.update(await session.call(session.still_there, not_given))
            async with transaction(self._pool) as connection:
                reach(IngestFailpoint.MAILS_PUBLISHED)
                await self._save(connection, name, look, said, (start + len(chunk), len(uids)))
            reach(IngestFailpoint.CURSOR_SAVED)
        return _Left(refused, withheld)

    async def _read_chunk(
        self, session: ImapSession, folder: str, uids: Sequence[int], go_on: Callable[[], None]
    ) -> dict[int, str | None]:
        """Read some mails; return what `MailTaker.take` said of each that is there; "" of drafts."""
        said: dict[int, str | None] = {}
        # Several at once: each waits for the broker's word, and their order says nothing.
        room = asyncio.Semaphore(_AT_ONCE)

        async def take(mail: FetchedMail) -> None:
            try:
                said[mail.uid] = await self._taker.take(mail.raw, f"{folder}, UID {mail.uid}", folder)
            finally:
                room.release()

        try:
            async with asyncio.TaskGroup() as taking:
                mails = session.fetch(uids)
                while (mail := await session.call(_next, mails)) is not None:
                    go_on()
                    if isinstance(mail, int):
                        said[mail] = ""
                        continue
                    await room.acquire()
                    taking.create_task(take(mail))
        except BaseExceptionGroup as faults:
            # One says enough: the pass is repeated.
            raise faults.exceptions[0] from None
        return said

    async def _save(
        self,
        connection: asyncpg.Connection,
        folder: str,
        look: FolderLook,
        said: Mapping[int, str | None],
        progress: tuple[int, int],
    ) -> None:
        taken = [uid for uid, native_id in said.items() if native_id is not None]
        places = {uid: native_id for uid, native_id in said.items() if native_id}
        name, validity = self._source.name, look.uid_validity
        done, total = progress
        await store_mailbox.add_read(
            connection, name, folder, uid_validity=validity, read=UidSet.of(taken), done=done, total=total
        )
        if total > CHUNK and done < total:
            await store_mailbox.save_status(connection, name, f"reading {folder}: {done:,} of {total:,} mails")
        if self._options.deleted == "withdraw" and places:
            await store_mailbox.note_places(connection, name, folder, validity, places)
            back = await store_mailbox.take_restored(connection, name, list(places.values()))
            await self._append(connection, [self._lifecycle(InteractionRestored, each) for each in back])

    async def _withdraw(self, folders: Sequence[_Folder], now: datetime) -> None:
        """Withdraw what lies in no folder any more. What was only moved lies in another one by now."""
        name = self._source.name
        async with transaction(self._pool) as connection:
            gone: list[str] = []
            for folder in folders:
                there, validity = UidSet.of(folder.there or ()), folder.look.uid_validity
                gone += await store_mailbox.leave_places(connection, name, folder.name, validity, there)
                await store_mailbox.forget_gone(connection, name, folder.name, validity, there)
            await store_mailbox.note_withdrawn(connection, name, gone)
            await self._append(connection, [self._lifecycle(InteractionWithdrawn, each) for each in gone])
        if gone:
            self._reception.statistics.published(name, len(gone))
            _log.info("mails were deleted and are withdrawn", source=name, number=len(gone), at=now.isoformat())

    def _lifecycle(
        self, form: type[InteractionWithdrawn | InteractionRestored], native_id: str
    ) -> InteractionWithdrawn | InteractionRestored:
        now = self._reception.clock.now()
        origin = self._reception.origin(self._source)
        # A deletion has no order of its own: the clock's stands above whatever the mail itself said.
        revision = origin.revision_fields(micros(now), digest(native_id.encode()).encode(), Authority.DELETION)
        return form(
            interaction=InteractionKey(kind=Kind.MAIL, system=MAIL_SYSTEM, native_id=native_id),
            report=self._options.mailbox,
            revision=Revision(**revision),
            source=self._source.name,
            occurred_at=now,
            mailbox=self._options.mailbox,
            reason="deleted from the mailbox" if form is InteractionWithdrawn else "back in the mailbox",
        )

    async def _append(self, connection: asyncpg.Connection, events: Sequence[Event]) -> None:
        now = self._reception.clock.now()
        await outbox.append(
            connection,
            [
                OutboxMessage(INTERACTIONS, event.interaction.id, event_envelope(event, now), encode(event))
                for event in events
            ],
        )


def _next(mails: Iterator[FetchedMail | int]) -> FetchedMail | int | None:
    return next(mails, None)
