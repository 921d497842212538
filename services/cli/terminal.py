"""What a person sees: progress on stderr, live on a terminal and plain lines elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Control characters, line separators, what turns the direction of writing, and halves of characters.
_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def plain(text: str) -> str:
    """Text of strangers in one line: what would steer a terminal becomes a space."""
    return _STEERS.sub(" ", text)


def on_terminal() -> bool:
    """Whether a person sees what is printed."""
    return Console().is_terminal


def show_rows(titles: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str | None] = ()) -> None:
    """Print a table on a terminal, a line for each row elsewhere. Cells may hold what strangers wrote.

    `styles`: one for each row, on a terminal; lines within a cell stay lines there.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        for row in rows:
            console.print(" ".join(map(plain, row)), markup=False, soft_wrap=True)
        return
    table = Table(*titles, box=None, pad_edge=False)
    for row, style in zip(rows, styles or [None] * len(rows), strict=True):
        table.add_row(*(Text("\n".join(map(plain, cell.split("\n")))) for cell in row), style=style)
    console.print(table)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A function that says what is being done now; on a terminal the last word is replaced by the next."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda text: console.print(plain(text), markup=False, soft_wrap=True)
        return
    with console.status("") as line:
        yield lambda text: line.update(Text(plain(text)))
