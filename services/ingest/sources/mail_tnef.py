"""What Outlook wraps into winmail.dat (TNEF, MS-OXTNEF): the message's class and its text. Its attachments stay unread.

Read by ourselves, in one pass over bounded bytes: tnefparse believes the counts that it reads, and four bytes make it
count to 2³² (it is the oracle of our tests).
"""

import struct
from dataclasses import dataclass

from services.ingest.sources.mail_charsets import decoded

_SIGNATURE = 0x223E9F78
_MESSAGE_LEVEL = 1
_MESSAGE_CLASS, _BODY, _MAPI, _CODE_PAGE = 0x8008, 0x800C, 0x9003, 0x9007
_HEAD = struct.Struct("<BHHI")
_MOST_OBJECTS = 2000
_MOST_PROPERTIES = 2000
_PROPERTY_TEXT, _PROPERTY_HTML = 0x1000, 0x1013
_INTERNET_CODE_PAGE = 0x3FDE
_NAMED = 0x8000
_SEVERAL = 0x1000
_STRING, _UNICODE, _BINARY, _OBJECT = 0x001E, 0x001F, 0x0102, 0x000D
_SIZES = {
    0x0002: 4,
    0x000B: 4,
    0x0003: 4,
    0x0004: 4,
    0x000A: 4,
    0x0005: 8,
    0x0006: 8,
    0x0007: 8,
    0x0014: 8,
    0x0040: 8,
    0x0048: 16,
}
"""Bytes of the property types of a fixed size, with what fills them up to four."""


@dataclass(frozen=True, slots=True)
class Tnef:
    """What an envelope says."""

    message_class: str = ""
    """Such as "IPM.Note", "IPM.Microsoft Schedule.MtgReq"."""
    text: str = ""
    html: str = ""

    @property
    def is_calendar(self) -> bool:
        """Whether it is an invitation, or an answer to one."""
        return ".schedule" in self.message_class.lower().replace("microsoft schedule", ".schedule")


def read_tnef(data: bytes) -> Tnef | None:
    """Return what the envelope says, as far as it can be read; None where it is none."""
    if len(data) < 6 or struct.unpack_from("<I", data)[0] != _SIGNATURE:  # noqa: PLR2004 - signature and key
        return None
    charset, message_class, text, mapi = "cp1252", "", b"", b""
    at = 6
    for _ in range(_MOST_OBJECTS):
        if at + _HEAD.size > len(data):
            break
        level, name, _, length = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        # A checksum of two bytes follows.
        at += _HEAD.size + length + 2
        if level != _MESSAGE_LEVEL:
            # Attachments come last.
            break
        if name == _MESSAGE_CLASS:
            message_class = content.rstrip(b"\x00").decode("ascii", "replace")
        elif name == _BODY:
            text = content.rstrip(b"\x00")
        elif name == _CODE_PAGE and len(content) >= 4:  # noqa: PLR2004 - a number of 32 bits
            charset = _charset(struct.unpack_from("<I", content)[0])
        elif name == _MAPI:
            mapi = content
    found = _properties(mapi, charset) if mapi else {}
    return Tnef(message_class, found.get(_PROPERTY_TEXT) or decoded(text, charset), found.get(_PROPERTY_HTML, ""))


def _charset(code_page: int) -> str:
    known = {65001: "utf-8", 20127: "ascii", 20866: "koi8-r", 28605: "iso-8859-15"}
    first_iso, last_iso = 28591, 28603
    if first_iso <= code_page <= last_iso:
        return f"iso-8859-{code_page - first_iso + 1}"
    return known.get(code_page, f"cp{code_page}")


def _properties(data: bytes, charset: str) -> dict[int, str]:
    """Return the text and the HTML among the MAPI properties."""
    texts: dict[int, str] = {}
    html, html_charset = b"", charset
    try:
        at = 4
        for _ in range(min(_MOST_PROPERTIES, struct.unpack_from("<I", data)[0])):
            kind, name = struct.unpack_from("<HH", data, at)
            at = _after_name(data, at + 4, name)
            if name == _INTERNET_CODE_PAGE and kind in _SIZES:
                html_charset = _charset(struct.unpack_from("<I", data, at)[0])
            value, at = _value(data, at, kind)
            if name == _PROPERTY_HTML and kind == _BINARY:
                html = value
            elif name in {_PROPERTY_TEXT, _PROPERTY_HTML} and kind in {_STRING, _UNICODE}:
                texts[name] = decoded(value, charset if kind == _STRING else "utf-16-le").rstrip("\x00")
    except (struct.error, _Unreadable):
        # What was read before it broke off counts.
        pass
    if html:
        texts[_PROPERTY_HTML] = decoded(html, html_charset).rstrip("\x00")
    return texts


class _Unreadable(Exception):
    """A property of a type that nobody knows: where the next one begins cannot be said."""


def _after_name(data: bytes, at: int, name: int) -> int:
    """Return where a property's value begins: named ones carry a GUID and a number or a name."""
    if name < _NAMED:
        return at
    by_name, length = struct.unpack_from("<II", data, at + 16)
    return at + 24 + (_padded(length) if by_name else 0)


def _value(data: bytes, at: int, kind: int) -> tuple[bytes, int]:
    """Return a value's bytes (of several, the first) and where the next property begins."""
    single = kind & ~_SEVERAL
    count = 1
    if kind & _SEVERAL or single in {_STRING, _UNICODE, _BINARY, _OBJECT}:
        (count,) = struct.unpack_from("<I", data, at)
        at += 4
    if (size := _SIZES.get(single)) is not None:
        return data[at : at + size], at + size * count
    if single not in {_STRING, _UNICODE, _BINARY, _OBJECT}:
        raise _Unreadable
    first = b""
    for number in range(min(count, _MOST_PROPERTIES)):
        (length,) = struct.unpack_from("<I", data, at)
        if number == 0:
            first = data[at + 4 : at + 4 + length]
        at += 4 + _padded(length)
    return first, at


def _padded(length: int) -> int:
    return length + -length % 4
