"""What stands in a mail (RFC 5322, MIME) that may be broken in any way. Nothing raises; what is unreadable is left out.

The standard library's newer policy parses headers eagerly and raises on some that real mail carries (a Message-ID in
brackets, bytes that are no text), so header blocks are read with the older, tolerant one and decoded here.
"""

import quopri
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser

from contracts.ids import digest
from services.ingest.domain.mail_mime import JOURNAL, MAILS, Part, ReadMail, read_mail
from services.ingest.sources.mail_addresses import read_addresses
from services.ingest.sources.mail_charsets import decoded, decoded_words, lenient_base64
from services.ingest.sources.mail_sealed import Protection, is_envelope, protection_of, signed_content
from services.ingest.sources.mail_tnef import Tnef, read_tnef

LONGEST_BODY = 100_000
"""Characters of text that are looked at; a mail's own words stand at its top."""
_MESSAGE_ID = re.compile(r"<[^<>\s\x00-\x1f\x7f]{3,900}>")
_BARE_ID = re.compile(r"\s*([^<>\s\x00-\x1f\x7f,;]{1,450}@[^<>\s\x00-\x1f\x7f,;]{1,450})\s*")
_LONGEST_SUBJECT = 1000
_LONGEST_VALUE = 20_000
_MOST_VALUES = 100
_MOST_IDS = 100
_MOST_REPORTS = 500
_MOST_CALENDARS = 16
_TEXTS = frozenset({"text/plain", "text/html", "text/enriched"})
_CALENDARS = frozenset({"text/calendar", "application/ics"})
_STATUSES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef", "application/octet-stream"})
_QUOTES = (
    "blockquote, .gmail_quote, .gmail_extra, #divRplyFwdMsg ~ *, #divRplyFwdMsg, .moz-cite-prefix, .yahoo_quoted,"
    " #appendonsend ~ *, .protonmail_quote, .zmail_extra, .moz-forward-container, .OutlookMessageHeader,"
    " #mail-editor-reference-message-container, .ms-outlook-mobile-reference-message,"
    " .gmail_signature, .moz-signature, .protonmail_signature_block, #ms-outlook-mobile-signature, #Signature"
)
_NO_TEXT = "script, style, head, title, template, noscript"
_BLOCKS = "p, div, br, tr, li, h1, h2, h3, h4, h5, h6, pre, table, section"
_DEEPEST_HTML = 500
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})\b[^>]{0,2000}>")
_BLANK_LINES = re.compile(r"\n{3,}")


