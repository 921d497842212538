"""`make bench`: every speed figure, as ratios within one run. Exit 1 when a run ended in a wrong state."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer
from rich.console import Console

from deploy.local.instance import instance_directory
from deploy.local.processes import LocalFault
from tests.bench import accounts, chain, doors, growth, mails, metrics, page, peers, providers, relay, report, rules
from tests.bench.figures import CheckFailed, Measured, Plan, Step
from tests.bench.ground import Ground, prepared

Bench = Callable[[Ground, Plan, Step], Sequence[Measured]]

BENCHES: Mapping[str, Bench] = {
    "accounts": accounts.measure,
    "metrics": metrics.measure,
    "relay": relay.measure,
    "webhook": doors.webhook,
    "providers": providers.measure,
    "import": doors.bulk,
    "mails": mails.measure,
    "rules": rules.measure,
    "chain": chain.measure,
    "growth": growth.measure,
    "peers": peers.measure,
}


def main(  # noqa: PLR0917 - options of a command
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(BENCHES)}; can be repeated.")] = None,
    records: Annotated[int, typer.Option(min=400, help="Records for each consumer.")] = Plan.records,
    rounds: Annotated[int, typer.Option(min=1, help="How often each pair is measured.")] = Plan.rounds,
    seconds: Annotated[int, typer.Option(min=1, help="How long each step of an open loop lasts.")] = Plan.seconds,
    history: Annotated[int, typer.Option(min=1000, help="Events of history up to which growth goes.")] = Plan.history,
    crowd: Annotated[int, typer.Option(min=100, help="Accounts up to which growth goes.")] = Plan.crowd,
    *,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="Run nothing: write the last run's figures into docs/performance.md.")
    ] = False,
) -> None:
    """Measures Tenure against baselines on this machine. Ratios can be compared between machines, rates cannot."""
    unknown = sorted(set(only or ()) - set(BENCHES))
    if unknown:
        raise typer.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    plan = Plan(records=records, rounds=rounds, seconds=seconds, history=history, crowd=crowd)
    directory = instance_directory("bench")
    kept = directory.with_name("bench.json")
    if write_docs:
        run = json.loads(kept.read_text())
        if run["parts"] != list(BENCHES):
            raise SystemExit("The last run measured a part only; run `make bench` as a whole first.")
        page.PAGE.write_text(page.rewritten(page.PAGE.read_text(), run))
        return
    load = os.getloadavg()[0]
    measured: list[Measured] = []
    failures: dict[str, str] = {}
    began = time.monotonic()
    try:
        with report.Progress(Console(stderr=True)) as progress, prepared(directory, progress) as ground:
            for name in only or BENCHES:
                progress.part = name
                result = _run(BENCHES[name], ground, plan, progress)
                if isinstance(result, str):
                    failures[name] = result
                else:
                    measured += result
            progress.part = ""
    except LocalFault as fault:
        raise SystemExit(f"The bench cannot run. {fault}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    took = time.monotonic() - began
    report.keep(kept, plan, report.Conditions(list(only or BENCHES), load, took), measured, failures)
    report.show(Console(), measured, failures)
    sys.stderr.write(f"{took:.0f} s; every number of this run is in .tenure/bench.json\n")
    raise SystemExit(1 if failures else 0)


def _run(bench: Bench, ground: Ground, plan: Plan, step: Step) -> Sequence[Measured] | str:
    """What was measured, or what went wrong."""
    try:
        with ground.cleared():
            return bench(ground, plan, step)
    except (CheckFailed, LocalFault) as failure:
        return str(failure)


if __name__ == "__main__":
    typer.run(main)
