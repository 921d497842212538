"""Bodies that carry whole mails, cut down while they come in: attachments are dropped, the rest stays what it was.

A mail of fifty megabytes is a body of seventy. What is held of it is a few megabytes at most, however it is wrapped: as
itself, as JSON, as a form. What comes out is a body of the same kind, smaller, which is then read as any other; so only
providers may be read this way whose proof does not cover the whole body.
"""

import re
from collections.abc import Mapping
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.ingest.domain.mail_mime import KEPT_EVEN_ATTACHED, MimeReader
from services.ingest.doors.bodies import UnreadableForm

LARGEST_BODY = 100 * 1024 * 1024
"""Bytes. A mail of fifty megabytes, in base64, in base64."""
MOST_HELD = 8 * 1024 * 1024
"""Bytes of one body that are held at most."""
_LONGEST_STRING = 1024 * 1024
_LONGEST_TOGETHER = 4 * 1024 * 1024
"""Bytes of long strings; when they are spent, a string is short."""
_SHORT_STRING = 4096
_WHOLE_MAILS = frozenset({b"email", b"body-mime"})
"""Fields that hold a mail as it came."""
# A backslash before a "u" that is no escape is no JSON; whoever reads what is left says so.
_ESCAPE = re.compile(rb"\\u[0-9a-fA-F]{4}|\\[^u]|\\u(?=[0-9a-fA-F]{0,3}[^0-9a-fA-F])", re.DOTALL)


class TooMuch(Exception):
    """More is left than may be held."""


class Trimmer(Protocol):
    """Takes a body in pieces. Raises `TooMuch` for one that stays too large."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def close(self) -> bytes:
        """Return the body."""


def trimmer_of(headers: Mapping[str, str]) -> Trimmer:
    """Return what cuts down a body with these headers, by lower-case names."""
    content_type = headers.get("content-type", "")
    media = content_type.partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        return MultipartTrimmer(boundary) if boundary else PlainTrimmer()
    if media == "application/x-www-form-urlencoded":
        return UrlencodedTrimmer()
    return JsonTrimmer()


class _Bounded:
    """What is left, and no more than may be held."""

    def __init__(self) -> None:
        self._left = bytearray()
        self._together = _LONGEST_TOGETHER
        self._room = 0
        """How much more of the present string, field or file may be kept."""

    def _add(self, content: bytes) -> None:
        self._left += content
        if len(self._left) > MOST_HELD:
            raise TooMuch

    def _begin(self) -> None:
        """Begin a string that may be cut."""
        self._room = min(_LONGEST_STRING, max(self._together, _SHORT_STRING))

    def _add_cut(self, content: bytes) -> None:
        self._room -= len(content)
        self._together -= len(content)
        self._add(content)

    def close(self) -> bytes:
        """Return the body."""
        return bytes(self._left)


class PlainTrimmer(_Bounded):
    """For bodies that nobody can cut: they must be small."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._add(chunk)


