"""The tables of docs/performance.md, written from the last run's numbers: `python -m tests.bench --write-docs`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bench.figures import show_mark, show_number

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


def rewritten(page: str, run: Mapping[str, Any]) -> str:
    """Return the page with what stands between its markers replaced by what `run` (bench.json) says.

    Raises ValueError when a marker is missing.
    """
    for name, lines in (("figures", _figures(run)), ("growth", _growth(run))):
        between = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        inner = "\n".join(lines).replace("\\", r"\\")
        page, found = between.subn(rf"\g<1>\n{inner}\n\n\g<2>", page)
        if found != 1:
            raise ValueError(f"docs/performance.md must have the markers of {name!r} once, has them {found} times")
    return page


def _figures(run: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{run['at'][:10]}, {run['records']:,} records, {run['rounds']} rounds, {run['took_seconds']:.0f} s,"
        f" Python {run['python']}, {run['cores']} cores, load {run['load_before']:.1f} when it began."
    )
    yield ""
    yield "| figure | against | median | lowest … highest | first | goal | verdict |"
    yield "|---|---|---:|---:|---:|---:|---|"
    for one in run["figures"]:
        unit, samples = one["unit"], one["samples"]
        value = f"**{show_number(one['value'], unit)}**" if samples else "-"
        spread = f"{show_number(min(samples), unit)} … {show_number(max(samples), unit)}" if samples else "-"
        first, goal = show_mark(one["first"], unit), show_mark(one["goal"], unit)
        yield (
            f"| {one['workload']} (`{one['figure']}`) | {one['baseline']} | {value} | {spread} | {first} | {goal}"
            f" | {one['verdict']} |"
        )
    notes = [one for one in run["figures"] if one["note"] and one["unit"] != "times"]
    if notes:
        yield ""
        yield from (f"- `{one['figure']}`: {one['note']}." for one in notes)
    for name, failure in run["wrong"].items():
        # Where its log lies is for who ran it; the page is for everybody.
        yield f"- **Wrong:** `{name}`: {failure.partition(' Its log')[0]}"


def _growth(run: Mapping[str, Any]) -> Iterator[str]:
    yield "| figure | at | cost | of the first |"
    yield "|---|---:|---:|---:|"
    for name, size, cost, ratio in growth_rows(run["figures"]):
        yield f"| `{name}` | {size} | {cost} | {ratio} |"


def growth_rows(figures: list[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    """Return figure, size, cost and ratio to the first size, for every figure that says how something grows."""
    for one in figures:
        if one["unit"] != "times":
            continue
        costs: Mapping[str, float] = one["per_second_on_this_machine"]
        first = next(iter(costs.values()))
        unit = "ms" if one["figure"].endswith("read") else "µs"
        for size, cost in costs.items():
            yield one["figure"], size, f"{cost:.{1 if unit == 'ms' else 0}f} {unit}", f"{cost / first:.2f}x"
