"""The sample company, from webhooks, mail, calls and orders to alerts: exactly what is written down comes out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.e2e.scene import Scene, expected

PLAIN = ("step", "change", "rule", "account", "severity", "evidence")


def test_exactly_the_expected_alerts_come_at_exactly_the_expected_steps(played: Scene) -> None:
    wanted = [{name: line[name] for name in PLAIN} for line in expected()["alerts"]]
    assert sorted(played.life, key=str) == sorted(({n: line[n] for n in PLAIN} for line in wanted), key=str)


@pytest.mark.parametrize("key", sorted(expected()["kpis"]["accounts"]))
def test_the_figures_of_an_account_are_the_expected_ones(played: Scene, key: str) -> None:
    found = played.kpis(f"/v1/accounts/{played.accounts[key]}/kpis")
    assert rounded(found) == rounded(expected()["kpis"]["accounts"][key])


@pytest.mark.parametrize("name", sorted(expected()["kpis"]["managers"]))
def test_the_figures_of_a_manager_are_the_expected_ones(played: Scene, name: str) -> None:
    users = {user["email"].split(".")[0]: user["id"] for user in played.get("accounts", "/v1/users")["items"]}
    found = played.kpis(f"/v1/managers/{users[name]}/kpis")
    assert rounded(found) == rounded(expected()["kpis"]["managers"][name])


def test_the_figures_of_the_portfolio_are_the_expected_ones(played: Scene) -> None:
    found = played.kpis("/v1/portfolio/kpis")
    assert rounded(found) == rounded(expected()["kpis"]["portfolio"])


def rounded(windows: dict[str, Any]) -> dict[str, Any]:
    """To two decimals: a mean or percentile may be divided at another place."""
    return {
        days: {name: [_two_decimals(value) for value in pair] for name, pair in kpis.items()}
        for days, kpis in windows.items()
    }


def _two_decimals(value: Decimal | str | None) -> Decimal | None:
    return None if value is None else Decimal(value).quantize(Decimal("0.01"))
