"""One pass over a mailbox: what is new or was missed goes to the broker, then the cursor moves."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

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
from services.ingest.domain.uids import FolderLook, FolderState, UidSet, has_moved, starting_point, unread
from services.ingest.failpoints import IngestFailpoint
from services.ingest.imap import CHUNK, FetchedMail, ImapSession
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
    """A folder during a pass."""

    name: str
    state: FolderState
    look: FolderLook
    lying_there: Sequence[int]
    """UIDs of all mails that are ours; when it is not compared whole, of those above the last one."""


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

    async def run(self, session: ImapSession, go_on: Callable[[], None]) -> None:
        """Read everything that is new or was missed in every folder; the horizon moves to the clock before we began."""
        horizon = self._reception.clock.now()
        whole = [await self._read_folder(session, name, horizon, go_on) for name in self._options.folder]
        if self._options.deleted == "withdraw" and all(each is not None for each in whole):
            await self._withdraw([each for each in whole if each is not None], horizon)
        async with acquire(self._pool) as connection:
            await store.save_pass(connection, self._source.name, horizon, "ok")

    async def _read_folder(
        self, session: ImapSession, name: str, horizon: datetime, go_on: Callable[[], None]
    ) -> _Folder | None:
        """Read a folder; return it when it was compared whole."""
        async with acquire(self._pool) as connection:
            stored = await store_mailbox.load_folder(connection, self._source.name, name)
        look = await session.call(session.look, name)
        state = starting_point(stored, look)
        new = await session.call(session.uids, state.last_uid, None)
        if not self._is_due(state, horizon) and not has_moved(state, look, len(new)):
            ours = await self._ours(session, new, state)
            await self._read(session, _Folder(name, state, look, ours), ours, go_on)
            await self._looked(name, look, max([state.last_uid, *new]))
            return None
        there = await session.call(session.uids, 0, self._options.since)
        folder = _Folder(name, state, look, there)
        left = await self._read(session, folder, unread(state, there), go_on)
        await self._looked(name, look, max([state.last_uid, *new, *there]))
        async with acquire(self._pool) as connection:
            await store_mailbox.save_comparison(
                connection, self._source.name, name, checked_at=horizon, compared=len(there), missing=left
            )
        return folder

    def _is_due(self, state: FolderState, now: datetime) -> bool:
        """Say whether a folder is compared whole; a deletion shows in no other way."""
        if state.checked_at is None or self._options.deleted == "withdraw":
            return True
        return (now - state.checked_at).total_seconds() >= self._options.compare_seconds

    async def _ours(self, session: ImapSession, new: Sequence[int], state: FolderState) -> Sequence[int]:
        if not new or self._options.since is None:
            return new
        return await session.call(session.uids, state.last_uid, self._options.since)

    async def _looked(self, name: str, look: FolderLook, last_uid: int) -> None:
        async with acquire(self._pool) as connection:
            await store_mailbox.save_look(
                connection,
                self._source.name,
                name,
                uid_validity=look.uid_validity,
                last_uid=last_uid,
                total=look.total,
            )
        reach(IngestFailpoint.CURSOR_SAVED)

    async def _read(self, session: ImapSession, folder: _Folder, uids: Sequence[int], go_on: Callable[[], None]) -> int:
        """Read these mails; return how many of them are not with the broker all the same."""
        left = 0
        for start in range(0, len(uids), CHUNK):
            chunk = uids[start : start + CHUNK]
            said = await self._read_chunk(session, folder.name, chunk, go_on)
            taken = [uid for uid, native_id in said.items() if native_id is not None]
            places = {uid: native_id for uid, native_id in said.items() if native_id}
            left += len(said) - len(taken)
            async with transaction(self._pool) as connection:
                reach(IngestFailpoint.MAILS_PUBLISHED)
                await self._save(connection, folder, taken, places, (start + len(chunk), len(uids)))
            reach(IngestFailpoint.CURSOR_SAVED)
        return left

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
        folder: _Folder,
        taken: Sequence[int],
        places: dict[int, str],
        progress: tuple[int, int],
    ) -> None:
        name, validity = self._source.name, folder.look.uid_validity
        done, total = progress
        await store_mailbox.add_read(
            connection, name, folder.name, uid_validity=validity, read=UidSet.of(taken), done=done, total=total
        )
        if total > CHUNK and done < total:
            await store_mailbox.save_status(connection, name, f"reading {folder.name}: {done:,} of {total:,} mails")
        if self._options.deleted == "withdraw" and places:
            await store_mailbox.note_places(connection, name, folder.name, validity, places)
            back = await store_mailbox.take_restored(connection, name, list(places.values()))
            await self._append(connection, [self._lifecycle(InteractionRestored, each) for each in back])

    async def _withdraw(self, folders: Sequence[_Folder], now: datetime) -> None:
        """Withdraw what lies in no folder any more. What was only moved lies in another one by now."""
        name = self._source.name
        async with transaction(self._pool) as connection:
            gone: list[str] = []
            for folder in folders:
                there = UidSet.of(folder.lying_there)
                gone += await store_mailbox.leave_places(connection, name, folder.name, folder.look.uid_validity, there)
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
