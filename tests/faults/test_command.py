"""What `python -m tests.faults` says at the end, and with which exit code."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.processes import LocalFault
from tests.faults import __main__ as command
from tests.faults import results as outcome
from tests.faults.history import Violation
from tests.faults.results import Results, expected_places
from tests.faults.rounds import Played, Verdict

GOOD = Verdict(seed=1, step=0, fault="calm", records=10, seconds=1.0, violations=())
WRONG = Violation(seed=1, invariant="order", subject="an account", expected="version 8", found="version 7")
BAD = Verdict(seed=1, step=1, fault="zombie", records=10, seconds=1.0, violations=(WRONG,))
ALL_REACHED = Counter({(service, place, "reached"): 1 for service, place in expected_places()})
Playing = Callable[..., Played]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "faults.json"
    monkeypatch.setattr(outcome, "keep", lambda results: KEEP(results, path))
    return path


KEEP = outcome.keep


def playing(*verdicts: Verdict, hits: Counter[tuple[str, str, str]] = ALL_REACHED) -> Playing:
    """Rounds whose end is known."""

    def run(*_: Any, report: Callable[[Verdict], None], **__: Any) -> Played:
        for verdict in verdicts:
            report(verdict)
        return Played(list(verdicts), hits, small_disks=True)

    return run


def exit_code(monkeypatch: pytest.MonkeyPatch, run: Playing, **options: Any) -> int | str | None:
    monkeypatch.setattr(command, "run", run)
    with pytest.raises(SystemExit) as ended:
        command.main(**{"seeds": "1-2", **options})
    return ended.value.code


def test_rounds_without_violation_that_reach_every_failpoint_end_with_zero(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code(monkeypatch, playing(GOOD)) == 0
    assert [one["fault"] for one in json.loads(kept.read_text())["verdicts"]] == ["calm", "calm"]


@pytest.mark.usefixtures("kept")
def test_a_violation_fails_the_run_and_says_how_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(monkeypatch, playing(GOOD, BAD)) == 1
    said = capsys.readouterr().err
    assert "order: an account: expected version 8, found version 7" in said
    assert "again: python -m tests.faults --seed 1 --size small" in said


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("place", expected_places())
def test_a_failpoint_that_was_never_reached_fails_the_run(
    place: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = Counter({key: count for key, count in ALL_REACHED.items() if key[:2] != place})
    # killing there is not enough where nobody came past
    hits[(*place, "kill")] = 0
    assert Results(hits=hits).never_hit() == [" ".join(place)]
    assert exit_code(monkeypatch, playing(GOOD, hits=hits)) == 1
    assert f"The failpoint {place[0]} {place[1]} was never reached." in capsys.readouterr().err


def test_a_system_that_could_not_be_started_is_started_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [LocalFault("the port was taken"), LocalFault("the port was taken")]

    def run(*arguments: Any, **options: Any) -> Played:
        if failures:
            raise failures.pop()
        return playing(GOOD)(*arguments, **options)

    assert exit_code(monkeypatch, run) == 0
    assert len(json.loads(kept.read_text())["verdicts"]) == 2


def test_a_run_that_is_broken_off_keeps_and_shows_what_it_has_found(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fault in (LocalFault("no memory"), KeyboardInterrupt()):
        turns: list[int] = []

        def run(seed: int, *arguments: Any, fault: BaseException = fault, **options: Any) -> Played:
            turns.append(seed)  # noqa: B023 - called at once
            if seed == 2:
                raise fault
            return playing(GOOD)(seed, *arguments, **options)

        assert exit_code(monkeypatch, run) == 1
        assert turns == ([1, 2, 2, 2] if isinstance(fault, LocalFault) else [1, 2])
        assert len(json.loads(kept.read_text())["verdicts"]) == 1
        assert "calm" in capsys.readouterr().out
