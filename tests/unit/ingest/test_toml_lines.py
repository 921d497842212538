"""A mistake in sources.toml is shown on the line where it was made."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.toml_lines import line_of, lines_of

FILE = '''# ours
own_domains = [
  "a.example", # with [brackets]
  "b.example",
]
[sources.desk] # a table
provider = "zendesk"
"secret_files" = ["x # y", 'z"']
note = """
[sources.not]
key = 1 \\""" still text
""""
[sources."with.dot"]
options = {a = 1, b.c = [1, 2]}

[[privacy]]
name = "hr"
[[privacy]]
name = 'legal'
'''


def test_every_kind_of_key_is_found_on_its_line() -> None:
    lines = lines_of(FILE)
    assert lines["own_domains",] == 2
    assert lines["own_domains", "1"] == 4
    assert lines["sources", "desk"] == 6
    assert lines["sources", "desk", "secret_files"] == 8
    assert lines["sources", "with.dot"] == 13
    assert lines["sources", "with.dot", "options", "b", "c", "1"] == 14
    assert lines["privacy", "1", "name"] == 19
    assert ("sources", "not") not in lines
    assert line_of(lines, ("sources", "desk", "system")) == 6
    assert line_of(lines, ("elsewhere",)) == 1


keys = st.text(st.sampled_from("ab_-. \"'é#[]=\\"), min_size=1, max_size=4)
scalars = st.one_of(st.integers(), st.booleans(), st.text(st.sampled_from("ab#\n\"'[]{},=\\ "), max_size=6))
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=5
)


def written(value: Any) -> str:
    """A value as TOML; JSON's strings are TOML's."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + "".join(f"  {written(inner)}, # [x\n" for inner in value) + "]"
    return json.dumps(value)


def paths(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of everything in a parsed file."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*above, str(key))
        yield from paths(inner, (*above, str(key)))


@given(tables=st.dictionaries(keys, st.dictionaries(keys, values, max_size=3), max_size=4), blank=st.integers(0, 3))
def test_whatever_a_file_holds_every_key_has_the_line_that_it_stands_on(
    tables: dict[str, dict[str, Any]], blank: int
) -> None:
    text = ""
    for table, entries in tables.items():
        text += "\n" * blank + f"[{json.dumps(table)}]\n"
        for key, value in entries.items():
            text += f"{json.dumps(key)} = {written(value)}\n"
    lines = lines_of(text)
    assert set(lines) == set(paths(tomllib.loads(text)))
    rows = text.splitlines() if "\r" not in text else text.split("\n")
    for path, line in lines.items():
        if len(path) <= 2:
            assert json.dumps(path[-1]) in rows[line - 1]
