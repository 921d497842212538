"""`make faults`: histories under faults, for a number of seeds and minutes. Exit 1 when a promise was not kept."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, cast

import typer
from rich.console import Console

from deploy.local.processes import LocalFault
from samples.player import PlayFault
from services.cli.terminal import progress
from tests.faults import results as outcome
from tests.faults.history import Sizes
from tests.faults.nemesis import FAULTS
from tests.faults.planted.catalogue import BUGS
from tests.faults.planted.hunt import hunt
from tests.faults.results import Results
from tests.faults.rounds import Verdict, run

_ATTEMPTS = 3


def main(
    seed: Annotated[int | None, typer.Option(help="Play the history of one seed (again).")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; can be repeated.")] = None,
    size: Annotated[str, typer.Option(help="small, medium or large")] = "small",
    seeds: Annotated[str, typer.Option(help="A range of seeds such as 1-20, or how many from 1 on.")] = "20",
    minutes: Annotated[float, typer.Option(help="No new history begins after so many minutes.")] = 60.0,
    *,
    planted: Annotated[bool, typer.Option(help="Plant each of the known bugs instead: all must be caught.")] = False,
    bug: Annotated[list[str] | None, typer.Option(help="Plant only this one; can be repeated.")] = None,
    short: Annotated[bool, typer.Option(help="As `make test` plays it: no pause past a longer time-out.")] = False,
) -> None:
    """Tells seeded histories to fresh systems while they are broken, and compares with the oracle."""
    if planted or bug:
        raise SystemExit(_plant(bug or list(BUGS), list(numbers(seeds))))
    faults = fault or list(FAULTS)
    unknown = sorted(set(faults) - set(FAULTS))
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    results = Results()
    began = time.monotonic()
    stopped = ""
    try:
        with progress() as say:
            for number in [seed] if seed is not None else numbers(seeds):
                if time.monotonic() - began > minutes * 60:
                    break
                _patiently(results, number, faults, cast("Sizes", size), thorough=not short, say=say)
    except (LocalFault, PlayFault) as failure:
        stopped = f"The rounds cannot go on. {failure}\n"
    except KeyboardInterrupt:
        stopped = "Interrupted.\n"
    outcome.keep(results)
    outcome.show(results, Console())
    never = results.never_hit() if seed is None and fault is None else []
    for place in never:
        sys.stderr.write(f"The failpoint {place} was never reached.\n")
    sys.stderr.write(f"{time.monotonic() - began:.0f} s; every verdict is in .tenure/faults.json\n")
    sys.stderr.write(stopped)
    raise SystemExit(1 if results.bad or never or stopped else 0)


def _patiently(results: Results, seed: int, faults: Sequence[str], size: Sizes, *, thorough: bool, say: Any) -> None:
    """A history; again where its system could not be started, because somebody else took a port or all the memory."""
    for attempt in range(_ATTEMPTS):
        try:
            _history(results, seed, faults, size, thorough=thorough, say=say)
        except (LocalFault, PlayFault) as failure:
            if attempt == _ATTEMPTS - 1:
                raise
            sys.stderr.write(f"seed {seed} could not be played and is begun again: {failure}\n")
        else:
            return


def _history(results: Results, seed: int, faults: Sequence[str], size: Sizes, *, thorough: bool, say: Any) -> None:
    say(f"seed {seed}: a fresh system")

    def report(verdict: Verdict) -> None:
        # at once: a long run that is broken off has its table all the same
        results.verdicts.append(verdict)
        outcome.keep(results)
        text = outcome.sentence(verdict, size, [] if len(faults) == len(FAULTS) else faults)
        if verdict.good:
            say(text)
        else:
            sys.stderr.write(f"{text}\n")

    played = run(seed, faults, size=size, thorough=thorough, report=report)
    results.hits += played.hits
    results.small_disks = results.small_disks and played.small_disks


def _plant(names: Sequence[str], seeds: Sequence[int]) -> int:
    """Plant bugs one after the other; the exit code."""
    caught = []
    with progress() as say:
        for name in names:
            caught.append(hunt(BUGS[name], seeds, say))
            say(str(caught[-1]))
            outcome.keep_caught(caught)
    outcome.show_caught(caught, Console())
    return 1 if any(one.seed is None for one in caught) else 0


def numbers(text: str) -> Iterator[int]:
    """The seeds of "1-20" or "20"."""
    first, _, last = text.partition("-")
    yield from range(int(first), int(last) + 1) if last else range(1, int(first) + 1)


if __name__ == "__main__":
    typer.run(main)
