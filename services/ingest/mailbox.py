"""Mailboxes over IMAP, as sources that we poll: one connection each, and what to do when one is broken."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import asyncpg

from services.ingest.domain.mapping import MapMail
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.source import Source
from services.ingest.imap import ImapSession
from services.ingest.mailbox_pass import MailboxPass
from services.ingest.polling import Broken
from services.ingest.reception import Reception

_LISTENS_SECONDS = 60.0
"""Where listening ends in a fault before so long, it begins again after a second, then two, four …: each is a login."""
_FIRST_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.2


def mailbox_readers(
    reception: Reception, sources: Mapping[str, Source], mappings: Mapping[str, MapMail], pool: asyncpg.Pool
) -> Sequence["MailboxReader"]:
    """Return a reader for every mailbox that is configured."""
    return [
        MailboxReader(options, source, MailboxPass(reception, source, options, mappings[source.name], pool))
        for source in sources.values()
        if isinstance(options := source.configuration.options, ImapOptions)
    ]


class MailboxReader:
    """`services.ingest.polling.Reader` of one mailbox."""

    def __init__(self, options: ImapOptions, source: Source, one_pass: MailboxPass) -> None:
        self.name = source.name
        self.poll_seconds = options.poll_seconds
        self._options = options
        self._pass = one_pass
        self._session = ImapSession(options, source.password or "")
        self._well = False
        self._faults = 0
        """How often in a row listening ended in a fault soon after it began."""

    async def run(self, go_on: Callable[[], None]) -> None:
        """Read everything that is new or was missed."""
        self._well = False
        await self._session.call(self._session.open)
        await self._pass.run(self._session, go_on)
        self._well = True

    async def wait(self, seconds: float, enough: Callable[[], bool]) -> bool:
        """Wait for the server's word (RFC 2177), where it gives one."""
        if not (self._well and self._options.idle and self._session.can_idle):
            return False
        began = time.monotonic()
        try:
            await self._session.call(self._session.idle, self._options.folder[0], seconds, enough)
        except Broken:
            # The next pass connects anew, and says what is wrong if it cannot.
            await self._session.end()
            self._faults = 0 if time.monotonic() - began >= _LISTENS_SECONDS else self._faults + 1
            pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._faults - 1, 20), seconds) if self._faults else 0.0
            ends = time.monotonic() + pause
            while time.monotonic() < ends and not enough():
                await asyncio.sleep(_LOOK_SECONDS)
        else:
            self._faults = 0
        return True

    async def close(self) -> None:
        """Log out."""
        await self._session.end()
