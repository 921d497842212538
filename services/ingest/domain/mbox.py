"""mbox files into mails, one at a time and however large the file, or one of its mails, is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from services.ingest.domain.mail_mime import MimeReader, ReadMail

MOST_HELD = 1024 * 1024
"""Bytes of a mail that are held as they are; a larger one is read while it comes, without its attachments."""
_LONGEST_LINE = 256 * 1024
_CHUNK = 64 * 1024
# Programs write "From bob@acme.example Mon Mar  2 09:30:00 2026", some with a zone before or behind the year.
_BEGINNING = re.compile(rb"From \S.{0,200}\d{4}")
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")
_QUOTED = re.compile(rb">+From ")

AnyMail = bytes | ReadMail
"""A mail as it was; a large one as it was read, whose bytes of attachments are gone."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of a file. `start` and `end` are places in the file; reading can go on from `end`."""

    mail: AnyMail
    start: int
    end: int


class _Coming:
    """A mail that is coming, in pieces of bounded size."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self._reader: MimeReader | None = None

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._held.append(piece)
        self._size += len(piece)
        if self._size > (MOST_HELD if self._reader is None else _CHUNK):
            if self._reader is None:
                self._reader = MimeReader()
            self._pass_on(self._reader)

    def mail(self) -> AnyMail:
        """Return the whole."""
        if self._reader is None:
            return b"".join(self._held)
        self._pass_on(self._reader)
        return self._reader.close()

    def _pass_on(self, reader: MimeReader) -> None:
        reader.feed(b"".join(self._held))
        self._held, self._size = [], 0


def read_mail(stream: IO[bytes]) -> AnyMail:
    """Return the one mail that a file is."""
    coming = _Coming()
    while piece := stream.read(_CHUNK):
        coming.add(piece)
    return coming.mail()


def split_mbox(stream: IO[bytes], start: int = 0) -> Iterator[Letter]:
    """Yield the mails of an mbox file in its order, from the place `start` on.

    A mail begins with a line `From … year` behind an empty line, when a header follows: a text may begin a line with
    "From", too. Text that was quoted (`>From`) is written as it was.
    """
    stream.seek(start)
    place = begun = start
    coming = _Coming()
    # Held back: the empty line before the next mail belongs to the file.
    last = b""
    blank = True
    inside = False
    line = stream.readline(_LONGEST_LINE)
    while line:
        after = stream.readline(_LONGEST_LINE)
        if blank and _BEGINNING.match(line) and (_HEADER.match(after) or not after.strip()):
            if inside:
                yield _letter(coming, last, begun, place)
            coming, last, begun, inside = _Coming(), b"", place, True
        elif inside:
            if last:
                coming.add(last)
            last = line[1:] if _QUOTED.match(line) else line
        blank = not line.strip(b"\r\n")
        place += len(line)
        line = after
    if inside:
        yield _letter(coming, last, begun, place)


def _letter(coming: _Coming, last: bytes, begun: int, place: int) -> Letter:
    if last.strip(b"\r\n"):
        coming.add(last)
    return Letter(coming.mail(), begun, place)
