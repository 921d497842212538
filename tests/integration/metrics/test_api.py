"""The API: who may see what, what is refused, evidence by pages, past days, money in the reporting currency."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from contracts.accounts import Deputy, Team, TeamMember
from contracts.kpis import AccountKpis
from contracts.values import Dated
from services.metrics.domain.fold import fold_account
from services.runtime.postgres import create_pool
from tests.integration.metrics.conftest import Desk, State
from tests.integration.metrics.front import Front, values
from tests.unit.metrics.builders import (
    ACCOUNT,
    BERLIN,
    OTHER,
    account,
    at,
    mail,
    order,
    refund,
    ticket,
    uid,
    user,
    withdrawn,
)
from tests.unit.metrics.comparison import check

NOW = at("2026-03-02 12:00")
ANNA, BEN, CLEO, DORA, TEAM, ELSEWHERE = (uid(number) for number in range(501, 507))
LONG_AGO = date(2025, 1, 1)
PATHS = (
    f"/v1/accounts/{ACCOUNT}/kpis",
    f"/v1/accounts/{ACCOUNT}/evidence?kpi=orders&window=7",
    f"/v1/managers/{ANNA}/kpis",
    f"/v1/teams/{TEAM}/kpis",
    "/v1/portfolio/kpis",
)


@pytest.fixture
async def front(desk: Desk, tmp_path: Path) -> AsyncIterator[Front]:
    """A company: anna owns the account, ben owned it before, cleo leads their team, dora works elsewhere."""
    owners = ((BEN, LONG_AGO, date(2026, 3, 1)), (ANNA, date(2026, 3, 1), None))
    absent = Deputy(user_id=DORA, for_user_id=ANNA, since=date(2026, 3, 10), until=date(2026, 3, 20))
    people: list[State] = [
        user(ANNA, "anna", team_id=TEAM, deputies=(absent,)),
        user(BEN, "ben", team_id=TEAM),
        user(CLEO, "cleo", "lead", TEAM),
        user(DORA, "dora", team_id=ELSEWHERE),
        Team(team_id=TEAM, version=1, name="north", lead_id=CLEO),
        Team(team_id=ELSEWHERE, version=1, name="south"),
    ]
    other = account(OTHER, owners=((DORA, LONG_AGO, None),))
    await desk.apply([*people, account(owners=owners), other], NOW)
    states = [
        order(1, at("2026-02-27 10:00"), "100"),
        order(2, at("2026-03-02 08:00"), "50"),
        mail(3, at("2026-03-02 09:00")),
        mail(3, at("2026-03-02 09:00"), account_id=OTHER),
        ticket(4, at("2026-02-28 23:30"), at("2026-03-01 01:30")),
    ]
    await desk.apply(states, NOW)
    await desk.roll_up()
    api_pool = await create_pool(desk.access.api, max_size=2)
    yield Front(desk.pool, api_pool, tmp_path, NOW)
    await api_pool.close()


async def test_scope_is_enforced_on_every_endpoint(front: Front) -> None:
    seen = {
        "anna": [200, 200, 200, 404, 404],
        "ben": [404, 404, 404, 404, 404],
        "cleo": [200, 200, 200, 200, 404],
        "dora": [404, 404, 404, 404, 404],
        "stranger": [404, 404, 404, 404, 404],
    }
    for subject, statuses in seen.items():
        assert [(await front.ask(path, subject)).status_code for path in PATHS] == statuses, subject
    assert [(await front.ask(path, "stranger", ("admin",))).status_code for path in PATHS] == [200] * 5
    assert [(await front.ask(path, None)).status_code for path in PATHS] == [401] * 5


async def test_a_deputy_sees_the_account_on_the_days_of_the_absence(front: Front, desk: Desk) -> None:
    answers = []
    for day in ("2026-03-09", "2026-03-10", "2026-03-19", "2026-03-20"):
        front.clock.moment = at(f"{day} 12:00")
        answers.append((await front.ask(PATHS[0], "dora")).status_code)
    assert answers == [404, 200, 200, 404]
    member = TeamMember(user_id=DORA, role="engineer")
    spans = (Dated[TeamMember](value=member, since=LONG_AGO),)
    await desk.apply([account(version=2, owners=((ANNA, LONG_AGO, None),), team=spans)], NOW)
    front.clock.moment = NOW
    assert (await front.ask(PATHS[0], "dora")).status_code == 200


@pytest.mark.usefixtures("front")
async def test_without_a_context_the_api_role_sees_no_rows(desk: Desk) -> None:
    pool = await create_pool(desk.access.api, max_size=1)
    for table in ("fact", "bucket", "account_state", "account", "rollup"):
        assert await desk.pool.fetchval(f"select count(*) from {table}") > 0  # noqa: S608 - constants
        assert await pool.fetchval(f"select count(*) from {table}") == 0  # noqa: S608 - constants
    assert await pool.fetch("select * from scope_orders('portfolio', $1, '-infinity', 'infinity')", ACCOUNT) == []
    await pool.close()


async def test_a_manager_is_credited_for_the_days_of_ownership_and_a_shared_mail_counts_once(front: Front) -> None:
    anna = values((await front.ask(f"/v1/managers/{ANNA}/kpis", "anna")).json())
    assert (anna["orders"], anna["net_revenue"], anna["touches_in"]) == (("1", "0"), ("50.00", "0.00"), ("1", "0"))
    assert (anna["tickets_opened"], anna["tickets_resolved"]) == (("1", "0"), ("1", "0"))
    assert anna["resolution_hours_median"] == ("2.0000", None)
    assert anna["repeat_purchase_rate"] == ("100.0000", None)
    ben = values((await front.ask(f"/v1/managers/{BEN}/kpis", "cleo")).json())
    assert (ben["orders"], ben["net_revenue"], ben["touches_in"]) == (("1", "0"), ("100.00", "0.00"), ("0", "0"))
    assert ben["repeat_purchase_rate"] == ("0.0000", None)
    team = values((await front.ask(f"/v1/teams/{TEAM}/kpis", "cleo")).json())
    assert (team["orders"], team["net_revenue"]) == (("2", "0"), ("150.00", "0.00"))
    company = values((await front.ask("/v1/portfolio/kpis", "x", ("admin",))).json())
    assert company["touches_in"] == ("1", "0")
    dora = values((await front.ask(f"/v1/managers/{DORA}/kpis", "dora")).json())
    assert dora["touches_in"] == ("1", "0")


async def test_past_days_are_told_with_everything_known_now(front: Front, desk: Desk) -> None:
    before = (await front.ask(f"{PATHS[0]}?as_of=2026-02-28", "anna")).json()
    assert values(before)["orders"] == ("1", "0")
    assert before["order_rhythm"]["orders"] == 1
    assert before["open_items"] == []
    await desk.apply([order(9, at("2026-02-28 10:00"), "7"), order(1, at("2026-02-27 10:00"), "101", version=2)], NOW)
    restated = (await front.ask(f"{PATHS[0]}?as_of=2026-02-28", "anna")).json()
    assert values(restated)["orders"] == ("2", "0")
    assert values(restated)["net_revenue"] == ("108.00", "0.00")
    today = (await front.ask(PATHS[0], "anna")).json()
    assert values(today)["net_revenue"] == ("158.00", "0.00")
    assert today["open_items"][0]["kind"] == "unanswered_mail"


async def test_a_dormant_account_is_told_as_of_today_and_every_past_day(front: Front, desk: Desk) -> None:
    states = [
        mail(3, at("2026-03-02 09:00")),
        mail(6, at("2026-02-20 09:00"), "out"),
        mail(7, at("2026-02-10 09:00"), "out", touch_class="strategic"),
        order(1, at("2026-02-27 10:00"), "100"),
        order(2, at("2026-03-02 08:00"), "50"),
        ticket(4, at("2026-02-28 23:30"), at("2026-03-01 01:30")),
    ]
    await desk.apply(states, NOW)
    for shift in (-30, -15, -8, 0, 1, 3, 5, 9, 40):  # nobody slides it meanwhile
        day = BERLIN.day(NOW) + timedelta(days=shift)
        front.clock.moment = max(NOW, NOW + timedelta(days=shift))
        shown = (await front.ask(f"{PATHS[0]}?as_of={day}", "boss", ("admin",))).json()
        check(_state(shown), fold_account(states, day, BERLIN, "EUR"))


def _state(shown: dict[str, Any]) -> AccountKpis:
    """What the API shows of an account, as it would be published."""
    values = [{name: part for name, part in one.items() if name not in {"unit", "evidence"}} for one in shown["values"]]
    parts = ("account_id", "last_touches", "open_items", "order_rhythm", "tickets_norm_30d", "history_since")
    said = {name: shown[name] for name in parts if name in shown}
    head = {"version": 0, "account_version": 0, "as_of_day": shown["as_of"], "computed_at": NOW}
    return AccountKpis.model_validate(head | said | {"values": values})


async def test_evidence_lists_every_interaction_in_pages(front: Front, desk: Desk) -> None:
    await desk.apply([order(20 + number, NOW - timedelta(minutes=number // 2), "1") for number in range(7)], NOW)
    path: str | None = f"/v1/accounts/{ACCOUNT}/evidence?kpi=net_revenue&window=7&limit=4"
    found = []
    while path:
        page = (await front.ask(path, "anna")).json()
        assert page["count"] == 9
        found += [item["interaction_id"] for item in page["items"]]
        path = (
            page["next"] and f"/v1/accounts/{ACCOUNT}/evidence?kpi=net_revenue&window=7&limit=4&cursor={page['next']}"
        )
    assert len(found) == len(set(found)) == 9
    hours = (await front.ask(f"/v1/accounts/{ACCOUNT}/evidence?kpi=resolution_hours_p90&window=30", "anna")).json()
    assert [(item["interaction_id"], item["hours"]) for item in hours["items"]] == [(uid(4), "2.0000")]


async def test_bad_input_is_refused_with_the_field_and_the_remedy(front: Front) -> None:
    evidence = f"/v1/accounts/{ACCOUNT}/evidence"
    refused = {
        f"{PATHS[0]}?as_of=2026-03-03": "as_of",
        f"{PATHS[0]}?as_of=1989-01-01": "as_of",
        f"{PATHS[0]}?as_of=yesterday": "as_of",
        f"{PATHS[0]}?as_of=20260301": "as_of",
        f"{PATHS[4]}?as_of=2026-02-30": "as_of",
        f"{evidence}?kpi=happiness&window=7": "kpi",
        f"{evidence}?kpi=orders&window=8": "window",
        f"{evidence}?kpi=orders&window=7&cursor=bm8=": "cursor",
        f"{evidence}?kpi=orders&window=7&limit=0": "limit",
        f"{evidence}?window=7": "kpi",
        "/v1/accounts/acme/kpis": "account_id",
    }
    for path, field in refused.items():
        answer = await front.ask(path, "anna")
        assert answer.status_code == 422, path
        assert answer.headers["content-type"] == "application/problem+json"
        [error] = answer.json()["errors"]
        assert error["field"] == field, path
        assert error["remedy"]


async def test_money_that_came_and_went_at_other_rates_is_told_in_the_reporting_currency(
    front: Front, desk: Desk
) -> None:
    before = (await front.ask(f"/v1/accounts/{ACCOUNT}/kpis", "anna")).json()["reporting"]["values"][0]["value"]
    sold, back = order(40, at("2026-02-26 10:00"), "100", "USD"), refund(41, at("2026-03-01 10:00"), "100", 40, "USD")
    await desk.apply([sold, back], NOW)
    for since, rate in (("2026-01-01", "0.90"), ("2026-03-01", "0.95")):
        body = {"rate": rate}
        await front.ask(f"/v1/rates/USD/{since}", "boss", ("admin",), method="PUT", json=body)
    known = (await front.ask(f"/v1/accounts/{ACCOUNT}/kpis", "anna")).json()["reporting"]
    # 100 at 0.90 came, 100 at 0.95 went
    assert Decimal(known["values"][0]["value"]) == Decimal(before) - 5
    await front.ask("/v1/rates/USD/2026-01-01", "boss", ("admin",), method="DELETE")
    unknown = (await front.ask(f"/v1/accounts/{ACCOUNT}/kpis", "anna")).json()["reporting"]
    assert unknown["missing_rates"] == ["USD"]


async def test_money_is_told_in_the_reporting_currency_when_all_rates_are_known(front: Front, desk: Desk) -> None:
    await desk.apply(
        [order(30, at("2026-02-25 10:00"), "10", "USD"), refund(31, at("2026-03-02 10:00"), "4", 30, "USD")], NOW
    )
    path, admin = f"/v1/accounts/{ACCOUNT}/kpis", ("admin",)
    unknown = (await front.ask(path, "anna")).json()
    assert unknown["reporting"]["missing_rates"] == ["USD"]
    assert unknown["reporting"]["values"][0]["value"] is None
    assert {one["currency"] for one in unknown["values"] if one["kpi"] == "net_revenue"} == {"EUR", "USD"}
    for since, rate in (("2026-01-01", "0.90"), ("2026-03-01", "0.95")):
        answer = await front.ask(f"/v1/rates/USD/{since}", "boss", admin, method="PUT", json={"rate": rate})
        assert answer.status_code == 200
    known = (await front.ask(path, "anna")).json()
    # 150 and 10 at 0.90, less 4 at 0.95
    assert known["reporting"]["values"][0]["value"] == "155.20"
    assert (await front.ask("/v1/rates", "anna")).json()["items"][0] == {
        "currency": "USD",
        "since": "2026-01-01",
        "rate": "0.90",
    }
    bad = [
        ("EUR", "2026-01-01", "1"),
        ("XYZ", "2026-01-01", "1"),
        ("USD", "soon", "1"),
        ("USD", "2026-01-01", "-1"),
        ("USD", "2026-01-01", "NaN"),
    ]
    for code, since, rate in bad:
        assert (
            await front.ask(f"/v1/rates/{code}/{since}", "boss", admin, method="PUT", json={"rate": rate})
        ).status_code == 422
    assert (await front.ask("/v1/rates/USD/2026-01-01", "anna", method="PUT", json={"rate": "1"})).status_code == 403
    assert (await front.ask("/v1/rates/USD/2026-01-01", "boss", admin, method="DELETE")).status_code == 200
    assert (await front.ask("/v1/rates/USD/2026-01-01", "boss", admin, method="DELETE")).status_code == 404


async def test_a_merged_account_answers_as_the_one_that_stayed(front: Front, desk: Desk) -> None:
    """What accounts publishes about a merge: the alias has nobody, and what it had is said to the other by a job."""
    held, alias = ((ANNA, LONG_AGO, None),), f"/v1/accounts/{OTHER}/kpis"
    admin = ("admin",)
    await desk.apply([order(41, at("2026-03-01 10:00"), "7", account_id=OTHER)], NOW)
    theirs = [
        mail(3, at("2026-03-02 09:00"), account_id=OTHER),
        order(41, at("2026-03-01 10:00"), "7", account_id=OTHER),
    ]
    taken = [state.model_copy(update={"account_id": ACCOUNT, "version": 10}) for state in theirs]
    await desk.apply([account(OTHER, 2, (), merged_into=ACCOUNT), account(version=2, owners=held)], NOW)
    await desk.apply([withdrawn(theirs[1], 10), *taken[1:]], NOW)
    assert values((await front.ask(alias, "anna")).json())["orders"] == ("3", "0")
    await desk.apply([withdrawn(theirs[0], 11), *taken[:1]], NOW)
    await desk.roll_up()
    assert {value.value for value in desk.published[OTHER].values} == {0, None}
    shown = (await front.ask(alias, "anna")).json()
    assert (shown["account_id"], values(shown)["net_revenue"], values(shown)["touches_in"]) == (
        ACCOUNT,
        ("157.00", "0.00"),
        ("1", "0"),
    )
    assert (await front.ask(alias, "dora")).status_code == 404
    await desk.apply([account(uid(77), merged_into=OTHER)], NOW)
    assert (await front.ask(f"/v1/accounts/{uid(77)}/kpis", "anna")).json()["account_id"] == ACCOUNT
    company = values((await front.ask("/v1/portfolio/kpis", "x", admin)).json())
    assert (company["orders"], company["net_revenue"], company["touches_in"]) == (
        ("3", "0"),
        ("157.00", "0.00"),
        ("1", "0"),
    )
    assert values((await front.ask(f"/v1/managers/{DORA}/kpis", "dora")).json())["orders"] == ("0", "0")

    owned = ((DORA, LONG_AGO, None),)  # and back again: each has what it had
    await desk.apply([account(OTHER, 20, owned), account(version=20, owners=held)], NOW)
    back = [state.model_copy(update={"version": 21}) for state in theirs]
    mine = mail(3, at("2026-03-02 09:00"), version=21)
    await desk.apply([*back, withdrawn(taken[1], 21), mine], NOW)
    await desk.roll_up()
    assert values((await front.ask(alias, "dora")).json())["net_revenue"] == ("7.00", "0.00")
    assert (await front.ask(alias, "anna")).status_code == 404
    apart = values((await front.ask("/v1/portfolio/kpis", "x", admin)).json())
    assert apart == company | {"repeat_purchase_rate": ("50.0000", None)}  # one customer of two came back
    assert values((await front.ask(f"/v1/managers/{DORA}/kpis", "dora")).json())["orders"] == ("1", "0")


async def test_reads_are_refused_when_owners_have_not_been_known_for_five_minutes(front: Front) -> None:
    assert (await front.ask(PATHS[0], "anna")).status_code == 200
    front.fresh = False
    front.seconds = 299
    assert (await front.ask(PATHS[0], "anna")).status_code == 200
    front.seconds = 310
    for path in PATHS:
        refused = await front.ask(path, "anna")
        assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
    front.fresh = True
    front.seconds = 320
    assert (await front.ask(PATHS[0], "anna")).status_code == 200
