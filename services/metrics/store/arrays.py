"""A column of values as a PostgreSQL array literal, to be cast in the statement: `$1::text::uuid[]`.

asyncpg looks at every element of an array several times before it writes it; for thousands of rows of 26 columns that
costs more than building the text.
"""

from collections.abc import Iterable
from typing import Any


def literal(values: Iterable[Any]) -> str:
    """Return a literal of texts, ids, numbers, truths, days and aware moments; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else _element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if value is True:
        return "t"
    if value is False:
        return "f"
    text = str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
