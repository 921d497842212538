"""A mailbox over IMAP (RFC 3501), read only: what lies in a folder. Its methods block: see `ImapSession.call`.

What goes wrong is raised as `Broken`, with what to do about it; nothing of what the server says is passed on.
"""

import asyncio
import contextlib
import imaplib
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from io import BufferedReader
from operator import attrgetter
from typing import ParamSpec, Self, TypeVar, cast

from imap_tools import AND, BaseMailBox, MailBox, MailBoxUnencrypted
from imap_tools.errors import (
    ImapToolsError,
    MailboxFolderSelectError,
    MailboxLoginError,
    MailboxTaggedResponseError,
)

from services.ingest.domain.imap_answers import Fetched, fetched, found_uids
from services.ingest.domain.mail_mime import MimeReader, ReadMail
from services.ingest.domain.options import ImapOptions
from services.ingest.domain.uids import FolderLook
from services.ingest.polling import PATIENCE_SECONDS, Broken, LoginRefused

P = ParamSpec("P")
R = TypeVar("R")

CHUNK = 50
"""Mails that are fetched before the cursor moves."""
_PIECE = 512 * 1024
"""Bytes. A larger mail is fetched in pieces, of which only what is read is kept."""
_TOGETHER = 4 * 1024 * 1024
"""Bytes of small mails that are fetched at once: an answer for each would cost a round trip for each."""
_TIMEOUT_SECONDS = 30
_IDLE_SLICE_SECONDS = 1.0
_IDLE_LONGEST_SECONDS = 25 * 60
_MOST_BREAKS = 3
"""So often the connection may break while one mail is fetched alone before the mail is left for an hour."""
_DRAFT = "\\DRAFT"

_FAULTS = (OSError, ImapToolsError, imaplib.IMAP4.error, EOFError)


@dataclass(frozen=True, slots=True)
class FetchedMail:
    """One mail of a folder; of a large one what was kept while it was read."""

    uid: int
    raw: bytes | ReadMail


