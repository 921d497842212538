"""What a file holds, unit by unit: what goes to the door as one line, or why it does not. The same each time."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import orjson

from services.cli.faults import CommandFault
from services.ingest.sources.rows.events import Export, LeftOut, Made, events
from services.ingest.sources.rows.mapping import RowMapping
from services.ingest.sources.rows.reading import LONGEST_CELL, MARK, BadFile, Rejected, Row, read_rows

LONGEST_LINE = 900_000
"""Bytes of one line for the door, so that a request stays below 1 MiB."""
RAW = f"{MARK}row"
"""The column in which a report of rejected rows keeps what was no table."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NDJSON = frozenset({".ndjson", ".jsonl", ".json"})


@dataclass(frozen=True, slots=True)
class Item:
    """One line for the door, and where it stood. `body` without a line break."""

    body: bytes
    line: int
    rows: Sequence[Row] | None = None
    """The rows that it was made of; None: `body` as it stood in the file."""
    type: str | None = None
    """The event's type, where the file did not say it itself."""

    @property
    def stood(self) -> Sequence[Row]:
        """The rows as they stood in the file."""
        if self.rows is not None:
            return self.rows
        return (Row(self.line, {RAW: self.body.decode("utf-8", "replace")}),)


Unit = Item | Rejected | LeftOut


class History(Protocol):
    """A file, opened anew for each pass."""

    @property
    def file(self) -> Path:
        """What is imported."""
        ...

    def units(self) -> Iterator[Unit]:
        """Yield what it holds."""
        ...

    def place(self, field: str) -> str:
        """Return what stands in the file where the door found `field` of a line wrong."""
        ...


@dataclass(frozen=True, slots=True)
class AsItIs:
    """What goes to the door as it stands in the file."""

    file: Path

    def place(self, field: str) -> str:
        """Return the field itself."""
        return field


@dataclass(frozen=True, slots=True)
class Lines(AsItIs):
    """NDJSON whose lines are CloudEvents, or a report of those that were rejected."""

    def units(self) -> Iterator[Unit]:
        """Yield the lines as they are: the door judges them."""
        try:
            with self.file.open("rb") as opened:
                for number, line in _lines(opened):
                    # To the door a carriage return ends a line, too; within JSON it is a blank.
                    body = line.rstrip(b"\r\n").replace(b"\r", b" ")
                    if len(body) > LONGEST_LINE:
                        yield Rejected(number, "line", f"is longer than {LONGEST_LINE} bytes", "send less text")
                    elif body.strip():
                        yield Item(body, number)
        except BadFile as bad:
            raise CommandFault(f"{self.file.name}: {bad}") from None


@dataclass(frozen=True, slots=True)
class Table:
    """CSV or NDJSON whose rows a mapping reads."""

    file: Path
    mapping: RowMapping
    export: Export

    def units(self) -> Iterator[Unit]:
        """Yield the events that the rows are; raise `CommandFault` for a file that cannot be read at all."""
        try:
            with self.file.open("rb") as opened:
                for one in events(self._rows(opened), self.mapping, self.export):
                    yield _item(one, self.export.system) if isinstance(one, Made) else one
        except BadFile as bad:
            raise CommandFault(f"{self.file.name}: {bad}") from None
        except (UnicodeError, LookupError):
            encoding = self.mapping.file.encoding
            raise CommandFault(
                f'{self.file.name} is not written in {encoding}; say in the mapping how: file.encoding = "cp1252".'
            ) from None

    def place(self, field: str) -> str:
        """Return the column that the mapping read for a field of the event."""
        if field == "subject":
            return self.mapping.key
        target = field.removeprefix("data.")
        while target:
            take = self.mapping.fields.get(target)
            if take is not None:
                return take.place
            target = target.rpartition(".")[0]
        return field

    @property
    def is_ndjson(self) -> bool:
        """Whether its rows are lines of JSON."""
        given = self.mapping.file.format
        return given == "ndjson" or (given is None and is_ndjson(self.file))

    def _rows(self, opened: IO[bytes]) -> Iterator[Row | Rejected]:
        if self.is_ndjson:
            text = (line.decode(self.mapping.file.encoding) for _, line in _lines(opened))
            return read_rows(text, self.mapping, ndjson=True)
        return read_rows(_text(opened, self.mapping.file.encoding), self.mapping, ndjson=False)


def _text(opened: IO[bytes], encoding: str) -> Iterator[str]:
    """Yield lines with their line breaks as they are: a cell may hold some."""
    table = TextIOWrapper(opened, encoding=encoding, newline="")
    try:
        yield from table
    finally:
        table.detach()


def is_ndjson(file: Path) -> bool:
    """Say whether the file's name promises lines of JSON, or whether it is a report of such."""
    return file.suffix.lower() in _NDJSON or _is_report(file)


def _is_report(file: Path) -> bool:
    """Say whether it is a report of rejected lines that were no table."""
    if file.suffix.lower() != ".csv":
        return False
    with file.open("rb") as opened:
        return RAW.encode() in opened.readline()


def _lines(opened: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines; of a report the lines that it keeps, of a JSON list its members."""
    first = opened.readline().removeprefix(_BYTE_ORDER_MARK)
    if first.lstrip().startswith(b"["):
        yield from _members(first + opened.read())
        return
    if RAW.encode() not in first or b"{" in first:
        yield from enumerate(chain((first,) if first else (), opened), start=1)
        return
    csv.field_size_limit(LONGEST_CELL)
    text = (line.decode("utf-8-sig") for line in chain((first,), opened))
    for row in csv.DictReader(text):
        number = row.get(f"{MARK}line") or "0"
        yield int(number) if number.isdecimal() else 0, (row[RAW] or "").encode()


def _members(content: bytes) -> Iterator[tuple[int, bytes]]:
    try:
        members = orjson.loads(content)
    except orjson.JSONDecodeError as wrong:
        raise BadFile(f"it is no JSON: {wrong}") from None
    yield from ((number, orjson.dumps(member)) for number, member in enumerate(members, start=1))


def _item(made: Made, system: str) -> Item | Rejected:
    event = {**made.event, "system": system}
    try:
        body = orjson.dumps(event)
    except orjson.JSONEncodeError:
        # Half of a surrogate pair: orjson refuses it, and so would the door.
        return Rejected(made.rows[0].line, "row", "holds what is no text", "write whole characters", made.rows)
    if len(body) > LONGEST_LINE:
        return Rejected(made.rows[0].line, "row", f"is longer than {LONGEST_LINE} bytes", "send less text", made.rows)
    return Item(body, made.rows[0].line, made.rows, str(made.event["type"]))


def as_json(row: Row) -> str:
    """Return a row of NDJSON as it can be read again."""
    return json.dumps(row.cells, ensure_ascii=False)


def exported_at(text: str | None, mapping: RowMapping, file: Path) -> datetime | None:
    """Return when a file was exported; raise `CommandFault` where nothing says it."""
    if text is None:
        if "updated" in mapping.fields:
            return None
        raise CommandFault(
            "When was this exported? Say it with --exported 2026-03-31 (or `file`: when the file was last changed);"
            " a later export corrects an earlier one."
        )
    if text == "file":
        return datetime.fromtimestamp(file.stat().st_mtime, mapping.writing.zone)
    try:
        return mapping.writing.moment("--exported", text)
    except ValueError:
        raise CommandFault(f"--exported {text} is no moment; write 2026-03-31 or 2026-03-31T18:00:00+02:00.") from None
