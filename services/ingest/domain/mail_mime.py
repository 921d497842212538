"""Reading the structure of a mail (MIME, RFC 2045) as it comes in, in bounded memory: of attachments the headers only.

A mail of fifty megabytes holds a few kilobytes that say something to us. The reader takes chunks of any size, follows
the boundaries, and keeps headers, texts, calendars, delivery reports and signed envelopes, each within a limit. What it
kept is a mail itself (`ReadMail.kept`): read again, it says the same. The standard library reads header blocks; its own
way of reading bodies holds all of a mail several times over, and recurses as deep as a sender likes.

Nothing here raises, whatever the bytes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from hashlib import blake2b

LARGEST_TEXT = 512 * 1024
"""Bytes of one text, as it is transferred."""
_LARGEST_KEPT = 2 * 1024 * 1024
"""Bytes of all bodies together."""
_LARGEST_HEADERS = 1024 * 1024
"""Bytes of the mail's own headers: ten thousand recipients fit."""
_LARGEST_PART_HEADERS = 64 * 1024
_MOST_PARTS = 500
_DEEPEST = 20
_SLICE = 64 * 1024
_LONGEST_BOUNDARY = 1000
_WITH_PARAMETERS = ("content-type", "content-disposition")
_LONGEST_WITH_PARAMETERS = 4000
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|[ \t]|>?From ")
_LIMITS = {
    "text/plain": LARGEST_TEXT,
    "text/html": LARGEST_TEXT,
    "text/enriched": LARGEST_TEXT,
    "text/calendar": 256 * 1024,
    "application/ics": 256 * 1024,
    "message/delivery-status": 64 * 1024,
    "message/global-delivery-status": 64 * 1024,
    "message/disposition-notification": 64 * 1024,
    "message/feedback-report": 64 * 1024,
    "text/rfc822-headers": 64 * 1024,
    "application/ms-tnef": LARGEST_TEXT,
    "application/vnd.ms-tnef": LARGEST_TEXT,
    "application/pkcs7-mime": LARGEST_TEXT,
    "application/x-pkcs7-mime": LARGEST_TEXT,
}
"""How much is kept of the parts that say something; of all others nothing."""
KEPT_EVEN_ATTACHED = frozenset(_LIMITS) - {"text/plain", "text/html", "text/enriched"}
"""Types of what says something even as an attachment."""
_OWN_TEXT = 64 * 1024
"""What is kept of a multipart outside of its parts: all there is when its boundary never comes."""
MAILS = frozenset({"message/rfc822", "message/global", "message/news"})
JOURNAL = "x-ms-journal-report"
"""A mail server's copy of a mail for an archive: the mail is attached to a list of who had it."""
_ENCODED = frozenset({"base64", "quoted-printable"})


@dataclass(eq=False, slots=True)
class Part:
    """One entity: its headers, where its body lies in what was kept, and the entities inside."""

    headers: Message
    kind: str
    """Media type in lower case."""
    kept: bytearray = field(repr=False)
    start: int = 0
    end: int = 0
    inside: bool = False
    """Whether it belongs to a mail that is attached to the mail."""
    children: list["Part"] = field(default_factory=list)
    """Of a multipart its parts, of an attached mail that mail."""

    @property
    def body(self) -> bytes:
        """What was kept of the body, as it was transferred."""
        return bytes(self.kept[self.start : self.end])

    def header(self, name: str) -> str:
        """Return the first header of this name as it is written, or ""."""
        return str(self.headers.get(name, ""))

    def parameter(self, name: str, header: str = "content-type") -> str:
        """Return a parameter of a header, or ""."""
        try:
            value = self.headers.get_param(name, "", header)
        except (ValueError, LookupError, AttributeError, TypeError):
            return ""
        return str(value[2] if isinstance(value, tuple) else value or "")

    @property
    def attached(self) -> bool:
        """Whether it says that it is no text of the mail's own."""
        return self.header("content-disposition").strip().lower().startswith("attachment")

    def leaves(self) -> Iterator["Part"]:
        """Yield the parts that hold something, depth first; attached mails stay closed."""
        waiting = [self]
        while waiting:
            part = waiting.pop()
            if part.children and part.kind.startswith("multipart/"):
                waiting += reversed(part.children)
            else:
                yield part


@dataclass(frozen=True, slots=True)
class ReadMail:
    """A mail that was read: all that matters of it, and what it was as a whole."""

    root: Part
    kept: bytes
    """The mail without the bytes of attachments; a mail itself."""
    size: int
    """Bytes that came."""
    digest: str
    """Of the bytes that came, as `contracts.ids.digest`."""


