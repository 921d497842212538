"""What must come out of the story, from the oracle, in the form of `samples/expected.json`.

`python -m tests.e2e.expected` prints it. When the story changes, read the difference before you write it down: the file
is checked by hand (`samples/EXPECTED.md` says how), and a unit test holds it against the oracle.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from samples.calendar import LIVE_DAY, RULES_WAKE_AT
from samples.company import Person
from samples.script import Story, story
from tests.e2e.oracle import Finding, World

WINDOWS = (7, 30, 90, 365)
ACCOUNTS = ("nordlicht", "hansepumpen", "lindenhof", "vierlanden", "elbmetall", "sonnenfeld", "tessin", "rheinwerk")
MANAGERS = ("anna", "bruno", "clara", "david", "eva")
RANK = {"warn": 1, "alert": 2}


def expected(of: Story) -> dict[str, Any]:
    """Alerts step by step, KPIs at the end of the live day, strangers before and after."""
    last = World.at(of.company, of.facts, of.steps[-1].clock, entered_by(of, of.steps[-1].clock))
    return {
        "alerts": list(alert_life(of)),
        "kpis": {
            "as_of": LIVE_DAY.isoformat(),
            "accounts": {key: _windows(last, [key]) for key in ACCOUNTS},
            "managers": {
                name: _windows(last, [customer.key for customer in of.company.customers if customer.owner == name])
                for name in MANAGERS
            },
            "portfolio": _windows(last, [customer.key for customer in of.company.customers]),
        },
        "strangers": {
            "after history": World.at(of.company, of.facts, of.imported_at).strangers(),
            "at the end": last.strangers(),
        },
    }


def moments(of: Story) -> list[tuple[str, datetime]]:
    """Every step's name and clock; the first is when the rules wake after history."""
    return [("history", RULES_WAKE_AT), *((step.name, step.clock) for step in of.steps)]


def entered_by(of: Story, now: datetime) -> list[Person]:
    """Contacts entered by hand until `now`."""
    return [person for step in of.steps if step.clock <= now for person in step.entered]


def alert_life(of: Story) -> Iterator[dict[str, Any]]:
    """What each step does to alerts: opened, escalated, resolved; with the evidence of what is on."""
    before: dict[tuple[str, str, str], Finding] = {}
    for name, clock in moments(of):
        world = World.at(of.company, of.facts, clock, entered_by(of, clock))
        now = {_identity(finding): finding for finding in world.findings(clock)}
        for identity, finding in now.items():
            known = before.get(identity)
            if known is None:
                yield _line(name, clock, "opened", finding)
            elif RANK[finding.severity] > RANK[known.severity]:
                yield _line(name, clock, "escalated", finding)
        for identity, finding in before.items():
            if identity not in now:
                yield _line(name, clock, "resolved", finding)
        before = now


def _identity(finding: Finding) -> tuple[str, str, str]:
    """One alert: an unanswered mail and a departure are each their own, the others one per account."""
    own = finding.rule in {"unanswered_mail", "champion_left"}
    return finding.rule, finding.account, finding.evidence[0] if own else ""


def _line(step: str, clock: datetime, change: str, finding: Finding) -> dict[str, Any]:
    return {
        "step": step,
        "clock": clock.isoformat(),
        "change": change,
        "rule": finding.rule,
        "account": finding.account,
        "severity": finding.severity,
        "evidence": list(finding.evidence),
    }


def _windows(world: World, accounts: list[str], last: date = LIVE_DAY) -> dict[str, Any]:
    return {
        str(days): {
            name: [_plain(value), _plain(before[name])]
            for before in [world.previous_kpis(accounts, last, days)]
            for name, value in world.kpis(accounts, last, days).items()
        }
        for days in WINDOWS
    }


def _plain(value: Decimal | None) -> str | None:
    """Six decimals at most, no trailing zeros: what two exact computations agree on however they divide."""
    if value is None:
        return None
    text = f"{value.quantize(Decimal('0.000001')):f}"
    return text.rstrip("0").rstrip(".")


def written(content: dict[str, Any]) -> str:
    """As the file has it: [value, the same over the window before] on one line."""
    pair = r"\[\s+(\"[^\"]*\"|null),\s+(\"[^\"]*\"|null)\s+\]"
    return re.sub(pair, r"[\1, \2]", json.dumps(content, indent=1)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(written(expected(story())))
