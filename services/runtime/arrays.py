"""Arrays as PostgreSQL array literals, to be cast in the statement: `$1::text::uuid[]`.

asyncpg looks at every element of an array three times before it writes it; for thousands of rows of a dozen columns
that costs more than all else in a batch. And `unnest` flattens arrays of arrays, so these travel as literals too.
Bytes travel as one value that the statement cuts into pieces.

Statements unnest in their select list, `select unnest($1::text::uuid[]) as id, unnest(…) as …`, which keeps no copy of
every column as `from unnest(…, …)` does. All arrays of a statement are equally long.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import accumulate

# PostgreSQL can store no NUL in text, so it can stand between texts while quotes are put into all of them at once.
_BETWEEN = "\x00"


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
    return "{" + ",".join(map(_moment, values)) + "}"


# The same moments stand in several columns of a batch.
_moment = lru_cache(maxsize=20_000)(str)


def texts(values: Iterable[str]) -> str:
    """Return a literal of any texts, also of literals. Raises ValueError when one of them holds NUL."""
    given = list(values)
    if not given:
        return "{}"
    joined = _BETWEEN.join(given)
    if joined.count(_BETWEEN) != len(given) - 1:
        msg = "a text holds NUL, which PostgreSQL cannot store"
        raise ValueError(msg)
    if "\\" in joined:
        joined = joined.replace("\\", "\\\\")
    if '"' in joined:
        joined = joined.replace('"', '\\"')
    return '{"' + joined.replace(_BETWEEN, '","') + '"}'


def pieces(values: Sequence[bytes | None]) -> tuple[bytes, str, str]:
    """Return bytes as one value, with literals of where each begins (from 1) and of how long it is (None: null).

    A statement cuts them out with `substring($1::bytea from place for size)`.
    """
    given = [value or b"" for value in values]
    ends = accumulate(map(len, given), initial=1)
    places = [place for place, _ in zip(ends, given, strict=False)]
    return b"".join(given), numbers(places), ids([None if value is None else str(len(value)) for value in values])