class Mail:
    """One mail."""

    def __init__(self, raw: bytes | ReadMail) -> None:
        self.read = raw if isinstance(raw, ReadMail) else read_mail(raw)
        self._root = _journaled(self.read.root)
        # Read past the policy, which would turn bytes that are no ASCII into question marks.
        self._headers: dict[str, list[str]] = {}
        self._people: dict[str, list[tuple[str, str]]] = {}
        for name, value in self._root.headers.raw_items():
            self._headers.setdefault(name.lower(), []).append(_unfold(_as_text(value)))

    def __contains__(self, name: str) -> bool:
        """Say whether there is a header of this lower-case name."""
        return name in self._headers

    def values(self, name: str) -> list[str]:
        """Return the decoded values of the first headers of this name, unfolded, topmost first, each its beginning."""
        return [decoded_words(value[:_LONGEST_VALUE]) for value in self._raw(name)[:_MOST_VALUES]]

    def value(self, name: str) -> str:
        """Return the decoded value of the first header of this name, or ""."""
        return next(iter(self.values(name)), "")

    def plain(self, name: str) -> str:
        """Return the first header of this name in lower case, for headers that hold tokens."""
        return self.value(name).strip().lower()

    def addresses(self, name: str) -> Sequence[tuple[str, str]]:
        """Return (name, address) of a header of addresses, in order. Addresses are as written."""
        # Asked by the privacy rules and by the mapping; ten thousand take a while.
        if name not in self._people:
            self._people[name] = read_addresses(self._raw(name))
        return self._people[name]

    @property
    def subject(self) -> str:
        """The subject, as far as it may be looked through for words."""
        return self.value("subject")[:_LONGEST_SUBJECT]

    def moment(self, text: str) -> datetime | None:
        """Return the date of an RFC 5322 header, in UTC; one without a zone is read as UTC."""
        dated = dated_there(text)
        try:
            return None if dated is None else dated.astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def received_at(self) -> datetime | None:
        """Return when the last server on the way that says so, the mailbox's own, took the mail."""
        for value in self.values("received")[:5]:
            moment = self.moment(value.rpartition(";")[2]) if ";" in value else None
            if moment is not None:
                return moment
        return None

    def message_ids(self, *names: str) -> list[str]:
        """Return the distinct Message-IDs in these headers, in order: of more than a hundred the first and the last."""
        found: list[str] = []
        for name in names:
            for value in self._raw(name):
                ids = _MESSAGE_ID.findall(value)
                bare = _BARE_ID.fullmatch(value) if not ids else None
                found += ids if bare is None else [f"<{bare.group(1)}>"]
        distinct = list(dict.fromkeys(found))
        return distinct if len(distinct) <= _MOST_IDS else [distinct[0], *distinct[1 - _MOST_IDS :]]

    def content_type(self) -> str:
        """Return the media type of the whole mail."""
        return self._root.kind

    def parameter(self, name: str) -> str:
        """Return a parameter of Content-Type in lower case, or ""."""
        return self._root.parameter(name).lower()

    def parts(self) -> Iterator[Part]:
        """Yield the parts that hold something, depth first, also in signed envelopes. Attached mails stay closed."""
        return iter(self._parts)

    @cached_property
    def _parts(self) -> Sequence[Part]:
        found = []
        for part in self._root.leaves():
            content = signed_content(payload_of(part)) if is_envelope(part) else None
            if content is None:
                found.append(part)
            else:
                # An envelope in an envelope stays shut.
                found += list(read_mail(content).root.leaves())
        return found

    def types(self) -> list[str]:
        """Return the media types of all parts."""
        return [part.kind for part in self._parts]

    @cached_property
    def protection(self) -> Protection | None:
        """How the mail is protected: signed or encrypted, with S/MIME or PGP."""
        return protection_of(self._root, self._own_text)

    @property
    def text(self) -> str:
        """Its text: the first plain part, else the first HTML part as text; "" for none, or where it is encrypted."""
        return "" if self.protection == "encrypted" else self._own_text

    @cached_property
    def _own_text(self) -> str:
        html = ""
        for part in self._parts:
            if part.attached or part.kind not in _TEXTS:
                continue
            content = text_of(part)
            if part.kind == "text/plain" and content.strip():
                return content
            html = html or content
        if html:
            return text_of_html(html)
        if self.tnef is not None:
            return self.tnef.text[:LONGEST_BODY] or text_of_html(self.tnef.html)
        if self._root.kind.startswith("multipart/") and not self._root.children:
            # Its boundary never came; what there is, is its text.
            return text_of(self._root)
        return ""

    @cached_property
    def tnef(self) -> Tnef | None:
        """Outlook's envelope, or None."""
        envelopes = (
            read_tnef(payload_of(part)) for part in self._parts if part.kind in _TNEF and part.end > part.start
        )
        return next((found for found in envelopes if found is not None), None)

    @cached_property
    def calendars(self) -> Sequence[bytes]:
        """What its calendar parts hold (RFC 5545), decoded for transfer only; those that are attachments too."""
        found = [payload_of(part) for part in self._parts if part.kind in _CALENDARS]
        return list(dict.fromkeys(content for content in found if content.strip()))[:_MOST_CALENDARS]

    @property
    def invites(self) -> bool:
        """Whether a calendar part stands where a text would: then the mail is about a meeting, and is no letter."""
        if self.tnef is not None and self.tnef.is_calendar:
            return True
        for part in self._parts:
            if part.kind not in _CALENDARS:
                continue
            method = part.parameter("method").upper()
            if part.kind == "text/calendar" and (not part.attached or method) and method != "PUBLISH":
                return True
        return False

    def delivery_reports(self) -> list[list[tuple[str, str]]]:
        """Return the blocks of a delivery status notification (RFC 3464), as (lower-case name, value)."""
        for part in self._parts:
            if part.kind in _STATUSES:
                text = decoded(payload_of(part), "utf-8").replace("\r\n", "\n")
                blocks = [_fields(block) for block in re.split(r"\n[ \t]*\n", text, maxsplit=_MOST_REPORTS)]
                return [block for block in blocks if block][:_MOST_REPORTS]
        return []

    def returned(self) -> "Mail | None":
        """Return the mail that a notification gives back, or its headers; None where it gives none."""
        for part in self._parts:
            if part.kind in MAILS and part.children:
                return Mail(ReadMail(part.children[0], b"", 0, ""))
            if part.kind == "text/rfc822-headers":
                return Mail(payload_of(part))
        return None

    def body_digest(self) -> str:
        """Return the digest of what stands below the headers, without attachments."""
        return digest(b"\n".join(payload_of(part) for part in self._root.leaves() if part.end > part.start))

    def _raw(self, name: str) -> list[str]:
        return self._headers.get(name, [])


