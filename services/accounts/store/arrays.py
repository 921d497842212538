"""Arrays of arrays as text, because `unnest` flattens them: each element is a PostgreSQL array literal of its own."""

from collections.abc import Iterable

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})


def text_literal(values: Iterable[str]) -> str:
    """Return a literal of any texts, to be cast to text[]."""
    return "{" + ",".join(f'"{value.translate(_ESCAPES)}"' for value in values) + "}"


def uuid_literal(values: Iterable[str]) -> str:
    """Return a literal of ids, to be cast to uuid[]."""
    return "{" + ",".join(values) + "}"
