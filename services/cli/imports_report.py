"""The report of rejected rows: CSV with the rows as they stood and why, to be mended and imported again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from services.cli.imports_units import RAW, as_json
from services.ingest.sources.rows.reading import MARK, Rejected, Row

_OURS = tuple(f"{MARK}{name}" for name in ("line", "field", "reason", "remedy"))


class Report:
    """Writes rejected rows to a file, which begins to exist with the first. `size`: how long it is meant to be."""

    def __init__(self, file: Path, size: int, *, table: bool) -> None:
        self._file = file
        self._table = table
        self._columns: tuple[str, ...] | None = None
        self._content = _digest()
        self.size = size
        if size == 0:
            file.unlink(missing_ok=True)
        else:
            self._go_on()

    @property
    def file(self) -> Path:
        """Where it lies."""
        return self._file

    @property
    def mark(self) -> str:
        """What its content is known by."""
        return self._content.hexdigest()

    def write(self, rejected: Sequence[Rejected]) -> None:
        """Add rows, flushed: what is acknowledged afterwards has been reported."""
        if not rejected:
            return
        text = io.StringIO()
        writer = csv.writer(text)
        if self._columns is None:
            self._columns = tuple(self._named(rejected))
            writer.writerow((*self._columns, *_OURS))
        for one in rejected:
            for row in one.rows or (Row(one.line, {}),):
                cells = self._cells(row)
                writer.writerow(
                    [*(cells.get(column, "") for column in self._columns), row.line, one.field, one.reason, one.remedy]
                )
        content = text.getvalue().encode()
        self._content.update(content)
        with self._file.open("ab") as opened:
            opened.write(content)
            self.size = opened.tell()

    def _named(self, rejected: Sequence[Rejected]) -> Sequence[str]:
        if not self._table:
            return (RAW,)
        first = next((row for one in rejected for row in one.rows), None)
        # A mended report that is rejected again must not collect our columns twice.
        return [column for column in first.cells if column not in _OURS] if first is not None else ()

    def _cells(self, row: Row) -> dict[str, object]:
        if self._table or not row.cells or RAW in row.cells:
            return dict(row.cells)
        return {RAW: as_json(row)}

    def _go_on(self) -> None:
        """Cut off what was written after the last acknowledgement, and go on under the same heading."""
        with self._file.open("rb+") as opened:
            opened.truncate(self.size)
            content = opened.read()
        self._content.update(content)
        heading = next(csv.reader(io.StringIO(content.decode(), newline="")))
        self._columns = tuple(heading[: -len(_OURS)])


def stands(file: Path, size: int, mark: str) -> bool:
    """Say whether a report still begins with what was written to it: `size` bytes, known by `mark`."""
    if size == 0:
        return True
    try:
        with file.open("rb") as opened:
            content = opened.read(size)
    except OSError:
        return False
    return _digest(content).hexdigest() == mark


def _digest(content: bytes = b"") -> blake2b:
    return blake2b(content, digest_size=16)
