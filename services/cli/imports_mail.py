"""Old mail and calendars as lines for the door: mbox files, maildirs, single mails, ICS files."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

import orjson

from services.cli.imports_units import LONGEST_LINE, AsItIs, Item, Unit
from services.ingest.domain.mail_mime import MimeReader
from services.ingest.domain.mbox import AnyMail, read_mail, split_mbox
from services.ingest.sources.rows.reading import Rejected, Row

_LARGEST_MAIL = LONGEST_LINE * 3 // 4 - 100
_HEAD_BYTES = 32 * 1024
_NAMED = ("Message-ID", "From", "Date")
_MANY_EVENTS = 300_000
_EVENT = re.compile(r"^BEGIN:VEVENT\r?\n.*?^END:VEVENT[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_UID = re.compile(r"^UID[^:\r\n]*:([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mails(AsItIs):
    """An mbox file, a maildir, a folder of `.eml` files, or one of these."""

    def units(self) -> Iterator[Unit]:
        """Yield a line for each mail. One that is large goes without its attachments, which nobody reads."""
        for number, read in enumerate(self._letters(), start=1):
            mail = read if isinstance(read, bytes) and len(read) <= _LARGEST_MAIL else _without_attachments(read)
            if len(mail) > _LARGEST_MAIL:
                reason = f"is longer than {_LARGEST_MAIL} bytes without its attachments"
                yield Rejected(number, "mail", reason, "leave it out, or cut its text", _named(number, mail))
            else:
                yield _Letter(orjson.dumps({"mail": base64.b64encode(mail).decode("ascii")}), number)

    def _letters(self) -> Iterator[AnyMail]:
        if self.file.is_dir() or self.file.suffix.lower() == ".eml":
            for path in letters_in(self.file) if self.file.is_dir() else [self.file]:
                with path.open("rb") as opened:
                    yield read_mail(opened)
        else:
            with self.file.open("rb") as opened:
                yield from (letter.mail for letter in split_mbox(opened))


@dataclass(frozen=True, slots=True)
class Calendar(AsItIs):
    """An ICS file."""

    def units(self) -> Iterator[Unit]:
        """Yield the calendar in parts that fit a line; what has one UID stays together."""
        text = self.file.read_bytes().decode("utf-8-sig", "replace")
        for number, part in enumerate(_parts(text), start=1):
            body = orjson.dumps({"calendar": part})
            if len(body) > LONGEST_LINE:
                reason = "is a meeting with too many changed instances"
                yield Rejected(number, "calendar", reason, "export a shorter span", (Row(number, {}),))
            else:
                yield Item(body, number, (Row(number, {"calendar": "see the file"}),))


@dataclass(frozen=True, slots=True)
class _Letter(Item):
    """A mail; a report names it and does not repeat it."""

    @property
    def stood(self) -> Sequence[Row]:
        """Who wrote it, when, and its id."""
        return _named(self.line, base64.b64decode(orjson.loads(self.body)["mail"]))


def letters_in(folder: Path) -> list[Path]:
    """Return the mails of a maildir, its subfolders included, or the `.eml` files of another folder, always sorted."""
    maildirs = [path for path in folder.rglob("*") if path.is_dir() and path.name in {"cur", "new"}]
    if maildirs:
        return sorted(path for maildir in maildirs for path in maildir.iterdir() if path.is_file())
    return sorted(path for path in folder.rglob("*.eml") if path.is_file())


def _without_attachments(mail: AnyMail) -> bytes:
    if isinstance(mail, bytes):
        reader = MimeReader()
        reader.feed(mail)
        mail = reader.close()
    return mail.kept


def _named(number: int, raw: bytes) -> Sequence[Row]:
    found = BytesHeaderParser().parsebytes(raw[:_HEAD_BYTES])
    return (Row(number, {name: str(found.get(name) or "") for name in _NAMED}),)


def _parts(text: str) -> Iterator[str]:
    """Yield calendars with everything that stands outside of events, and the events of some UIDs."""
    events = _EVENT.findall(text)
    if len(text) <= _MANY_EVENTS or not events:
        yield text
        return
    head, _, _ = text.partition(events[0])
    tail = text[text.rindex(events[-1]) + len(events[-1]) :]
    held: list[str] = []
    size = 0
    for group in _grouped(events):
        length = sum(map(len, group))
        if held and size + length > _MANY_EVENTS:
            yield head + "".join(held) + tail
            held, size = [], 0
        held += group
        size += length
    yield head + "".join(held) + tail


def _grouped(events: Iterable[str]) -> Iterable[list[str]]:
    by_uid: dict[str, list[str]] = {}
    for event in events:
        named = _UID.search(event)
        by_uid.setdefault(named[1].strip() if named else "", []).append(event)
    return by_uid.values()
