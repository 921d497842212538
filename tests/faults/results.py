"""What rounds came to: kept as JSON, shown as tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.local.instance import CHECKOUT
from tests.faults.nemesis import FAULTS
from tests.faults.planted.hunt import Caught
from tests.faults.rounds import Verdict
from tests.faults.strike import named_places
from tests.faults.upheaval import OLDER_BUILD, faketime_library, older_build

KEPT = CHECKOUT / ".tenure" / "faults.json"
KEPT_PLANTED = CHECKOUT / ".tenure" / "faults-planted.json"
Hits = Counter[tuple[str, str, str]]


@dataclass
class Results:
    """Verdicts and hits of all rounds of a run."""

    verdicts: list[Verdict] = field(default_factory=list)
    hits: Hits = field(default_factory=Counter)
    small_disks: bool = True

    @property
    def bad(self) -> list[Verdict]:
        """What must be looked at."""
        return [verdict for verdict in self.verdicts if not verdict.good]

    def never_hit(self) -> list[str]:
        """Failpoints that no process of a service reached that has them."""
        return [
            f"{service} {place}" for service, place in expected_places() if not self.hits[service, place, "reached"]
        ]

    def not_run(self) -> Iterator[tuple[str, str]]:
        """Faults that this machine does not allow, and why."""
        if faketime_library() is None:
            yield "clock-skew", "libfaketime is not installed (its path can be named in TENURE_LIBFAKETIME)"
        if older_build() is None:
            yield "rolling-upgrade", f"this checkout's history does not reach back to {OLDER_BUILD}"
        if not self.small_disks:
            yield "disk-full", "this user may not mount a small disk"


def expected_places() -> list[tuple[str, str]]:
    """(service, failpoint) that a run has to reach."""
    named = named_places()
    return [(service, place) for service in named for place in named[service]]


def by_fault(verdicts: Iterable[Verdict]) -> list[tuple[str, int, int, int]]:
    """(fault, runs, records, violations); what could not be judged counts as a violation."""
    table: dict[str, list[int]] = {name: [0, 0, 0] for name in FAULTS}
    for verdict in verdicts:
        row = table.setdefault(verdict.fault, [0, 0, 0])
        row[0] += 1
        row[1] += verdict.records
        row[2] += len(verdict.violations) + bool(verdict.trouble)
    return [(name, runs, records, violations) for name, (runs, records, violations) in table.items()]


def show(results: Results, console: Console) -> None:
    """The tables at the end of a run."""
    not_run = dict(results.not_run())
    table = Table("fault", "runs", "records", "violations")
    for name, runs, records, violations in by_fault(results.verdicts):
        if name in not_run:
            table.add_row(name, "not run", "", "")
        elif runs:
            table.add_row(name, str(runs), str(records), str(violations))
    console.print(table)
    for name, why in not_run.items():
        console.print(f"{name} was not run: {why}.")
    places = Table("failpoint", "reached", "killed, stopped or stalled there")
    for service, place in expected_places():
        broken = sum(results.hits[service, place, action] for action in ("kill", "stop", "stall", "fail"))
        places.add_row(f"{service} {place}", str(results.hits[service, place, "reached"]), str(broken))
    console.print(places)


def keep(results: Results, path: Path = KEPT) -> None:
    """Write everything down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document: Mapping[str, Any] = {
        "verdicts": [_verdict(verdict) for verdict in results.verdicts],
        "hits": [[*key, count] for key, count in sorted(results.hits.items())],
        "not_run": dict(results.not_run()),
    }
    path.write_text(json.dumps(document, indent=1))


def _verdict(verdict: Verdict) -> Mapping[str, Any]:
    return {
        "seed": verdict.seed,
        "step": verdict.step,
        "fault": verdict.fault,
        "records": verdict.records,
        "seconds": round(verdict.seconds, 1),
        "trouble": verdict.trouble,
        "violations": [str(violation) for violation in verdict.violations],
    }


def show_caught(caught: Sequence[Caught], console: Console) -> None:
    """Which seed and fault caught which planted bug."""
    table = Table("planted bug", "caught by", "seed", "step", "first violation")
    for one in caught:
        seed = "NOT CAUGHT" if one.seed is None else str(one.seed)
        table.add_row(one.bug.name, one.fault, seed, str(one.step), one.by)
    console.print(table)


def keep_caught(caught: Sequence[Caught], path: Path = KEPT_PLANTED) -> None:
    """Write down, beside what earlier runs have found of other bugs."""
    known = json.loads(path.read_text()) if path.exists() else {}
    for one in caught:
        known[one.bug.name] = {
            "what": one.bug.what,
            "seed": one.seed,
            "step": one.step,
            "fault": one.fault,
            "by": one.by,
            "rounds": one.rounds,
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1))


def sentence(verdict: Verdict, size: str, faults: Sequence[str]) -> str:
    """A verdict for a person: short, and how to see it again."""
    head = f"seed {verdict.seed}, step {verdict.step}, {verdict.fault}: {verdict.records} records"
    if verdict.good:
        return f"{head}, no violation ({verdict.seconds:.0f} s)"
    which = "".join(f" --fault {name}" for name in faults)
    lines = [f"{head}, {len(verdict.violations)} violations {verdict.trouble}".rstrip()]
    lines += [f"  {violation}"[:600] for violation in verdict.violations]
    lines.append(f"  again: python -m tests.faults --seed {verdict.seed} --size {size}{which}")
    return "\n".join(lines)
