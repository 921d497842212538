"""A column of values as one text, to be taken apart in the statement: `string_to_array($1, …)::uuid[]`.

asyncpg looks at every element of an array several times before it writes it; for thousands of rows that costs more than
building the text. Elements are separated by a control character, so that none of them has to be quoted: no id, number,
day, moment, code or JSON document has one.
"""

from collections.abc import Iterable
from typing import Any

_SEPARATOR = "\x1e"
_NULL = "\x1f"


def column(values: Iterable[Any]) -> str:
    """Return ids, codes, JSON texts, numbers, truths, days and aware moments in one text; None is NULL."""
    return _SEPARATOR.join([_NULL if value is None else str(value) for value in values])


def texts(values: Iterable[str]) -> str:
    """Return ids or other texts, of which none is None, in one text."""
    return _SEPARATOR.join(values)


def parameter(place: int, kind: str) -> str:
    """Return the SQL of a parameter that holds a column of `kind`."""
    return f"string_to_array(${place}, E'\\x1e', E'\\x1f')::{kind}[]"


def counts_text(counts: list[int]) -> str:
    """Return the text form of an array of whole numbers."""
    return "{" + str(counts)[1:-1] + "}"
