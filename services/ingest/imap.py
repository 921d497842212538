"""A mailbox over IMAP (RFC 3501), read only: what lies in a folder. Blocking; call it from a thread."""

import contextlib
import imaplib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

from imap_tools import AND, BaseMailBox, MailBox, MailBoxUnencrypted, MailMessage
from imap_tools.errors import ImapToolsError, MailboxFolderSelectError, MailboxLoginError

from services.ingest.domain.options import ImapOptions
from services.ingest.domain.uids import FolderLook
from services.ingest.sources.mail_mime import MimeReader, ReadMail

CHUNK = 50
"""Mails that are fetched before the cursor moves."""
_PIECE = 512 * 1024
"""Bytes. A larger mail is fetched in pieces, of which only what is read is kept."""
_TIMEOUT_SECONDS = 30
_IDLE_SLICE_SECONDS = 1.0
_IDLE_LONGEST_SECONDS = 25 * 60
_DRAFT = "\\DRAFT"

IMAP_FAULTS = (OSError, ImapToolsError, imaplib.IMAP4.error, EOFError)


class LoginRefused(Exception):
    """The server does not let us in. Trying again soon may lock the mailbox for its owner."""


class FolderMissing(Exception):
    """There is no such folder. `there` are those that there are."""

    def __init__(self, folder: str, there: Sequence[str]) -> None:
        super().__init__(folder)
        self.folder = folder
        self.there = tuple(there)


class _RawMessage(MailMessage):
    """Keeps the bytes as the server has them; parsed and written again they would be others."""

    def __init__(self, fetch_data: list[object]) -> None:
        super().__init__(fetch_data)
        self.raw: bytes = self._get_message_data_parts(fetch_data)[0]


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """One mail of a folder; of a large one what was kept while it was read."""

    uid: int
    raw: bytes | ReadMail


@dataclass(frozen=True, slots=True)
class Fetched:
    """Some mails of a folder, by UID. `drafts` were never sent; what is in neither has gone meanwhile."""

    mails: Sequence[FetchedMail]
    drafts: Sequence[int]


class ImapSession:
    """One connection, kept from pass to pass; by one thread at a time. Providers count logins."""

    def __init__(self, options: ImapOptions, password: str) -> None:
        self._options = options
        self._password = password
        self._box: BaseMailBox | None = None

    def open(self) -> Self:
        """Connect and log in, unless the connection still stands; raises `LoginRefused` or one of `IMAP_FAULTS`."""
        if self._stands():
            return self
        options = self._options
        if options.tls:
            box: BaseMailBox = MailBox(
                options.host, options.port or 993, timeout=_TIMEOUT_SECONDS, ssl_context=ssl.create_default_context()
            )
        else:
            box = MailBoxUnencrypted(options.host, options.port or 143, timeout=_TIMEOUT_SECONDS)
        box.email_message_class = _RawMessage
        self._box = box
        try:
            self._log_in(box)
        except BaseException:
            self.close()
            raise
        return self

    def _log_in(self, box: BaseMailBox) -> None:
        username, password = self._options.username, self._password
        try:
            if username.isascii() and password.isascii():
                box.login(username, password, initial_folder=None)
            else:
                box.login_utf8(username, password, initial_folder=None)
        except (MailboxLoginError, imaplib.IMAP4.error) as refused:
            if isinstance(refused, imaplib.IMAP4.abort):
                raise
            raise LoginRefused from refused

    def _stands(self) -> bool:
        if self._box is None:
            return False
        try:
            self._box.client.noop()
        except IMAP_FAULTS:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Log out; a connection that is broken already is let go."""
        box, self._box = self._box, None
        if box is not None:
            try:
                box.logout()
            except IMAP_FAULTS:
                with contextlib.suppress(OSError):
                    box.client.shutdown()

    @property
    def _open_box(self) -> BaseMailBox:
        if self._box is None:
            raise OSError("the session is closed")
        return self._box

    def look(self, folder: str) -> FolderLook:
        """Open a folder and return how it is; raises `FolderMissing`.

        It is examined, not selected: reading must not change what the person sees as unread.
        """
        box = self._open_box
        try:
            _, counted = box.folder.set(folder, readonly=True)
        except MailboxFolderSelectError:
            raise FolderMissing(folder, [each.name for each in box.folder.list()]) from None
        validity = box.folder.status(folder, ["UIDVALIDITY"])["UIDVALIDITY"]
        return FolderLook(validity, int(counted[0] or b"0"))

    def uids(self, after: int, since: date | None) -> list[int]:
        """Return the UIDs above `after` in the open folder, of mails that came on or after `since`, ascending."""
        # "n:*" names the last mail even when it lies below n.
        uid_range = f"{after + 1}:*"
        criteria = AND(uid=uid_range) if since is None else AND(uid=uid_range, date_gte=since)
        return sorted(uid for uid in map(int, self._open_box.uids(criteria)) if uid > after)

    def fetch(self, uids: Sequence[int]) -> Iterator[FetchedMail | int]:
        """Yield mails of the open folder, oldest first; of a draft its UID. What is gone is left out."""
        box = self._open_box
        names = [str(uid) for uid in uids]
        heads = {
            int(head.uid): head
            for head in box.fetch(uid_list=names, headers_only=True, mark_seen=False, bulk=True)
            if head.uid
        }
        # One by one: fifty mails of ten megabytes at once would be too much to hold.
        for uid, head in sorted(heads.items()):
            if _DRAFT in {flag.upper() for flag in head.flags}:
                yield uid
            elif head.size_rfc822 > _PIECE:
                yield FetchedMail(uid, self._in_pieces(uid, head.size_rfc822))
            else:
                for mail in box.fetch(uid_list=[str(uid)], mark_seen=False):
                    if isinstance(mail, _RawMessage):
                        yield FetchedMail(uid, mail.raw)

    def _in_pieces(self, uid: int, size: int) -> ReadMail:
        client = self._open_box.client
        reader = MimeReader()
        for start in range(0, size, _PIECE):
            answer, said = client.uid("FETCH", str(uid), f"(BODY.PEEK[]<{start}.{_PIECE}>)")
            pieces = [each[1] for each in said or [] if isinstance(each, tuple)]
            if answer != "OK":
                raise OSError(f"the server did not give a piece of a mail: {answer}")
            for piece in pieces:
                reader.feed(piece)
            if not pieces or not pieces[0]:
                break
        return reader.close()

    @property
    def can_idle(self) -> bool:
        """Whether the server tells us by itself when something comes (RFC 2177)."""
        return self._box is not None and "IDLE" in self._box.client.capabilities

    def idle(self, folder: str, seconds: float, enough: Callable[[], bool]) -> None:
        """Wait until something happens in `folder`, for at most `seconds`, or until `enough`; raises `IMAP_FAULTS`."""
        box = self._open_box
        box.folder.set(folder, readonly=True)
        ends = time.monotonic() + min(seconds, _IDLE_LONGEST_SECONDS)
        box.idle.start()  # type: ignore[no-untyped-call]
        try:
            while not enough() and (left := ends - time.monotonic()) > 0:
                asked = time.monotonic()
                wait = min(_IDLE_SLICE_SECONDS, left)
                if box.idle.poll(timeout=wait):
                    return
                if time.monotonic() - asked < wait / 2:
                    # Ready to read and nothing to be read: the connection has ended.
                    raise EOFError
        finally:
            box.idle.stop()  # type: ignore[no-untyped-call]
