"""The tables of docs/performance.md can be renewed from a run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.page import PAGE, rewritten

RUN: dict[str, Any] = {
    "at": "2026-11-22T18:30:00+00:00",
    "python": "3.11.7",
    "cores": 2,
    "load_before": 0.1,
    "took_seconds": 600.0,
    "records": 30_000,
    "rounds": 3,
    "wrong": {},
    "figures": [
        {
            "figure": name,
            "workload": f"the workload of {name}",
            "baseline": "A",
            "value": value,
            "unit": unit,
            "samples": samples,
            "first": 2.0,
            "goal": None,
            "verdict": "falls short",
            "note": note,
            "per_second_on_this_machine": rates,
        }
        for name, value, unit, samples, note, rates in (
            ("relay", 0.5, "ratio", [0.4, 0.6], "", {"tenure": 1.0}),
            ("peer-x", None, "ratio", [], "x was not measured: it has no build", {}),
            ("history-read", 1.5, "times", [1.5], "", {"10 events": 2.0, "100 events": 3.0}),
        )
    ],
}


def test_the_page_has_its_markers_and_takes_the_figures_of_a_run() -> None:
    page = rewritten(PAGE.read_text(), RUN)
    assert "| the workload of relay (`relay`) | A | **0.50** | 0.40 … 0.60 | ≥ 2.00 | - | falls short |" in page
    assert "- `peer-x`: x was not measured: it has no build." in page
    assert "| `history-read` | 100 events | 3.0 ms | 1.50x |" in page
    assert rewritten(page, RUN) == page


def test_a_page_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="markers of 'growth'"):
        rewritten(PAGE.read_text().replace("<!-- growth -->", ""), RUN)
