"""`tenure alerts` against a running notifier, as a person runs it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.integration.notifier.house import House
from tests.unit.notifier.states import account, anna, lena, team, touched


async def tenure(house: House, folder: Path, *words: str) -> tuple[int, str, str]:
    """Run a command as an administrator; return its exit code, what it says and what it complains about."""
    token = folder / "token"
    token.write_text(house.token("root", ("admin",)))
    command = ["-m", "services.cli.app", "alerts", *words, "--url", house.address, "--token-file", str(token)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    return process.returncode or 0, said.decode(), complained.decode()


async def test_alerts_are_listed_and_shown_with_what_fired_them(house: House, tmp_path: Path) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    (event,) = await house.said()
    listed = await tenure(house, tmp_path, "list")
    assert listed == (0, f"{event.alert_id} warn open stale_touch No touch with Northwind Labs for 15 days\n", "")
    _, shown, _ = await tenure(house, tmp_path, "show", event.alert_id)
    for part in (
        "2026-02-15 11:00 UTC  meeting",
        "days without a real touch: 15 (limit 14)",
        "version 1",
        "opened (warn)",
    ):
        assert part in shown, part
    (found,) = json.loads((await tenure(house, tmp_path, "list", "--rule", "stale_touch", "--json"))[1])
    assert found["evidence"]["horizon"]
    assert await tenure(house, tmp_path, "list", "--state", "resolved") == (0, "no alerts\n", "")


async def test_all_alerts_are_listed_however_many_there_are(house: House, tmp_path: Path) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.said()
    await house.execute(
        "insert into alert select (copy).* from (select jsonb_populate_record(a, jsonb_build_object('alert_id',"
        " gen_random_uuid(), 'dedup_key', number)) as copy from alert as a, generate_series(1, 1000) as number) as made"
    )
    _, listed, _ = await tenure(house, tmp_path, "list", "--json")
    assert len({alert["alert_id"] for alert in json.loads(listed)}) == 1001


async def test_deliveries_that_were_given_up_are_seen(house: House, tmp_path: Path) -> None:
    house.mailbox.answer = "550 nobody here"
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.drained()
    assert await tenure(house, tmp_path, "deliveries") == (0, "no deliveries that are dead\n", "")
    _, waiting, _ = await tenure(house, tmp_path, "deliveries", "--state", "waiting")
    assert "waiting mail Anna Berg: " in waiting
    assert "the server answered 550" in waiting
    await house.execute("update delivery set state = 'dead'")
    code, dead, _ = await tenure(house, tmp_path, "deliveries")
    assert code == 1
    assert " dead mail Anna Berg: " in dead


async def test_what_is_wrong_is_one_plain_sentence(house: House, tmp_path: Path) -> None:
    unknown = await tenure(house, tmp_path, "show", "00000000-0000-7000-8000-000000000000")
    assert unknown == (1, "", "notifier says: There is no such alert, or you may not see it.\n")
    code, _, complaint = await tenure(house, tmp_path, "list", "--state", "opne")
    assert (code, complaint.count("\n")) == (1, 1)
    assert "state" in complaint
