"""What a person sees: progress while it runs, then a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.table import Table

from tests.bench.figures import Measured, Plan, show_mark, show_number
from tests.bench.page import growth_rows

_STYLES = {
    "goal reached": "green",
    "first mark reached": "green",
    "falls short": "red",
    "goal not reached": "yellow",
    "for orientation": "dim",
}


class Progress:
    """Says what is being done: one changing line on a terminal, a line for each step elsewhere; on stderr."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = console.status("") if console.is_terminal else None
        self.part = ""

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, step: str) -> None:
        """Shows a step of the present part."""
        text = f"{self.part}: {step}" if self.part else step
        if self._status is not None:
            self._status.update(text)
        else:
            self._console.print(text, markup=False, highlight=False)


def show(console: Console, measured: Sequence[Measured], failures: Mapping[str, str]) -> None:
    """The figures, what falls short, and what was found wrong."""
    if console.is_terminal:
        _table(console, measured)
    else:
        for one in measured:
            console.print(_line(one), markup=False, highlight=False, soft_wrap=True)
    _show_growth(console, measured)
    short = [one.figure.name for one in measured if one.verdict == "falls short"]
    if short:
        console.print(f"Falls short of what was promised first: {', '.join(short)}.", soft_wrap=True)
    for one in measured:
        if one.note and one.figure.unit != "times" and console.is_terminal:
            console.print(f"{one.figure.name}: {one.note}", markup=False, highlight=False, soft_wrap=True)
    for name, failure in failures.items():
        console.print(f"WRONG: {name}: {failure}", markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run was made of and under. `load`: the machine's when it began; `seconds`: how long it took."""

    parts: Sequence[str]
    load: float
    seconds: float


def keep(
    path: Path, plan: Plan, conditions: Conditions, measured: Sequence[Measured], failures: Mapping[str, str]
) -> None:
    """Writes everything down as JSON, this machine's own rates included."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "parts": list(conditions.parts),
        "load_before": conditions.load,
        "took_seconds": conditions.seconds,
        **asdict(plan),
        "figures": [_described(one) for one in measured],
        "wrong": dict(failures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _described(one: Measured) -> dict[str, Any]:
    return {
        "figure": one.figure.name,
        "workload": one.figure.workload,
        "baseline": one.figure.baseline,
        "value": one.value if one.samples else None,
        "unit": one.figure.unit,
        "samples": one.samples,
        "first": one.figure.first,
        "goal": one.figure.goal,
        "verdict": one.verdict,
        "note": one.note,
        "per_second_on_this_machine": dict(one.rates),
    }


def _show_growth(console: Console, measured: Sequence[Measured]) -> None:
    rows = list(growth_rows([_described(one) for one in measured]))
    if not rows:
        return
    table = Table(title="Growth")
    table.add_column("figure")
    for name in ("at", "cost", "of the first"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _table(console: Console, measured: Sequence[Measured]) -> None:
    table = Table(title="Speed, as ratios within this run")
    for name in ("figure", "workload", "against"):
        table.add_column(name)
    for name in ("median", "lowest … highest", "first", "goal"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for one in measured:
        style = _STYLES[one.verdict]
        table.add_row(
            one.figure.name,
            one.figure.workload,
            one.figure.baseline,
            *_numbers(one),
            f"[{style}]{one.verdict}[/{style}]",
        )
    console.print(table)


def _line(one: Measured) -> str:
    value, spread, first, goal = _numbers(one)
    return (
        f"{one.figure.name}: {value} ({spread}); first {first}, goal {goal}: {one.verdict}"
        f" - {one.figure.workload} against {one.figure.baseline}" + (f". {one.note}" if one.note else "")
    )


def _numbers(one: Measured) -> tuple[str, str, str, str]:
    unit = one.figure.unit
    if not one.samples:
        return "-", "-", show_mark(one.figure.first, unit), show_mark(one.figure.goal, unit)
    spread = f"{show_number(min(one.samples), unit)} … {show_number(max(one.samples), unit)}"
    return show_number(one.value, unit), spread, show_mark(one.figure.first, unit), show_mark(one.figure.goal, unit)
