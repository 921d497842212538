"""A mailbox over IMAP (RFC 3501), read only: what is new in a folder. Blocking; call it from a thread."""

import contextlib
import imaplib
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

from imap_tools import AND, BaseMailBox, MailBox, MailBoxUnencrypted, MailMessage
from imap_tools.errors import ImapToolsError

from services.ingest.domain.options import ImapOptions
from services.ingest.store import Cursor

LARGEST_MAIL = 10 * 1024 * 1024
"""Bytes. Of larger mails only the headers are read: who wrote to whom and when is what counts."""
_CHUNK = 50
_TIMEOUT_SECONDS = 30
_NOT_WRITTEN = frozenset({"\\DRAFT", "\\DELETED"})

IMAP_FAULTS = (OSError, ImapToolsError, imaplib.IMAP4.error, EOFError)


class _RawMessage(MailMessage):
    """Keeps the bytes as the server has them; parsed and written again they would be others."""

    def __init__(self, fetch_data: list[object]) -> None:
        super().__init__(fetch_data)
        self.raw: bytes = self._get_message_data_parts(fetch_data)[0]


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """One mail of a folder."""

    uid: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Fetched:
    """Some new mails of a folder, by UID, and the cursor that holds once they are all with the broker."""

    mails: Sequence[FetchedMail]
    cursor: Cursor


class ImapSession:
    """One connection, kept from pass to pass; by one thread at a time. Providers count logins."""

    def __init__(self, options: ImapOptions, password: str) -> None:
        self._options = options
        self._password = password
        self._box: BaseMailBox | None = None

    def open(self) -> Self:
        """Connect and log in, unless the connection still stands; raises one of `IMAP_FAULTS`."""
        if self._stands():
            return self
        options = self._options
        host, port = options.host, options.port
        if options.tls:
            box: BaseMailBox = MailBox(
                host, port or 993, timeout=_TIMEOUT_SECONDS, ssl_context=ssl.create_default_context()
            )
        else:
            box = MailBoxUnencrypted(host, port or 143, timeout=_TIMEOUT_SECONDS)
        box.email_message_class = _RawMessage
        self._box = box
        try:
            box.login(options.username, self._password, initial_folder=None)
        except BaseException:
            self.close()
            raise
        return self

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

    def new_mails(self, folder: str, cursor: Cursor | None, since: date | None) -> Iterator[Fetched]:
        """Yield what is new in `folder`, in chunks, oldest first. A changed UIDVALIDITY makes everything new again."""
        box = self._box
        if box is None:
            raise OSError("the session is closed")
        # Examined, not selected: reading must not change what the person sees as unread.
        box.folder.set(folder, readonly=True)
        validity = box.folder.status(folder, ["UIDVALIDITY"])["UIDVALIDITY"]
        known = cursor.last_uid if cursor is not None and cursor.uid_validity == validity else 0
        uids = [uid for uid in _uids(box, known, since) if uid > known]
        for start in range(0, len(uids), _CHUNK):
            chunk = uids[start : start + _CHUNK]
            yield Fetched(tuple(_fetch(box, chunk)), Cursor(validity, chunk[-1]))


def _uids(box: BaseMailBox, known: int, since: date | None) -> list[int]:
    # "n:*" names the last mail even when it lies below n; the caller leaves it out.
    uid_range = f"{known + 1}:*"
    criteria = AND(uid=uid_range) if since is None else AND(uid=uid_range, date_gte=since)
    return sorted(int(uid) for uid in box.uids(criteria))


def _fetch(box: BaseMailBox, uids: Sequence[int]) -> Iterator[FetchedMail]:
    names = [str(uid) for uid in uids]
    heads = {
        int(head.uid): head
        for head in box.fetch(uid_list=names, headers_only=True, mark_seen=False, bulk=True)
        if head.uid
    }
    wanted = {uid: head for uid, head in heads.items() if not _NOT_WRITTEN & {flag.upper() for flag in head.flags}}
    small = [str(uid) for uid, head in wanted.items() if head.size_rfc822 <= LARGEST_MAIL]
    whole = {}
    if small:
        # One by one: fifty mails of ten megabytes at once would be too much to hold.
        whole = {int(mail.uid): mail for mail in box.fetch(uid_list=small, mark_seen=False) if mail.uid}
    for uid in sorted(wanted):
        mail = whole.get(uid, wanted[uid])
        if isinstance(mail, _RawMessage):
            yield FetchedMail(uid, mail.raw)
