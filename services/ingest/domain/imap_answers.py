"""What a server answers to FETCH and SEARCH (RFC 3501), as `imaplib` hands it on: which of it we asked for.

Between the mails, before and after them a server tells what happened in the folder meanwhile: flags that somebody set,
mails that came. That looks like an answer and is none. `imaplib` also keeps what was told earlier and hands it on with
the next answer. So nothing is known by its place in the list, only by what it says of itself.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_BEGINS = re.compile(rb"\d+ \(")
_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)", re.IGNORECASE)
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)", re.IGNORECASE)
_ORIGIN = re.compile(rb"\bBODY\[[^\]]*\]<(\d+)>", re.IGNORECASE)
_QUOTED = re.compile(rb'BODY\[[^\]]*\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_MODSEQ = re.compile(rb"\([^)]*\)")
_ESCAPED = re.compile(rb"\\(.)")


@dataclass(frozen=True, slots=True)
class Fetched:
    """One mail, or its head, of an answer."""

    uid: int
    content: bytes
    size: int
    """Bytes of the whole mail; 0 where the answer does not say."""
    flags: frozenset[str]
    """Upper case."""
    origin: int | None = None
    """Of a piece of a mail where it begins in it, where the answer says so."""


def fetched(said: Sequence[object]) -> Iterator[Fetched]:
    """Yield what has both a UID and a content; what the server says of a mail without its content is left out."""
    about: list[bytes] = []
    content: bytes | None = None
    for part in said:
        head, literal = part if isinstance(part, tuple) else (part, None)
        if not isinstance(head, bytes):
            continue
        if _BEGINS.match(head):
            yield from _one(about, content)
            about, content = [], None
        about.append(head)
        content = content if literal is None else literal
    yield from _one(about, content)


def found_uids(said: Sequence[object]) -> list[int]:
    """Return what a search has found, ascending: on any number of lines, which may say more (RFC 7162, MODSEQ)."""
    words = b" ".join(_MODSEQ.sub(b" ", line) for line in said if isinstance(line, bytes)).split()
    return sorted({int(word) for word in words if word.isdigit()})


def _one(about: Sequence[bytes], content: bytes | None) -> Iterator[Fetched]:
    words = b" ".join(about)
    if content is None and (quoted := _QUOTED.search(words)):
        content = _ESCAPED.sub(rb"\1", quoted[1])
        words = words[: quoted.start(1)] + words[quoted.end(1) :]
    uid = _UID.search(words)
    if content is None or uid is None:
        return
    size, flags, origin = _SIZE.search(words), _FLAGS.search(words), _ORIGIN.search(words)
    yield Fetched(
        int(uid[1]),
        content,
        int(size[1]) if size else 0,
        frozenset(flags[1].decode("ascii", "replace").upper().split()) if flags else frozenset(),
        int(origin[1]) if origin else None,
    )
