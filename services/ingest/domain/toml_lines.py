"""On which line of a TOML file each key stands, so that a mistake can be shown where it was made.

`tomllib` reads values and forgets where they stood. This reads the same text for its structure alone, and only after
`tomllib` has accepted it: what is no TOML is not this module's to find.
"""

import tomllib
from collections.abc import Mapping

Path = tuple[str, ...]
"""Keys from the top; the elements of arrays count "0", "1" …"""
_SPACE = " \t"
_BLANK = " \t\r\n"


def lines_of(text: str) -> Mapping[Path, int]:
    """Return the line (from 1) of every key, table and element of an array in a file that is valid TOML."""
    return _Scanner(text).document()


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of `path`, or of the nearest thing above it that is there; 1 where nothing is."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}
        """Arrays of tables, with how many elements they have so far."""

    def document(self) -> Mapping[Path, int]:
        table: Path = ()
        while self._skip_blank():
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._text[self._at] == "[":
                table = self._header(1)
            else:
                self._pair(table)
        return self._lines

    def _header(self, brackets: int) -> Path:
        line = self._line
        self._step(brackets)
        keys = self._keys()
        self._step(brackets)
        path: Path = ()
        for key in keys[:-1]:
            path = self._last_element((*path, key))
        path = (*path, keys[-1])
        if brackets == 2:  # noqa: PLR2004 - [[ ]]
            number = self._elements[path] = self._elements.get(path, -1) + 1
            self._lines.setdefault(path, line)
            path = (*path, str(number))
        else:
            path = self._last_element(path)
        self._note(path, line)
        return path

    def _last_element(self, path: Path) -> Path:
        number = self._elements.get(path)
        return path if number is None else (*path, str(number))

    def _pair(self, table: Path) -> None:
        line = self._line
        keys = self._keys()
        self._step(1)  # the equals sign
        self._skip_space()
        path = (*table, *keys)
        self._note(path, line)
        self._value(path)

    def _note(self, path: Path, line: int) -> None:
        """Remember a line for a path, and for what a dotted key makes above it."""
        for length in range(1, len(path)):
            self._lines.setdefault(path[:length], line)
        self._lines[path] = line

    def _keys(self) -> Path:
        keys = []
        while True:
            self._skip_space()
            start = self._at
            if self._text[start] in "\"'":
                self._string()
                keys.append(str(tomllib.loads(f"key = {self._text[start : self._at]}")["key"]))
            else:
                while self._text[self._at] not in " \t.=]":
                    self._at += 1
                keys.append(self._text[start : self._at])
            self._skip_space()
            if self._text[self._at] != ".":
                return tuple(keys)
            self._at += 1

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}\n#":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._step(1)
        number = 0
        while self._skip_blank() and self._text[self._at] != "]":
            self._lines[*path, str(number)] = self._line
            self._value((*path, str(number)))
            number += 1
            self._skip_blank()
            if self._text[self._at] == ",":
                self._step(1)
        self._step(1)

    def _inline_table(self, path: Path) -> None:
        self._step(1)
        while self._skip_blank() and self._text[self._at] != "}":
            self._pair(path)
            self._skip_blank()
            if self._text[self._at] == ",":
                self._step(1)
        self._step(1)

    def _string(self) -> None:
        quote = self._text[self._at]
        if self._text.startswith(quote * 3, self._at):
            self._step(3)
            while not self._text.startswith(quote * 3, self._at):
                self._step(2 if quote == '"' and self._text[self._at] == "\\" else 1)
            self._step(3)
            # Up to two quotes may stand before the three that end it.
            while self._text.startswith(quote, self._at):
                self._step(1)
            return
        self._step(1)
        while self._text[self._at] != quote:
            self._step(2 if quote == '"' and self._text[self._at] == "\\" else 1)
        self._step(1)

    def _skip_space(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in _SPACE:
            self._at += 1

    def _skip_blank(self) -> bool:
        """Pass over white space and comments; return whether something is left."""
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif self._text[self._at] in _BLANK:
                self._step(1)
            else:
                return True
        return False

    def _step(self, count: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + count)
        self._at += count