class MimeReader:
    """Reads one mail: `feed` it in pieces, then `close`. However it is cut into pieces, it reads the same."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._size = 0
        self._kept = bytearray()
        self._left = _LARGEST_KEPT
        self._parts = 0
        self._full = False
        """Whether what comes now is one part too many, and all that follows."""
        self._buffer = b""
        self._line_begins = True
        self._boundaries: list[tuple[bytes, Part]] = []
        self._part: Part | None = None
        """The one whose body is being read; None: headers are."""
        self._allowance = 0
        self._sniffing = False
        self._block = bytearray()
        self._parent: Part | None = None
        self._root: Part | None = None
        self._journal = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(chunk)
        self._size += len(chunk)
        if self._full:
            return
        for start in range(0, len(chunk), _SLICE):
            self._buffer += chunk[start : start + _SLICE]
            self._consume(last=False)

    def close(self) -> ReadMail:
        """Return the mail."""
        self._consume(last=True)
        self._end_all_headers()
        if not self._full:
            self._end_body(at_boundary=False)
        root = self._root if self._root is not None else _entity(b"", self._kept, None)
        return ReadMail(root, bytes(self._kept), self._size, self._hash.hexdigest())

    def _consume(self, *, last: bool) -> None:
        while self._buffer and not self._full:
            read = self._read_header(last=last) if self._part is None else self._read_body(last=last)
            if not read:
                return

    def _read_header(self, *, last: bool) -> bool:
        """Read one line; return False when it has not come whole."""
        end = self._buffer.find(b"\n") + 1
        if not end:
            if not last and len(self._buffer) <= _LARGEST_HEADERS:
                return False
            end = len(self._buffer)
        line = self._buffer[:end]
        began, self._line_begins = self._line_begins, line.endswith(b"\n")
        if began and self._boundaries and line.startswith(b"--") and self._is_boundary(line):
            self._end_all_headers()
            self._buffer = self._buffer[end:]
            self._meet(line)
            return True
        if began and not _HEADER_LINE.match(line):
            self._end_headers()
            if line.strip(b"\r\n"):
                # The empty line is missing: it is added, for whoever reads what was kept. The line is the body's first.
                self._line_begins = True
                return True
            self._buffer = self._buffer[end:]
            return True
        most = _LARGEST_HEADERS if self._root is None else _LARGEST_PART_HEADERS
        if len(self._block) + len(line) > most:
            # Nobody means so many headers to be read as such.
            self._end_headers()
            self._line_begins = True
            return True
        self._block += line
        self._buffer = self._buffer[end:]
        return True

    def _end_all_headers(self) -> None:
        """End the headers that are being read, and those of the attached mail that would have followed them."""
        while self._part is None:
            self._end_headers()

    def _end_headers(self) -> None:
        """Begin the body of the entity whose headers have been read."""
        block = bytes(self._block)
        self._block.clear()
        if block and not block.endswith(b"\n"):
            block += b"\r\n"
        part = _entity(block, self._kept, self._parent)
        if self._root is None:
            self._root = part
            self._journal = JOURNAL in part.headers
        elif self._parent is not None:
            self._parent.children.append(part)
        self._kept += block + (b"\n" if block.endswith(b"\n") and not block.endswith(b"\r\n") else b"\r\n")
        self._begin_body(part)

    def _begin_body(self, part: Part) -> None:
        self._part = part
        part.start = part.end = len(self._kept)
        self._allowance, self._sniffing = 0, False
        if part.kind.startswith("multipart/"):
            self._allowance = min(_OWN_TEXT, self._left)
            boundary = part.parameter("boundary").encode("utf-8", "surrogateescape").rstrip()
            if len(self._boundaries) >= _DEEPEST:
                self._allowance = 0
            elif boundary:
                self._boundaries.append((b"--" + boundary, part))
            else:
                self._sniffing = True
        elif part.kind in MAILS and len(self._boundaries) < _DEEPEST and self._parts < _MOST_PARTS:
            if part.header("content-transfer-encoding").strip().lower() not in _ENCODED:
                self._begin_entity(part)
        elif part.inside and not self._journal:
            # Mails attached to mails: who wrote them, and no more.
            return
        elif part.kind in KEPT_EVEN_ATTACHED or (part.kind in _LIMITS and not part.attached) or _is_tnef(part):
            self._allowance = min(_LIMITS.get(part.kind, LARGEST_TEXT), self._left)

    def _begin_entity(self, parent: Part) -> None:
        """Read headers next."""
        self._parts += 1
        self._parent, self._part = parent, None

    def _read_body(self, *, last: bool) -> bool:
        """Read up to the next line that may be a boundary; return False when more bytes must come first."""
        buffer = self._buffer
        if self._line_begins and buffer.startswith(b"-") and (len(buffer) > 1 or not last):
            if len(buffer) == 1:
                return False
            if buffer.startswith(b"--"):
                return self._read_dashes(last=last)
        found = buffer.find(b"\n--")
        # What might be the beginning of one waits for the rest.
        end = found + 1 if found >= 0 else len(buffer) if last else buffer.rfind(b"\n", -2) + 1 or len(buffer)
        self._keep(buffer[:end])
        self._line_begins = buffer[end - 1 : end] == b"\n"
        self._buffer = buffer[end:]
        return True

    def _read_dashes(self, *, last: bool) -> bool:
        end = self._buffer.find(b"\n") + 1
        if not end:
            if not last and len(self._buffer) <= _LONGEST_BOUNDARY:
                return False
            end = len(self._buffer)
        line, self._buffer = self._buffer[:end], self._buffer[end:]
        self._line_begins = line.endswith(b"\n")
        if self._sniffing and self._part is not None and _may_part(line) and not self._is_boundary(line):
            # Its headers do not say what parts it; the first such line does.
            self._boundaries.append((line.rstrip(), self._part))
            self._sniffing = False
        if self._is_boundary(line):
            self._end_body(at_boundary=True)
            self._meet(line)
        else:
            self._keep(line)
        return True

    def _is_boundary(self, line: bytes) -> bool:
        return self._level(line) is not None

    def _level(self, line: bytes) -> int | None:
        given = line.rstrip()
        for level in range(len(self._boundaries) - 1, -1, -1):
            boundary = self._boundaries[level][0]
            if given == boundary or (given[-2:] == b"--" and given[:-2] == boundary):
                return level
        return None

    def _meet(self, line: bytes) -> None:
        """Go on after a boundary: with the next part, or behind the last."""
        level = self._level(line)
        if level is None:
            return
        boundary, multipart = self._boundaries[level]
        if self._parts >= _MOST_PARTS:
            self._full, self._buffer = True, b""
            # Whatever is open has been ended; headers that are being read belong to nobody.
            self._part = multipart
            return
        del self._boundaries[level + 1 :]
        if self._kept and not self._kept.endswith(b"\n"):
            self._kept += b"\r\n"
        self._kept += line if line.endswith(b"\n") else line + b"\r\n"
        if line.rstrip() == boundary:
            self._begin_entity(multipart)
            return
        del self._boundaries[level]
        # An epilogue.
        self._part, self._allowance = _entity(b"", self._kept, None), 0

    def _keep(self, content: bytes) -> None:
        taken = content[: self._allowance]
        self._kept += taken
        self._allowance -= len(taken)
        self._left -= len(taken)

    def _end_body(self, *, at_boundary: bool) -> None:
        """The line break before a boundary belongs to the boundary."""
        part = self._part
        if part is None or part.children or part.start > len(self._kept):
            return
        end = len(self._kept)
        if at_boundary and end > part.start and self._kept[end - 1] == ord("\n"):
            end -= 2 if end - 2 >= part.start and self._kept[end - 2] == ord("\r") else 1
        part.end = end


def read_mail(raw: bytes) -> ReadMail:
    """Return the mail that these bytes are."""
    reader = MimeReader()
    reader.feed(raw)
    return reader.close()


def _entity(block: bytes, kept: bytearray, parent: Part | None) -> Part:
    headers = message_from_bytes(block, policy=compat32)
    for name in _WITH_PARAMETERS:
        # The standard library reads parameters in quadratic time.
        if len(value := str(headers.get(name, ""))) > _LONGEST_WITH_PARAMETERS:
            headers.replace_header(name, value[:_LONGEST_WITH_PARAMETERS])
    if parent is not None and parent.kind == "multipart/digest":
        headers.set_default_type("message/rfc822")
    try:
        kind = headers.get_content_type()
    except (ValueError, LookupError, AttributeError, TypeError):
        kind = "text/plain"
    return Part(headers, kind, kept, inside=parent is not None and (parent.inside or parent.kind in MAILS))


def _may_part(line: bytes) -> bool:
    return len(line) <= _LONGEST_BOUNDARY and line.strip(b"-\r\n \t") != b""


def _is_tnef(part: Part) -> bool:
    if part.kind != "application/octet-stream":
        return False
    name = part.parameter("name") or part.parameter("filename", "content-disposition")
    return name.strip().lower() == "winmail.dat"
