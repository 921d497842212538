"""Reading a mail (RFC 5322, MIME) that may be broken in any way. Nothing here raises; what cannot be read is left out.

The standard library's newer policy parses headers eagerly and raises on some that real mail carries (a Message-ID in
brackets, bytes that are no text), so mails are read with the older, tolerant one and decoded here.
"""

import binascii
import email.utils
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.policy import compat32
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from selectolax.lexbor import LexborHTMLParser

LONGEST_BODY = 100_000
"""Characters of text that are looked at; a mail's own words stand at its top."""
# Later releases of Python read addresses strictly unless told otherwise; earlier ones cannot be told.
_TOLERANT: dict[str, Any] = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x1f\x7f]{3,900}>")
_MOST_IDS = 100
_MOST_PARTS = 500
_MOST_ADDRESSES = 1000
_MOST_HEADER = 100_000
_FALLBACKS = {
    "unicode-1-1-utf-7": "utf-7",
    "ansi_x3.110-1983": "latin-1",
    "x-unknown": "utf-8",
    "iso-8859-8-i": "iso-8859-8",
}
_QUOTES = "blockquote, .gmail_quote, .gmail_extra, #divRplyFwdMsg ~ *, #divRplyFwdMsg, .moz-cite-prefix, .yahoo_quoted"
_NO_TEXT = "script, style, head, title, template, noscript"
_BLOCKS = "p, div, br, tr, li, h1, h2, h3, h4, h5, h6, pre, table, section"


class Mail:
    """One mail."""

    def __init__(self, raw: bytes) -> None:
        self._message: Message = message_from_bytes(raw, policy=compat32)
        # Read past the policy, which would turn bytes that are no ASCII into question marks.
        self._headers: dict[str, list[str]] = {}
        for name, value in self._message.raw_items():
            self._headers.setdefault(name.lower(), []).append(_unfold(_as_text(value)))

    def values(self, name: str) -> list[str]:
        """Return the decoded values of all headers of this name, unfolded, topmost first."""
        return [_decoded(value) for value in self._raw(name)]

    def value(self, name: str) -> str:
        """Return the decoded value of the first header of this name, or ""."""
        return next(iter(self.values(name)), "")

    def plain(self, name: str) -> str:
        """Return the first header of this name in lower case, for headers that hold tokens."""
        return self.value(name).strip().lower()

    def addresses(self, name: str) -> list[tuple[str, str]]:
        """Return (name, address) of a header of addresses, in order. Addresses are as written."""
        # Addresses are read before encoded words are decoded: a decoded comma would split them.
        raw = [value[:_MOST_HEADER] for value in self._raw(name)]
        try:
            pairs = getaddresses(raw, **_TOLERANT)[:_MOST_ADDRESSES]
        except (ValueError, IndexError, RecursionError):
            return []
        return [(_decoded(display), address) for display, address in pairs if "@" in address]

    def moment(self, text: str) -> datetime | None:
        """Return the date of an RFC 5322 header, in UTC; one without a zone is read as UTC."""
        try:
            moment = parsedate_to_datetime(text.strip()[:200])
            aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            return aware.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None

    def received_at(self) -> datetime | None:
        """Return when the last server on the way, the mailbox's own, took the mail."""
        newest = next(iter(self.values("received")), "")
        return self.moment(newest.rpartition(";")[2]) if ";" in newest else None

    def message_ids(self, *names: str) -> list[str]:
        """Return the distinct Message-IDs in these headers, in order, the last hundred."""
        found = [
            match for name in names for value in self._raw(name) for match in _MESSAGE_ID.findall(value[:_MOST_HEADER])
        ]
        return list(dict.fromkeys(found))[-_MOST_IDS:]

    def content_type(self) -> str:
        """Return the media type of the whole mail."""
        return _type_of(self._message)

    def parameter(self, name: str) -> str:
        """Return a parameter of Content-Type in lower case, or ""."""
        return _parameter(self._message, name).lower()

    def parts(self) -> Iterator[Message]:
        """Yield the parts that hold something, depth first, the first 500; attached mails stay closed."""
        waiting: list[Message] = [self._message]
        for _ in range(_MOST_PARTS):
            if not waiting:
                return
            part = waiting.pop(0)
            children = part.get_payload()
            if isinstance(children, list) and _type_of(part).startswith("multipart/"):
                waiting[:0] = [child for child in children if isinstance(child, Message)]
            else:
                yield part

    def types(self) -> list[str]:
        """Return the media types of all parts."""
        return [_type_of(part) for part in self.parts()]

    def text(self) -> str:
        """Return the mail's text: its first plain part, else its first HTML part as text; "" when it has none."""
        html = ""
        for part in self.parts():
            kind = _type_of(part)
            if _is_attachment(part) or kind not in {"text/plain", "text/html"}:
                continue
            content = text_of(part)
            if kind == "text/plain" and content.strip():
                return content
            html = html or content
        return text_of_html(html) if html else ""

    def delivery_reports(self) -> list[list[tuple[str, str]]]:
        """Return the per-recipient fields of a delivery status notification (RFC 3464), as (lower-case name, value)."""
        for part in self.parts():
            if _type_of(part) == "message/delivery-status":
                blocks = part.get_payload()
                opened = [block for block in blocks if isinstance(block, Message)] if isinstance(blocks, list) else []
                return [[(name.lower(), str(value)) for name, value in block.items()] for block in opened[:_MOST_PARTS]]
        return []

    def body_bytes(self) -> bytes:
        """Return what stands below the headers, decoded where it can be, for a digest."""
        return b"\n".join(_payload(part) for part in self.parts())

    def _raw(self, name: str) -> list[str]:
        return self._headers.get(name, [])


