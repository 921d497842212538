"""`tenure alerts` against a running notifier."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner, Result

from services.cli.app import build
from services.cli.faults import CommandFault
from tests.integration.notifier.house import House
from tests.unit.notifier.states import account, anna, lena, team, touched


async def tenure(house: House, folder: Path, *words: str, roles: tuple[str, ...] = ("admin",)) -> Result:
    """Run a command as somebody, beside the event loop that the notifier runs on."""
    token = folder / "token"
    token.write_text(house.token("root", roles))
    command = ["alerts", *words, "--url", house.address, "--token-file", str(token)]
    return await asyncio.to_thread(CliRunner().invoke, build(), command)


async def test_alerts_are_listed_and_shown_with_what_fired_them(house: House, tmp_path: Path) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    (event,) = await house.said()
    listed = await tenure(house, tmp_path, "list")
    assert listed.stdout == f"{event.alert_id} warn open stale_touch No touch with Northwind Labs for 15 days\n"
    shown = (await tenure(house, tmp_path, "show", event.alert_id)).stdout
    for part in (
        "2026-02-15 11:00 UTC  meeting",
        "days without a real touch: 15 (limit 14)",
        "version 1",
        "opened (warn)",
    ):
        assert part in shown, part
    (found,) = json.loads((await tenure(house, tmp_path, "list", "--rule", "stale_touch", "--json")).stdout)
    assert found["evidence"]["horizon"]
    assert (await tenure(house, tmp_path, "list", "--state", "resolved")).stdout == "no alerts\n"


async def test_deliveries_that_were_given_up_are_seen(house: House, tmp_path: Path) -> None:
    house.mailbox.answer = "550 nobody here"
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.drained()
    assert (await tenure(house, tmp_path, "deliveries")).stdout == "no deliveries that are dead\n"
    waiting = (await tenure(house, tmp_path, "deliveries", "--state", "waiting")).stdout
    assert "waiting mail Anna Berg: " in waiting
    assert "the server answered 550" in waiting
    await house.execute("update delivery set state = 'dead'")
    assert (await tenure(house, tmp_path, "deliveries")).exit_code == 1


async def test_what_is_wrong_is_one_plain_sentence(house: House, tmp_path: Path) -> None:
    unknown = await tenure(house, tmp_path, "show", "00000000-0000-7000-8000-000000000000")
    assert isinstance(unknown.exception, CommandFault)
    assert str(unknown.exception) == "notifier says: There is no such alert, or you may not see it."
    misspelt = await tenure(house, tmp_path, "list", "--state", "opne")
    assert "state" in str(misspelt.exception)
