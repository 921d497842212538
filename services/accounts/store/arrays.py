"""Arrays as PostgreSQL array literals, to be cast in the statement: `$1::text::uuid[]`.

asyncpg looks at every element of an array three times before it writes it; for thousands of rows of a dozen columns
that costs more than all else in a batch. And `unnest` flattens arrays of arrays, so these travel as literals too.
"""

from collections.abc import Iterable
from datetime import datetime


def ids(values: Iterable[str | None]) -> str:
    """Return a literal of ids (or numbers as text): nothing in them needs quotes."""
    return "{" + ",".join([value or "NULL" for value in values]) + "}"


def numbers(values: Iterable[int]) -> str:
    """Return a literal of whole numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def flags(values: Iterable[bool]) -> str:
    """Return a literal of truths."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"


def moments(values: Iterable[datetime]) -> str:
    """Return a literal of aware moments."""
    return "{" + ",".join(map(str, values)) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Return a literal of any texts, also of literals."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(value: str) -> str:
    if value == "{}":
        return '"{}"'
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    if '"' in value:
        value = value.replace('"', '\\"')
    return f'"{value}"'
