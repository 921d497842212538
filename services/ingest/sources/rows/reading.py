"""Files into rows: each with its line numbers, so that what is wrong can be found and mended."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from services.ingest import strict_json
from services.ingest.sources.rows.asterisk import columns_of
from services.ingest.sources.rows.mapping import RowMapping, filled
from services.ingest.sources.rows.values import BadCell

LONGEST_CELL = 1_000_000
_DELIMITERS = ",;\t|"
MARK = "tenure_"
"""What the columns begin with that a report of rejected rows adds; they are passed over when it is imported."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file. `line` counts from 1, a heading included; `cells` by column."""

    line: int
    cells: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """What was not taken: where, why, what to do, and the rows as they stood there."""

    line: int
    field: str
    reason: str
    remedy: str
    rows: Sequence[Row] = ()


class BadFile(ValueError):
    """The file cannot be read at all; one plain sentence."""


def read_rows(lines: Iterable[str], mapping: RowMapping, *, ndjson: bool) -> Iterator[Row | Rejected]:
    """Yield the rows of a text; raise `BadFile` for a heading that lacks a column."""
    return _objects(lines) if ndjson else _table(lines, mapping)


def groups(rows: Iterable[Row | Rejected], mapping: RowMapping) -> Iterator[Sequence[Row] | Rejected]:
    """Yield neighbouring rows of one interaction together. One that comes back later is refused: it is not whole."""
    template = mapping.file.group
    if template is None:
        for row in rows:
            yield row if isinstance(row, Rejected) else (row,)
        return
    seen: set[int] = set()
    held: list[Row] = []
    name: str | None = None
    # Whether a row that stands beside what is held could not be read: it may be one of its lines.
    doubted = False
    for row in rows:
        if isinstance(row, Rejected):
            if held:
                yield _closed(held, name, seen, doubted=True)
                held = []
            doubted = True
            yield row
            continue
        now = filled(template, row.cells, mapping.constants)
        if held and (now is None or now != name):
            yield _closed(held, name, seen, doubted=doubted)
            held, doubted = [], False
        name = now
        held.append(row)
    if held:
        yield _closed(held, name, seen, doubted=doubted)


def _closed(held: Sequence[Row], name: str | None, seen: set[int], *, doubted: bool) -> Sequence[Row] | Rejected:
    # Hashes, not names: a file may hold tens of millions of orders.
    mark = hash(name)
    if doubted:
        seen.add(mark)
        reason = "stands beside a row that cannot be read and may be one of its lines"
        return Rejected(held[0].line, "group", reason, "mend that row, and import them together", held)
    if name is not None and mark in seen:
        reason = "was there before, further up: its rows do not stand together"
        return Rejected(held[0].line, "group", reason, "sort the file by it, so that no line of it is missed", held)
    seen.add(mark)
    return held


def _table(lines: Iterable[str], mapping: RowMapping) -> Iterator[Row | Rejected]:
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        return
    delimiter = mapping.file.delimiter or max(_DELIMITERS, key=first.count)
    csv.field_size_limit(LONGEST_CELL)
    lines_read = _Lines(first.removeprefix("\ufeff"), iterator)
    reader = csv.reader(lines_read, delimiter=delimiter, strict=True)
    columns: Sequence[str] | None = mapping.file.columns or None
    asterisk = mapping.file.format == "asterisk"
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as wrong:
            empty = Row(begins, dict.fromkeys(columns or (), ""))
            remedy = "close every quotation mark that is opened"
            yield Rejected(begins, "row", f"is no CSV: {wrong}", remedy, (empty,))
            continue
        if not any(cells):
            continue
        if columns is None and (not asterisk or "uniqueid" in cells):
            columns = _heading(cells, mapping)
            continue
        # What stands in a row may be changed while the file is written.
        named = columns_of(len(cells)) if columns is None else columns
        row = Row(begins, dict(zip(named, cells, strict=False)))
        if len(cells) > len(named) and any(cells[len(named) :]):
            reason = f"has {len(cells)} cells, the heading {len(named)}"
            yield Rejected(begins, "row", reason, "put quotation marks around cells that hold the delimiter", (row,))
            continue
        if len(cells) < len(named) and not lines_read.ended:
            reason = f"breaks off: it has {len(cells)} cells, the heading {len(named)}, and no line break"
            yield Rejected(begins, "row", reason, "export the file again, and wait until it is whole", (row,))
            continue
        yield row


class _Lines:
    """The lines of a text. `ended`: the last that was read had a line break, so nobody cut it off."""

    def __init__(self, first: str, rest: Iterator[str]) -> None:
        self._lines = chain((first,), rest)
        self.ended = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.ended = line.endswith(("\n", "\r"))
        return line


def _heading(cells: Sequence[str], mapping: RowMapping) -> Sequence[str]:
    columns = [cell.strip() for cell in cells]
    missing = sorted(mapping.columns - set(columns)) if mapping.file.format != "asterisk" else []
    if missing:
        raise BadFile(
            f"The heading has no column {missing[0]!r}, which the mapping {mapping.name} reads; there are"
            f" {', '.join(column for column in columns if column)}."
        )
    if twice := sorted(column for column in mapping.read if columns.count(column) > 1):
        raise BadFile(f"The heading has the column {twice[0]!r} twice; rename the one that is not meant.")
    return columns


def _objects(lines: Iterable[str]) -> Iterator[Row | Rejected]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = strict_json.loads(line.encode())
        except strict_json.BadJson as bad:
            raw = (Row(number, {f"{MARK}row": line.rstrip("\r\n")}),)
            yield Rejected(number, bad.field or "line", bad.message, bad.remedy, raw)
            continue
        if not isinstance(found, dict):
            raw = (Row(number, {f"{MARK}row": line.rstrip("\r\n")}),)
            yield Rejected(number, "line", "is no JSON object", "write one object in each line", raw)
            continue
        yield Row(number, found)


def refused(rows: Sequence[Row], bad: BadCell) -> Rejected:
    """Return the rejection of rows of one interaction for one of their cells."""
    return Rejected(rows[0].line, bad.column, bad.reason, bad.remedy, rows)