class ImapSession:
    """One connection, kept from pass to pass; by one thread at a time. Providers count logins."""

    def __init__(self, options: ImapOptions, password: str) -> None:
        self._options = options
        self._password = password
        self._box: BaseMailBox | None = None
        self._idles = False
        self._thread: ThreadPoolExecutor | None = None
        self._seen: dict[str, tuple[int | None, int]] = {}
        """The UID that the next mail would have had when a folder was looked at, and how many lay in it."""

        self._breaks: dict[tuple[str | None, int], tuple[int, float]] = {}
        """By folder and UID, how often the connection broke while a mail was fetched, and when, in real time."""

    async def call(self, method: Callable[P, R], /, *given: P.args, **named: P.kwargs) -> R:
        """Run one of the methods below in this mailbox's own thread.

        Not in those that all share: a mailbox may listen for half an hour, and a few dozen of them would leave none.
        """
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="imap")
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(method, *given, **named))

    async def end(self) -> None:
        """Log out and let the thread go; `call` begins another one."""
        await self.call(self.close)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    def open(self) -> Self:
        """Connect and log in, unless the connection still stands; raises `LoginRefused` among others."""
        if self._stands():
            return self
        with self._telling():
            self._connect()
        return self

    def _connect(self) -> None:
        options = self._options
        if options.tls:
            box: BaseMailBox = MailBox(
                options.host, options.port or 993, timeout=_TIMEOUT_SECONDS, ssl_context=ssl.create_default_context()
            )
        else:
            box = MailBoxUnencrypted(options.host, options.port or 143, timeout=_TIMEOUT_SECONDS)
        self._box = box
        try:
            self._log_in(box)
            # Many say what they can only to those who have logged in.
            _, said = box.client.capability()
            self._idles = b" IDLE" in b" ".join(each for each in said if isinstance(each, bytes)).upper()
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        host = self._options.host
        try:
            yield
        except ssl.SSLCertVerificationError as fault:
            raise Broken(
                f"the certificate of {host} is not valid; correct host, or the server's certificate"
            ) from fault
        except _FAULTS as fault:
            raise Broken(
                f"{host} cannot be read ({type(fault).__name__}); check host, port, tls and the network"
            ) from fault

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
            raise LoginRefused(
                "the server refuses the login; write a valid password or app password into"
                f" {self._options.password_file} and reload; until then it is tried rarely, so that the mailbox is"
                " not locked"
            ) from None

    def _stands(self) -> bool:
        if self._box is None:
            return False
        try:
            self._box.client.noop()
        except _FAULTS:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Log out; a connection that is broken already is let go."""
        box, self._box = self._box, None
        if box is not None:
            try:
                box.logout()
            except _FAULTS:
                with contextlib.suppress(OSError):
                    box.client.shutdown()

    @property
    def _open_box(self) -> BaseMailBox:
        if self._box is None:
            raise OSError("the session is closed")
        return self._box

    def look(self, folder: str) -> FolderLook:
        """Open a folder and return how it is.

        It is examined, not selected: reading must not change what the person sees as unread.
        """
        with self._telling():
            validity, self._seen[folder] = self._examine(folder)
            uid_next, total = self._seen[folder]
            return FolderLook(validity, total, uid_next)

    def _examine(self, folder: str) -> tuple[int, tuple[int | None, int]]:
        """Open a folder; return its UIDVALIDITY, its next UID where the server says it, and how many mails it has."""
        box = self._open_box
        try:
            _, counted = box.folder.set(folder, readonly=True)
        except MailboxFolderSelectError:
            there = [each.name for each in box.folder.list()]
            if folder in there:
                raise Broken(f"the server does not open {folder!r}; if that lasts, look at the server") from None
            raise Broken(f"there is no folder {folder!r}; name in folder some of: {', '.join(there[:20])}") from None
        # What is open says which folder it is: by its name we might find another one, made anew since.
        said = {name: self._told(name) for name in ("UIDVALIDITY", "UIDNEXT")}
        if None in said.values():
            by_name = box.folder.status(folder, ["UIDVALIDITY", "UIDNEXT"])
            said = {name: by_name.get(name) if told is None else told for name, told in said.items()}
        validity = said["UIDVALIDITY"]
        if validity is None:
            raise Broken(f"the server does not number the mails of {folder!r} for good; another server can be read")
        # It is said again when something comes while the folder is being opened.
        return validity, (said["UIDNEXT"], int(counted[-1] or b"0"))

    def _told(self, name: str) -> int | None:
        _, told = self._open_box.client.response(name)
        last = told[-1]
        return int(last) if isinstance(last, bytes) and last.isdigit() else None

    def uids(self, after: int, since: date | None) -> list[int]:
        """Return the UIDs above `after` in the open folder, of mails that came on or after `since`, ascending."""
        # "n:*" names the last mail even when it lies below n.
        uid_range = f"{after + 1}:*"
        criteria = AND(uid=uid_range) if since is None else AND(uid=uid_range, date_gte=since)
        with self._telling():
            return [uid for uid in self._searched(str(criteria)) if uid > after]

    def still_there(self, uids: Sequence[int]) -> list[int]:
        """Return which of these mails still lie in the open folder, as far as the server knows by now."""
        with self._telling():
            self._open_box.client.noop()
            return self._searched(f"(UID {','.join(map(str, uids))})")

    def _searched(self, criteria: str) -> list[int]:
        client = self._open_box.client
        # What is left of an earlier answer is none to this question. No character set: some servers know none.
        client.response("SEARCH")
        answer, said = client.uid("SEARCH", criteria)
        if answer != "OK":
            raise OSError(f"the server did not search: {answer}")
        return found_uids(said)

    def fetch(self, uids: Sequence[int]) -> Iterator[FetchedMail | int]:
        """Yield mails of the open folder; of a draft its UID. What the server does not give is left out."""
        with self._telling():
            yield from self._fetch(uids)

    def _fetch(self, uids: Sequence[int]) -> Iterator[FetchedMail | int]:
        folder = self._open_box.folder.get()
        suspects = [uid for uid in uids if (folder, uid) in self._breaks]
        yield from self._fetch_together([uid for uid in uids if uid not in suspects])
        for uid in suspects:
            # One of them breaks the connection: alone it keeps no other back.
            number, at = self._breaks[folder, uid]
            if number < _MOST_BREAKS or time.monotonic() - at >= PATIENCE_SECONDS:
                yield from self._fetch_together([uid])
                del self._breaks[folder, uid]

    def _fetch_together(self, uids: Sequence[int]) -> Iterator[FetchedMail | int]:
        together: list[int] = []
        size = 0
        for head in sorted(self._asked("BODY.PEEK[HEADER]", uids), key=attrgetter("uid")):
            if _DRAFT in head.flags:
                yield head.uid
            elif head.size > _PIECE:
                whole = self._in_pieces(head.uid, head.size)
                if whole is not None:
                    yield FetchedMail(head.uid, whole)
            else:
                together.append(head.uid)
                size += head.size
            if size > _TOGETHER:
                yield from self._whole(together)
                together, size = [], 0
        yield from self._whole(together)

    def _whole(self, uids: Sequence[int]) -> Iterator[FetchedMail]:
        for mail in self._asked("BODY.PEEK[]", uids):
            yield FetchedMail(mail.uid, mail.content)

    def _asked(self, what: str, uids: Sequence[int]) -> Sequence[Fetched]:
        """Fetch `what` of these mails together; what the server says of others is left out, and said twice, once."""
        if not uids:
            return ()
        wanted = set(uids)
        answer, said = self._ask(f"({what} UID FLAGS RFC822.SIZE)", uids)
        if answer != "OK":
            return self._one_by_one(what, uids)
        return list({each.uid: each for each in said if each.uid in wanted}.values())

    def _one_by_one(self, what: str, uids: Sequence[int]) -> Sequence[Fetched]:
        """Of mails that the server refuses together, fetch those that it gives: one that is damaged has refused all."""
        given = [mail for uid in uids for mail in self._asked(what, [uid])] if len(uids) > 1 else []
        if len(uids) > 1 and not given:
            raise OSError("the server gives no mail")
        return given

    def _ask(self, items: str, uids: Sequence[int]) -> tuple[str, Sequence[Fetched]]:
        client = self._open_box.client
        # What the server told, or gave before it refused the rest, is no answer to this question.
        client.response("FETCH")
        try:
            answer, said = client.uid("FETCH", ",".join(map(str, uids)), items)
        except (OSError, imaplib.IMAP4.abort):
            folder, now = self._open_box.folder.get(), time.monotonic()
            self._breaks |= {(folder, uid): (self._breaks.get((folder, uid), (0, now))[0] + 1, now) for uid in uids}
            raise
        except imaplib.IMAP4.error:
            return "BAD", ()
        return answer, list(fetched(said or []))

    def _in_pieces(self, uid: int, size: int) -> ReadMail | None:
        """Read a mail of about `size` bytes, for many servers only estimate it; None: it is not given to its end."""
        reader = MimeReader()
        start, at_end = 0, False
        while (piece := self._piece(uid, start)) is not None:
            if piece.origin not in {start, None} or (start and len(piece.content) > _PIECE):
                raise OSError("the server gave another piece of a mail")
            reader.feed(piece.content)
            start += len(piece.content)
            at_end = len(piece.content) < _PIECE
            whole = piece.origin is None and len(piece.content) != _PIECE
            if not piece.content or whole or (at_end and start >= size):
                return reader.close()
        # Behind the end there is nothing to be given.
        return reader.close() if at_end else None

    def _piece(self, uid: int, start: int) -> Fetched | None:
        answer, said = self._ask(f"(BODY.PEEK[]<{start}.{_PIECE}>)", [uid])
        return next((each for each in said if each.uid == uid), None) if answer == "OK" else None

    @property
    def can_idle(self) -> bool:
        """Whether the server tells us by itself when something comes (RFC 2177)."""
        return self._box is not None and self._idles

    def idle(self, folder: str, seconds: float, enough: Callable[[], bool]) -> None:
        """Wait until something happens in `folder`, for at most `seconds`, or until `enough`."""
        with self._telling():
            box = self._open_box
            if self._examine(folder)[1] != self._seen.get(folder):
                # It came after we looked: of that the server says nothing more.
                return
            ends = time.monotonic() + min(seconds, _IDLE_LONGEST_SECONDS)
            came = _begin(box)
            try:
                if not came:
                    _listen(box, ends, enough)
            finally:
                box.idle.stop()  # type: ignore[no-untyped-call]


def _begin(box: BaseMailBox) -> bool:
    """Begin to listen; return whether the server told of something before it did. Raises when it refuses."""
    client = box.client
    try:
        box.idle.start()  # type: ignore[no-untyped-call]
    except MailboxTaggedResponseError:
        while None in client.tagged_commands.values():
            if client._get_response() is None:  # noqa: SLF001 - nothing else reads a line
                return True
        raise
    return _has_more(client)


def _has_more(client: imaplib.IMAP4) -> bool:
    """Say whether the server told more in one breath: that is read already, and the connection looks idle."""
    lines, patience = cast("BufferedReader", client.file), client.sock.gettimeout()
    client.sock.settimeout(0)
    try:
        return bool(lines.peek(1))
    except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
        return False
    finally:
        client.sock.settimeout(patience)


def _listen(box: BaseMailBox, ends: float, enough: Callable[[], bool]) -> None:
    while not enough() and (left := ends - time.monotonic()) > 0:
        asked = time.monotonic()
        wait = min(_IDLE_SLICE_SECONDS, left)
        if box.idle.poll(timeout=wait):
            return
        if time.monotonic() - asked < wait / 2:
            # Ready to read and nothing to be read: the connection has ended.
            raise EOFError
