"""Ratios, verdicts and checks of the bench."""

from __future__ import annotations

import pytest

from tests.bench.figures import CheckFailed, Figure, Measured, alternate, compare, expect
from tests.bench.load import Answers
from tests.bench.stream import Pace, joint_pace

RATIO = Figure("relay", "the relay", "A", first=0.4, goal=0.7)
TIME = Figure("p99", "latency", "an open loop", first=15.0, unit="ms")


def test_every_second_round_goes_backwards() -> None:
    took_part: list[str] = []

    def contestant(name: str) -> float:
        took_part.append(name)
        return 1.0

    alternate(2, lambda _: None, first=lambda: contestant("first"), second=lambda: contestant("second"))
    assert took_part == ["first", "second", "second", "first"]


def test_a_figure_is_the_median_of_ratios_taken_round_by_round() -> None:
    measured = compare(RATIO, [10.0, 30.0, 50.0], [100.0, 100.0, 100.0])
    assert measured.samples == (0.1, 0.3, 0.5)
    assert measured.value == 0.3


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.39, "falls short"), (0.4, "first mark reached"), (0.7, "goal reached")]
)
def test_more_is_better_of_a_ratio(value: float, verdict: str) -> None:
    assert Measured(RATIO, (value,), {}).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(15.0, "first mark reached"), (15.1, "falls short")])
def test_less_is_better_of_a_time(value: float, verdict: str) -> None:
    assert Measured(TIME, (value,), {}).verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.2, "goal reached"), (2.0, "first mark reached"), (2.1, "falls short")]
)
def test_less_is_better_of_how_much_a_cost_grows(value: float, verdict: str) -> None:
    growth = Figure("history", "history grows", "little history", first=2.0, goal=1.2, unit="times")
    assert Measured(growth, (value,), {}).verdict == verdict


def test_a_goal_without_a_first_mark_is_reached_or_not() -> None:
    fast = Figure("alert-1000-p50", "the median", "an open loop", goal=250.0, unit="ms")
    assert Measured(fast, (250.0,), {}).verdict == "goal reached"
    assert Measured(fast, (250.1,), {}).verdict == "goal not reached"


def test_what_could_not_be_measured_says_why_and_has_no_verdict_of_speed() -> None:
    assert Measured(RATIO, (), {}, "it cannot be had for this Python").verdict == "not measured"


def test_an_end_state_that_differs_is_said_with_both_numbers() -> None:
    with pytest.raises(CheckFailed, match="rows in the ledger: 0 instead of 400"):
        expect("rows in the ledger", 0, 400)


def test_the_first_batch_does_not_count_for_the_pace() -> None:
    pace = Pace()
    pace.committed(100)
    with pytest.raises(ValueError, match="at least two"):
        _ = pace.per_second
    pace.committed(200)
    assert pace.total == 200
    assert pace.per_second > 0


def test_two_processes_are_timed_from_when_both_have_committed_until_both_are_done() -> None:
    early, late = [(0.0, 100), (1.0, 200), (2.0, 300)], [(1.0, 100), (3.0, 300)]
    assert joint_pace([early, late]) == (600 - 200 - 100) / 2.0


def test_the_first_refusal_is_kept_for_the_message() -> None:
    answers = Answers()
    answers.note(202, b"")
    answers.note(401, b"The signature is missing")
    answers.note(503, b"later")
    assert answers.refusal == "401 The signature is missing"
    assert answers.statuses.total() == 3
