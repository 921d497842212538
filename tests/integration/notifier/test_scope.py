"""Who may see and change what."""

from __future__ import annotations

import base64
from datetime import timedelta

import asyncpg
import pytest

from contracts.accounts import Deputy
from contracts.ids import derive_id
from contracts.values import Dated
from tests.integration.notifier.house import House
from tests.unit.notifier.states import ANNA, LENA, LONG_AGO, NOON, account, anna, left, lena, team, touched

PAUL = derive_id("test", "paul")


def paul() -> object:
    return anna(user_id=PAUL, name="Paul Roth", email="paul@brightwell.example", subject="paul", team_id=None)


async def seen_by(house: House, subject: str, roles: tuple[str, ...] = ()) -> int:
    answer = await house.call("GET", "/v1/alerts?state=any", subject=subject, roles=roles)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["items"])


async def opened(house: House) -> str:
    await house.say(team(), anna(), lena(), paul(), account(), touched(days_ago=15))  # type: ignore[arg-type]
    (event,) = await house.said()
    return str(event.alert_id)


async def test_a_manager_sees_their_accounts_a_lead_the_teams_an_admin_all_and_others_none(house: House) -> None:
    await opened(house)
    assert await seen_by(house, "anna") == 1
    assert await seen_by(house, "lena") == 1
    assert await seen_by(house, "paul") == 0
    assert await seen_by(house, "nobody") == 0
    assert await seen_by(house, "root", ("admin",)) == 1


async def test_what_is_not_ones_own_can_neither_be_read_nor_changed(house: House) -> None:
    alert = await opened(house)
    for method, path, body in (
        ("GET", "", None),
        ("POST", "/acknowledge", None),
        ("POST", "/snooze", {"until": "2026-04-01T00:00:00Z"}),
        ("POST", "/resolve", None),
        ("POST", "/reopen", None),
    ):
        answer = await house.call(method, f"/v1/alerts/{alert}{path}", body, subject="paul")
        assert answer.status_code == 404, path
    assert await house.steps() == ["opened"]


async def test_a_deputy_is_told_and_may_see_for_the_days_of_an_absence(house: House) -> None:
    away = Deputy(user_id=PAUL, for_user_id=ANNA, since=NOON.date(), until=(NOON + timedelta(days=3)).date())
    await house.say(team(), anna(deputies=(away,)), lena(), paul(), account(), touched(days_ago=15))  # type: ignore[arg-type]
    await house.mailed(2)
    assert {mail["To"].addresses[0].username for mail in house.mailbox.messages} == {"anna", "paul"}
    assert await seen_by(house, "paul") == 1
    house.step(NOON + timedelta(days=3))
    assert await seen_by(house, "paul") == 0


async def test_who_stands_in_for_a_lead_is_told_of_an_account_that_nobody_owns(house: House) -> None:
    away = Deputy(user_id=PAUL, for_user_id=LENA, since=NOON.date())
    await house.say(team(), anna(active=False), lena(deputies=(away,)), paul(), account(), touched(days_ago=15))  # type: ignore[arg-type]
    await house.mailed(2)
    assert {mail["To"].addresses[0].username for mail in house.mailbox.messages} == {"lena", "paul"}


async def test_a_new_owner_sees_the_account_from_their_first_day(house: House) -> None:
    await opened(house)
    tomorrow = (NOON + timedelta(days=1)).date()
    owners = (
        Dated[str](value=ANNA, since=LONG_AGO, until=tomorrow),
        Dated[str](value=PAUL, since=tomorrow),
    )
    await house.say(account(version=2, owners=owners))
    await house.drained()
    assert (await seen_by(house, "anna"), await seen_by(house, "paul")) == (1, 0)
    house.step(NOON + timedelta(days=1))
    assert (await seen_by(house, "anna"), await seen_by(house, "paul")) == (0, 1)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/deliveries"),
        ("GET", "/v1/destinations"),
        ("GET", "/v1/routes"),
        ("POST", "/v1/destinations"),
        ("POST", "/v1/rules/stale_touch"),
        ("GET", "/v1/dead-letters"),
    ],
)
async def test_what_operators_do_needs_their_role(house: House, method: str, path: str) -> None:
    answer = await house.call(method, path, {} if method == "POST" else None)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


async def test_without_a_token_there_is_nothing(house: House) -> None:
    assert house.service is not None
    answer = await house.http.get(f"http://127.0.0.1:{house.service.http_port}/v1/alerts")
    assert answer.status_code == 401


async def test_without_a_context_the_database_shows_no_row(house: House) -> None:
    await opened(house)
    connection = await asyncpg.connect(house.reading_dsn)
    try:
        for table in ("alert", "alert_step", "watched_account", "app_user"):
            assert await connection.fetchval(f"select count(*) from {table}") == 0, table  # noqa: S608
    finally:
        await connection.close()


async def test_nonsense_is_refused_by_name_and_breaks_nothing(house: House) -> None:
    alert = await opened(house)
    naive = base64.urlsafe_b64encode(b'["2026-03-02T11:00:00","00000000-0000-7000-8000-000000000000"]').decode()
    hook = {"kind": "webhook", "name": "x", "address": "https://8.8.8.8/", "secret_file": "missing.secret"}
    route = {"destination_id": derive_id("nowhere")}
    for method, path, body, field in (
        ("POST", f"/v1/alerts/{alert}/snooze", {"until": "9999-12-31T23:59:59-12:00"}, "until"),
        ("POST", f"/v1/alerts/{alert}/snooze", {"until": "2026-04-01T00:00:00"}, "until"),
        ("POST", f"/v1/alerts/{alert}/snooze", {"until": "2026-04-01T00:00:00Z", "why": "x"}, "why"),
        ("GET", f"/v1/alerts?cursor={naive}", None, "cursor"),
        ("GET", "/v1/alerts?cursor=nonsense", None, "cursor"),
        ("GET", "/v1/alerts?account=1", None, "account"),
        ("GET", "/v1/alerts?limit=0", None, "limit"),
        ("POST", "/v1/rules/stale_touch", {"thresholds": {}, "note": "a\x00b"}, "note"),
        ("POST", "/v1/rules/stale_touch", {"thresholds": {"warn": 1}, "note": "x"}, "thresholds.warn"),
        ("POST", "/v1/rules/order_gap", {"thresholds": {"times_p90": "1e9"}, "note": "x"}, "thresholds.times_p90"),
        ("POST", "/v1/destinations", hook, "secret_file"),
        ("POST", "/v1/destinations", {**hook, "secret_file": "../../etc/passwd"}, "secret_file"),
        ("POST", "/v1/destinations", {**hook, "name": "x\r\nBcc: y"}, "name"),
        ("POST", "/v1/routes", route, "destination_id"),
    ):
        answer = await house.call(method, path, body, subject="root", roles=("admin",))
        assert answer.status_code == 422, (path, body, answer.text)
        assert [error["field"] for error in answer.json()["errors"]] == [field], answer.text


async def test_alerts_are_read_page_by_page(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15), left(sources=()))
    await house.drained()
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await house.call("GET", f"/v1/alerts?limit=1{cursor}")).json()
        seen += [alert["rule"] for alert in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == ["champion_left", "stale_touch"]
