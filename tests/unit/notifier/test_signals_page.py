"""`docs/signals.md` says what the rules do: its numbers are the defaults in the code."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from services.notifier.domain.retry import GIVE_UP_AFTER
from services.notifier.domain.rules import THRESHOLDS
from services.notifier.domain.thresholds import Cadence, StaleTouch

PAGE = (Path(__file__).parents[3] / "docs" / "signals.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())


def section(title: str) -> str:
    """The text under a heading, up to the next."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return " ".join(found.group(1).split())


@pytest.mark.parametrize("rule", sorted(THRESHOLDS))
def test_every_rule_has_a_section_with_what_ends_it_its_evidence_and_an_example(rule: str) -> None:
    text = section(rule)
    for part in ("**Evidence**", "**Example**"):
        assert part in text
    assert "**What resets it**" in text or "**What ends it**" in text


@pytest.mark.parametrize("rule", sorted(THRESHOLDS))
def test_every_number_of_a_rule_is_its_default(rule: str) -> None:
    defaults = THRESHOLDS[rule]()  # type: ignore[index]
    stated = re.findall(r"`(\w+)` = ([\d.]+)", section(rule))
    for name, number in stated:
        assert Decimal(number) == Decimal(str(getattr(defaults, name))), name
    numbers = {name for name, value in defaults if isinstance(value, int | Decimal) and not isinstance(value, bool)} - {
        "cooldown_hours",
        "reopen_days",
    }
    assert {name for name, _ in stated} == numbers


def test_the_cadences_are_those_of_the_table() -> None:
    rows = re.findall(r"\| `(\w+)` \| (\d+) \| (\d+) \|", section("stale_touch"))
    stated = {name: Cadence(warn_days=int(warn), alert_days=int(alert)) for name, warn, alert in rows}
    assert stated == {name: value for name, value in StaleTouch() if isinstance(value, Cadence)}


def test_the_life_of_an_alert_and_of_a_delivery_have_the_numbers_of_the_code() -> None:
    life = section("The life of an alert")
    common = StaleTouch()
    assert f"`cooldown_hours` = {common.cooldown_hours}" in life
    assert f"`reopen_days` = {common.reopen_days}" in life
    first, second, third = common.lead_after_days
    assert f"after {first}, {second} and {third} days" in life
    assert f"{GIVE_UP_AFTER.total_seconds() / 3600:.0f} hours" in section("Who is told, and how")


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\((\.\./[^)#]+)\)", PAGE):
        assert (Path(__file__).parents[3] / "docs" / target).exists(), target
