"""A rebuild beside live traffic: what is derived is filled anew, alerts and what people did stay as they are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg

from contracts.envelope import format_instant
from contracts.ids import derive_id
from tests.integration.notifier.house import House, until
from tests.integration.notifier.test_catch_up import NAMES, customer, silence
from tests.unit.notifier.states import NOON, anna, left, lena, team, tickets

OPERATOR = ("operator",)
HEADERS = {name: derive_id("test", name) for name in NAMES}


def states() -> list[Any]:
    """What accounts would say again: every state as it is now."""
    gone = left(account_id=HEADERS["Cray"], sources=())
    return [team(), anna(), lena(), *(customer(name) for name in NAMES), gone]


async def begun(house: House) -> None:
    """An open, an acknowledged, a snoozed and a resolved alert."""
    await house.say(*states())
    await house.say(*(silence(name, 15) for name in NAMES[:3]))
    await house.say(tickets(6, 1).model_copy(update={"account_id": HEADERS["Dorn"]}))
    await house.drained()
    ids = {alert["account_id"]: alert["alert_id"] for alert in await alerts(house) if alert["rule"] != "champion_left"}
    await house.call("POST", f"/v1/alerts/{ids[HEADERS['Acme']]}/acknowledge")
    tomorrow = format_instant(NOON + timedelta(days=1))
    await house.call("POST", f"/v1/alerts/{ids[HEADERS['Bolt']]}/snooze", {"until": tomorrow})
    await house.call("POST", f"/v1/alerts/{ids[HEADERS['Dorn']]}/resolve")
    await house.drained()


async def alerts(house: House) -> list[dict[str, Any]]:
    return list((await house.call("GET", "/v1/alerts?state=any", roles=("admin",))).json()["items"])


async def contents(house: House) -> dict[str, list[str]]:
    """What is derived, row by row, without when to look again."""
    tables = ("account_person", "app_user", "deputy", "team", "brief", "source_delivery", "signal", "destination")
    connection = await asyncpg.connect(house.owner_dsn)
    try:
        found = {}
        for table in tables:
            rows = await connection.fetch(f"select t::text from {table} t")  # noqa: S608 - constants
            found[table] = sorted(row[0] for row in rows)
        rows = await connection.fetch("select (account_id, account, account_version, kpis)::text from watched_account")
        return {**found, "watched_account": sorted(row[0] for row in rows)}
    finally:
        await connection.close()


async def ask(house: House, method: str, path: str = "") -> dict[str, Any]:
    answer = await house.call(method, f"/v1/rebuild{path}", roles=OPERATOR)
    assert answer.status_code in {200, 202}, answer.text
    return dict(answer.json())


async def ended(house: House) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        shown = await ask(house, "GET")
        return None if shown["phase"] == "filling" else shown

    return await until(done, "the end of the rebuild")


async def test_a_rebuild_beside_live_traffic_changes_nothing_that_was_right(house: House) -> None:
    await begun(house)
    before, told = await alerts(house), len(house.mailbox.messages)
    assert (await ask(house, "POST"))["phase"] == "filling"
    await house.say(*states()[:4])
    await house.say(silence("Cray", 15, version=2))
    await house.say(*states()[4:])
    assert (await ask(house, "POST", "/republished"))["republished"]
    found = await ended(house)
    assert found["phase"] == "swapped"
    assert (found["found"]["accounts"], found["found"]["interactions"]) == (4, 1)
    assert (found["found"]["different_accounts"], found["found"]["different_copies"]) == (0, {})
    await house.drained()
    assert (await alerts(house), len(house.mailbox.messages)) == (before, told)
    # What comes afterwards is taken as always.
    await house.say(silence("Cray", 0, version=3))
    await house.drained()
    states_now = {
        alert["account_id"]: alert["state"] for alert in await alerts(house) if alert["rule"] == "stale_touch"
    }
    assert states_now[HEADERS["Cray"]] == "resolved"


async def test_a_rebuild_that_is_interrupted_goes_on_and_mends_what_was_wrong(house: House) -> None:
    await begun(house)
    right, before = await contents(house), await alerts(house)
    await ask(house, "POST")
    await house.execute("update watched_account set kpis = null where account_id = $1", HEADERS["Bolt"])
    await house.execute("delete from account_person where account_id = $1", HEADERS["Acme"])
    await house.execute('update app_user set document = document || \'{"name": "Nobody"}\'')
    await house.execute("update destination set paused = true")
    await house.execute("update brief set kind = 'mail'")
    await house.say(*states()[:5])
    await house.restart()
    await house.say(*states()[5:])
    await ask(house, "POST", "/republished")
    await house.restart()
    found = (await ended(house))["found"]
    assert (found["different_accounts"], found["different_account_ids"]) == (1, [HEADERS["Bolt"]])
    assert found["different_copies"] == {"account_person": 1, "app_user": 2, "brief": 1}
    await house.drained()
    after = await contents(house)
    assert [line.rpartition(",")[0] for line in after.pop("destination")] == [
        line.replace(",f,)", ",t,)").rpartition(",")[0] for line in right.pop("destination")
    ]
    assert after == right
    assert await alerts(house) == before


async def test_a_rebuild_can_be_given_up(house: House) -> None:
    await begun(house)
    right = await contents(house)
    await ask(house, "POST")
    await house.say(customer("Acme", lena().user_id, version=2))
    await house.drained()
    assert (await ask(house, "DELETE"))["phase"] == "abandoned"
    after = await contents(house)
    assert after["watched_account"] != right["watched_account"]
    assert (await ask(house, "POST"))["phase"] == "filling"