def text_of(part: Message) -> str:
    """Return the text of a part, whatever its charset claims to be."""
    payload = _payload(part)[: 4 * LONGEST_BODY]
    charset = _parameter(part, "charset").strip().lower() or "utf-8"
    for candidate in (_FALLBACKS.get(charset, charset), "utf-8"):
        try:
            return payload.decode(candidate)[:LONGEST_BODY]
        except (LookupError, ValueError, TypeError):
            continue
    return payload.decode("latin-1")[:LONGEST_BODY]


def text_of_html(html: str) -> str:
    """Return the words of an HTML mail, without what it quotes, one line per block."""
    try:
        tree = LexborHTMLParser(html[:LONGEST_BODY])
        for unwanted in tree.css(f"{_NO_TEXT}, {_QUOTES}"):
            unwanted.decompose()
        for block in tree.css(_BLOCKS):
            block.insert_before("\n")
        words = tree.body.text(separator="") if tree.body is not None else ""
    except (ValueError, RuntimeError):
        return ""
    lines = (" ".join(line.split()) for line in words.replace("\xa0", " ").splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _payload(part: Message) -> bytes:
    try:
        payload = part.get_payload(decode=True)
    except (ValueError, binascii.Error, LookupError, AttributeError):
        payload = None
    if isinstance(payload, bytes):
        return payload
    return str(part.get_payload()).encode("utf-8", "replace")


def _type_of(part: Message) -> str:
    try:
        return part.get_content_type()
    except (ValueError, LookupError, AttributeError):
        return "text/plain"


def _parameter(part: Message, name: str) -> str:
    try:
        value = part.get_param(name, "")
    except (ValueError, LookupError, AttributeError):
        return ""
    if isinstance(value, tuple):
        return str(value[2])
    return str(value or "")


def _is_attachment(part: Message) -> bool:
    return _as_text(part.get("content-disposition", "")).strip().lower().startswith("attachment")


def _as_text(value: object) -> str:
    """Bytes that are no ASCII arrive as surrogates; nearly always they are UTF-8, else they are Latin-1."""
    raw = str(value)
    try:
        octets = raw.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return raw.encode("utf-8", "replace").decode("utf-8", "replace")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def _unfold(value: str) -> str:
    return " ".join(value.replace("\x00", "").splitlines())


def _decoded(value: str) -> str:
    """Decode the encoded words (RFC 2047) in a header; what cannot be decoded stays as it is written."""
    if "=?" not in value:
        return value.strip()
    try:
        chunks: Sequence[tuple[bytes | str, str | None]] = decode_header(value)
    except (HeaderParseError, ValueError, binascii.Error):
        return value.strip()
    return "".join(_chunk(content, charset) for content, charset in chunks).strip()


def _chunk(content: bytes | str, charset: str | None) -> str:
    if isinstance(content, str):
        return content
    name = (charset or "utf-8").lower()
    for candidate in (_FALLBACKS.get(name, name), "utf-8"):
        try:
            return content.decode(candidate)
        except (LookupError, ValueError):
            continue
    return content.decode("latin-1")
