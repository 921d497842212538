"""mbox files into mails, one at a time and however large the file is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

LARGEST_LETTER = 64 * 1024 * 1024
"""Bytes of one mail; what lies beyond is attachments, and left unread."""
_LONGEST_LINE = 1024 * 1024
# Programs write "From bob@acme.example Mon Mar  2 09:30:00 2026", some with a zone before or behind the year.
_BEGINNING = re.compile(rb"From \S.{0,200}\d{4}")
_HEADER = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")
_QUOTED = re.compile(rb">+From ")


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of a file. `start` and `end` are places in the file; reading can go on from `end`."""

    raw: bytes
    start: int
    end: int


def split_mbox(stream: IO[bytes], start: int = 0) -> Iterator[Letter]:
    """Yield the mails of an mbox file in its order, from the place `start` on.

    A mail begins with a line `From … year` behind an empty line, when a header follows: a text may begin a line with
    "From", too. Text that was quoted (`>From`) is written as it was.
    """
    stream.seek(start)
    place = begun = start
    kept: list[bytes] = []
    size = 0
    blank = True
    inside = False
    line = stream.readline(_LONGEST_LINE)
    while line:
        after = stream.readline(_LONGEST_LINE)
        if blank and _BEGINNING.match(line) and (_HEADER.match(after) or not after.strip()):
            if inside:
                yield Letter(_mail(kept), begun, place)
            kept, size, begun, inside = [], 0, place, True
        elif inside and size < LARGEST_LETTER:
            text = line[1:] if _QUOTED.match(line) else line
            kept.append(text)
            size += len(text)
        blank = not line.strip(b"\r\n")
        place += len(line)
        line = after
    if inside:
        yield Letter(_mail(kept), begun, place)


def _mail(lines: list[bytes]) -> bytes:
    # The empty line before the next mail belongs to the file.
    if lines and not lines[-1].strip(b"\r\n"):
        lines = lines[:-1]
    return b"".join(lines)
