"""A mail that a provider took apart, put together again: from then on it is read as every mail is.

What the provider tells of its headers decides who the mail is: with its Message-ID, From and Date it is the same
interaction as the copy in a mailbox.
"""

import re
from base64 import encodebytes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from email.message import Message

from services.ingest.sources.mail_charsets import decoded

_BOUNDARY = "=_rebuilt"
_NAME = re.compile(r"[!-9;-~]{1,100}")
_BREAKS = re.compile(r"[\r\n\x00]+")
# What says how the body is written; ours is written anew.
_OF_THE_BODY = frozenset({"content-transfer-encoding", "content-length", "mime-version"})
_KINDS = (
    (b"BEGIN:VCALENDAR", "text/calendar"),
    (b"Reporting-MTA:", "message/delivery-status"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
)
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A part of a mail beside its text; `kind` is its media type, "" where nobody says it."""

    content: bytes
    kind: str = ""

    @property
    def known_kind(self) -> str:
        """The media type: as named, else as the content begins."""
        named = self.kind.partition(";")[0].strip().lower()
        if named and named != "application/octet-stream":
            return named
        begin = self.content[:_LOOKED_AT].lstrip()
        return next((kind for mark, kind in _KINDS if begin.startswith(mark)), "application/octet-stream")


@dataclass(frozen=True, slots=True)
class TakenApart:
    """What a provider tells of a mail."""

    headers: Sequence[tuple[str, str]]
    """In their order; encoded words may be decoded already."""
    text: str | None = None
    html: str | None = None
    enclosed: Sequence[Enclosed] = field(default=())

    def has(self, name: str) -> bool:
        """Say whether there is a header of this lower-case name."""
        return any(given.strip().lower() == name for given, _ in self.headers)

    def put_together(self) -> bytes:
        """Return the mail."""
        kept = [(name, value) for name, value in self.headers if name.strip().lower() not in _OF_THE_BODY]
        lines = [_header(name, value) for name, value in kept if name.strip().lower() != "content-type"]
        given = next((value for name, value in kept if name.strip().lower() == "content-type"), "")
        lines.append(f"Content-Type: {_outer(given)}")
        parts = [*self._texts(), *(_part(each.known_kind, each.content) for each in self.enclosed)]
        body = "".join(f"--{_BOUNDARY}\r\n{part}\r\n" for part in parts)
        whole = "\r\n".join([*filter(None, lines), "MIME-Version: 1.0", "", f"{body}--{_BOUNDARY}--\r\n"])
        return whole.encode("utf-8", "replace")

    def _texts(self) -> Iterable[str]:
        if self.text and self.text.strip():
            yield _part('text/plain; charset="utf-8"', self.text.encode("utf-8", "replace"))
        if self.html and self.html.strip():
            yield _part('text/html; charset="utf-8"', self.html.encode("utf-8", "replace"))


def _outer(given: str) -> str:
    """Return the type of the whole: what it was, where that says what the mail is (a report, something sealed)."""
    was = Message()
    # Half a character, which JSON may hold, would make the standard library fail.
    was["content-type"] = _BREAKS.sub(" ", given).encode("ascii", "replace").decode()
    kind = was.get_content_type()
    parameters = [("report-type", was.get_param("report-type")), ("protocol", was.get_param("protocol"))]
    said = "".join(f'; {name}="{_token(value)}"' for name, value in parameters if isinstance(value, str) and value)
    outer = kind if kind.startswith("multipart/") and _token(kind) == kind else "multipart/mixed"
    return f'{outer}; boundary="{_BOUNDARY}"{said}'


def _token(value: str) -> str:
    return re.sub(r"[^A-Za-z0-9./+_-]", "", value)[:100]


def _header(name: str, value: str) -> str:
    """A line of its own: what a provider passes on from outside must not begin another."""
    if not _NAME.fullmatch(name.strip()):
        return ""
    return f"{name.strip()}: {_BREAKS.sub(' ', value).strip()}"


def _part(kind: str, content: bytes) -> str:
    encoded = encodebytes(content).decode("ascii")
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}"


def mailbox_header(name: object, address: object) -> str:
    """Return somebody as they stand in a header of addresses: "Bob Miller" <bob@acme.example>."""
    written = str(address or "").strip(" <>")
    shown = re.sub(r'["\\\r\n]+', " ", str(name or "")).strip()
    return f'"{shown}" <{written}>' if shown else f"<{written}>"


def octets(value: str) -> bytes:
    """Return the bytes of a field of a form; those that were no UTF-8 came as surrogates."""
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace")


def form_text(value: str, charset: str = "utf-8") -> str:
    """Return the text of a field of a form; bytes that are no UTF-8 are in the charset that is named."""
    if value.isascii():
        return value
    content = octets(value)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return decoded(content, charset)


def code_of(value: object) -> str:
    """Return a provider's word as it may stand in a name under which something is counted."""
    return re.sub(r"[^A-Za-z0-9_.-]", "", str(value))[:40] or "unknown"