class JsonTrimmer(_Bounded):
    """Cuts long strings short; what was JSON stays JSON."""

    def __init__(self) -> None:
        super().__init__()
        self._in_string = False
        self._begun = b""
        """The beginning of an escape whose rest has not come."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        pending, self._begun = self._begun + chunk, b""
        position = 0
        while position < len(pending):
            if self._in_string:
                position = self._through_string(pending, position)
                continue
            quote = pending.find(b'"', position)
            end = len(pending) if quote < 0 else quote + 1
            self._add(pending[position:end])
            position = end
            if quote >= 0:
                self._in_string = True
                self._begin()

    def close(self) -> bytes:
        """Return the body."""
        self._add(self._begun)
        return super().close()

    def _through_string(self, pending: bytes, position: int) -> int:
        """Return where the string ends, or the end of what has come."""
        # Where the next of either stands is asked once, not once for each of the other.
        quote, slash = _find(pending, b'"', position), _find(pending, b"\\", position)
        while position < len(pending):
            stop = min(quote, slash)
            if position < stop:
                self._keep(pending[position:stop])
                position = stop
            elif position == quote:
                self._add(b'"')
                self._in_string = False
                return position + 1
            else:
                escape = _ESCAPE.match(pending, position)
                if escape is None:
                    self._begun = pending[position:]
                    return len(pending)
                self._keep(escape.group(), whole=True)
                position = escape.end()
                slash = _find(pending, b"\\", position)
                if quote < position:
                    quote = _find(pending, b'"', position)
        return len(pending)

    def _keep(self, piece: bytes, *, whole: bool = False) -> None:
        """Keep what there is room for; of an escape all or nothing."""
        if len(piece) <= self._room:
            self._add_cut(piece)
            return
        self._add_cut(b"" if whole else piece[: max(self._room, 0)])
        self._room = 0
        _drop_half_character(self._left)


def _find(content: bytes, what: bytes, position: int) -> int:
    found = content.find(what, position)
    return len(content) if found < 0 else found


def _drop_half_character(left: bytearray) -> None:
    """Remove a last UTF-8 character that is not whole."""
    for back in range(1, min(4, len(left)) + 1):
        byte = left[-back]
        if byte < 0x80:  # noqa: PLR2004 - a character of its own
            return
        if byte >= 0xC0:  # noqa: PLR2004 - the first byte of a character; it says how many there are
            if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4):  # noqa: PLR2004
                del left[-back:]
            return


class UrlencodedTrimmer(_Bounded):
    """Cuts long values short."""

    def __init__(self) -> None:
        super().__init__()
        self._begin()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for number, piece in enumerate(chunk.split(b"&")):
            if number:
                self._add(b"&")
                self._begin()
            if len(piece) <= self._room:
                self._add_cut(piece)
            elif self._room > 0:
                self._add_cut(piece[: self._room])
                self._room = 0
                # A percent sign with one digit behind it would be read as itself.
                half = self._left.find(b"%", len(self._left) - 2)
                if half >= 0:
                    del self._left[half:]


class MultipartTrimmer(_Bounded):
    """Drops the content of files, reads whole mails as mails, and cuts other fields short.

    Raises `UnreadableForm` for what is no form: what would be left might be read as another.
    """

    def __init__(self, boundary: bytes) -> None:
        super().__init__()
        self._boundary = boundary
        self._header = self._value = self._name = b""
        self._kind, self._is_file, self._ended = "", False, False
        self._mail: MimeReader | None = None
        callbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]  # a typed dict of callables

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise UnreadableForm from None

    def close(self) -> bytes:
        """Return the body."""
        if not self._ended:
            raise UnreadableForm
        return super().close()

    def _on_part_begin(self) -> None:
        self._add(b"--" + self._boundary + b"\r\n")
        self._name, self._kind, self._is_file, self._mail = b"", "", False, None

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._add(self._header + b": " + self._value + b"\r\n")
        named = self._header.lower()
        if named == b"content-disposition":
            options = parse_options_header(self._value)[1]
            self._name, self._is_file = options.get(b"name", b""), b"filename" in options
        elif named == b"content-type":
            self._kind = self._value.partition(b";")[0].strip().lower().decode("latin-1")
        self._header = self._value = b""

    def _on_headers_finished(self) -> None:
        self._add(b"\r\n")
        self._begin()
        if self._is_file and self._kind not in KEPT_EVEN_ATTACHED:
            self._room = 0
        elif not self._is_file and self._name in _WHOLE_MAILS:
            self._mail = MimeReader()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        content = data[start:end]
        if self._mail is not None:
            self._mail.feed(content)
        elif self._room > 0:
            self._add_cut(content[: self._room])

    def _on_part_end(self) -> None:
        if self._mail is not None:
            self._add(self._mail.close().kept)
            self._mail = None
        self._add(b"\r\n")

    def _on_end(self) -> None:
        self._add(b"--" + self._boundary + b"--\r\n")
        self._ended = True