def dated_there(text: str) -> datetime | None:
    """Return the date of an RFC 5322 header with the sender's own offset; without one it is UTC."""
    try:
        moment = parsedate_to_datetime(text.strip()[:200])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def text_of(part: Part) -> str:
    """Return the text of a part, whatever its charset claims to be."""
    return decoded(payload_of(part)[: 4 * LONGEST_BODY], part.parameter("charset"))[:LONGEST_BODY]


def payload_of(part: Part) -> bytes:
    """Return a part's content, decoded for transfer as far as it can be."""
    encoding = part.header("content-transfer-encoding").strip().lower()
    if encoding == "base64":
        return lenient_base64(part.body)
    if encoding == "quoted-printable":
        return quopri.decodestring(part.body)
    return part.body


def text_of_html(html: str) -> str:
    """Return the words of an HTML mail, one line per block, without what it quotes unless it holds nothing else."""
    cut = _shallow(html[:LONGEST_BODY])
    return _words(cut, f"{_NO_TEXT}, {_QUOTES}") or _words(cut, _NO_TEXT)


def _words(html: str, unwanted: str) -> str:
    try:
        tree = LexborHTMLParser(html)
        for node in tree.css(unwanted):
            node.decompose()
        for block in tree.css(_BLOCKS):
            block.insert_before("\n")
        words = tree.body.text(separator="") if tree.body is not None else ""
    except (ValueError, RuntimeError):
        return ""
    lines = (" ".join(line.split()) for line in words.replace("\xa0", " ").splitlines())
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()


def _shallow(html: str) -> str:
    """Return HTML as it is, or without tags where it nests so deep that walking it would end the process."""
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag.group(1) else 1
        if depth > _DEEPEST_HTML * 4:
            return _TAG.sub("\n", html)
    return html


def _journaled(root: Part) -> Part:
    """Return the mail that a mail server's journal report is about, or the mail itself."""
    if JOURNAL not in root.headers:
        return root
    return next((part.children[0] for part in root.leaves() if part.kind in MAILS and part.children), root)


def _fields(block: str) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    for line in block.split("\n"):
        name, colon, value = line.partition(":")
        if line[:1] in {" ", "\t"} and fields:
            fields[-1] = (fields[-1][0], f"{fields[-1][1]} {line.strip()}")
        elif colon and name.strip():
            fields.append((name.strip().lower(), value.strip()))
    return fields


def _as_text(value: object) -> str:
    """Bytes that are no ASCII arrive as surrogates; nearly always they are UTF-8, else they are of Western Europe."""
    raw = str(value)
    try:
        octets = raw.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return raw.encode("utf-8", "replace").decode("utf-8", "replace")
    return decoded(octets, "windows-1252")


def _unfold(value: str) -> str:
    return " ".join(value.replace("\x00", "").splitlines())
