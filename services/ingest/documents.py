"""sources.toml as it lies on disk: one file, or all *.toml of a folder read as one, with the line of every key."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.ingest.domain.mistakes import Mistake, Remark
from services.ingest.domain.toml_lines import lines_of
from services.ingest.regular import NoFile, TooLong, read_regular

_LARGEST = 4 * 1024 * 1024
_PLACE = re.compile(r"\s*\(at line (\d+), column \d+\)")
_LISTS = frozenset({"own_domains", "privacy"})
_Lines = Mapping[tuple[str, ...], int]
_Below = Mapping[tuple[str, ...], Iterable[tuple[tuple[str, ...], int]]]
"""By the first key of a path, and by its first two: the paths that begin so, with their lines."""


@dataclass(slots=True)
class Document:
    """Everything that the files say together. `places`: file and line by path."""

    where: Path
    parsed: dict[str, Any] = field(default_factory=dict)
    places: dict[tuple[str, ...], tuple[Path, int]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)

    def remark(self, mistake: Mistake, *, severe: bool = True) -> Remark:
        """Return a mistake with the place where it, or the nearest thing above it, stands."""
        path = mistake.path
        while path and path not in self.places:
            path = path[:-1]
        file, line = self.places.get(path, (self.where, 1))
        return Remark(file, line, mistake, severe)

    def add(self, file: Path, parsed: Mapping[str, Any], lines: _Lines) -> None:
        """Add what one more file says. Tables of sources are united, lists are joined, all else may be said once."""
        below = _below(lines)
        for name, value in parsed.items():
            before = self.parsed.get(name)
            if name == "sources" and isinstance(value, dict) and isinstance(before, dict | None):
                self._add_sources(file, value, lines, below)
            elif before is None:
                self.parsed[name] = value
                self._note(file, (name,), (name,), below)
            elif name in _LISTS and isinstance(value, list) and isinstance(before, list):
                for number in range(len(value)):
                    self._note(file, (name, str(number)), (name, str(len(before) + number)), below)
                self.parsed[name] = [*before, *value]
            elif value != before:
                self._twice(file, lines.get((name,), 1), (name,))

    def _add_sources(self, file: Path, tables: Mapping[str, Any], lines: _Lines, below: _Below) -> None:
        known = self.parsed.setdefault("sources", {})
        for name, table in tables.items():
            path = ("sources", name)
            if name in known:
                self._twice(file, lines.get(path, 1), path)
            else:
                known[name] = table
                self._note(file, path, path, below)

    def _note(self, file: Path, path: tuple[str, ...], becomes: tuple[str, ...], below: _Below) -> None:
        for known, line in below.get(path, ()):
            self.places[(*becomes, *known[len(path) :])] = (file, line)

    def _twice(self, file: Path, line: int, path: tuple[str, ...]) -> None:
        other, at = self.places.get(path, (self.where, 1))
        mistake = Mistake(path, f"is also in {other.name}, line {at}", "keep one of them")
        self.remarks.append(Remark(file, line, mistake))


def read_document(path: Path) -> Document:
    """Read a file, or every *.toml of a folder in the order of their names; what cannot be read becomes a remark."""
    document = Document(path)
    for file in _files(path, document):
        text = _text(file, document)
        if text is None:
            continue
        try:
            parsed, lines = tomllib.loads(text), lines_of(text)
        except RecursionError:
            mistake = Mistake((), "is nested too deep", "write lists and tables as the examples have them")
            document.remarks.append(Remark(file, 1, mistake))
            continue
        except tomllib.TOMLDecodeError as wrong:
            said, line = str(wrong), _line(str(wrong), text)
            mistake = Mistake((), f"is not TOML: {_PLACE.sub('', said)}", "mend this line or the one before it")
            document.remarks.append(Remark(file, line, mistake))
            continue
        document.add(file, parsed, lines)
    return document


def _below(lines: _Lines) -> _Below:
    below: dict[tuple[str, ...], list[tuple[tuple[str, ...], int]]] = defaultdict(list)
    for path, line in lines.items():
        for length in range(1, min(len(path), 2) + 1):
            below[path[:length]].append((path, line))
    return below


def _files(path: Path, document: Document) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    # Names that begin with a dot are Kubernetes' own, which the others are links into.
    found = sorted(file for file in path.glob("*.toml") if not file.name.startswith("."))
    if not found:
        mistake = Mistake((), "holds no file *.toml", "put your sources there")
        document.remarks.append(Remark(path, 1, mistake))
    return found


def _text(file: Path, document: Document) -> str | None:
    try:
        # Editors on Windows begin a file with a mark that is no part of it.
        return read_regular(file, _LARGEST).decode("utf-8-sig")
    except TooLong:
        mistake = Mistake((), "is larger than 4 MiB", "divide it: a folder with several *.toml is read as one file")
    except NoFile:
        mistake = Mistake((), "is no file", "name a file, or a folder of *.toml")
    except UnicodeDecodeError:
        mistake = Mistake((), "is not TOML: it is not UTF-8", "write it anew as UTF-8")
    except OSError as away:
        mistake = Mistake((), f"cannot be read ({away.strerror})", "create it, readable by the service")
    document.remarks.append(Remark(file, 1, mistake))
    return None


def _line(said: str, text: str) -> int:
    found = _PLACE.search(said)
    return int(found.group(1)) if found else text.count("\n") + 1
