"""Suspected doubles: listed with their reasons, dismissed, withdrawn and restored by people, never by themselves."""

from __future__ import annotations

from typing import Any

from tests.integration.accounts.desk import Company
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import at, mail, order

BOB, ANNA = "bob@acme.example", "anna@brightwell.example"


async def listed(company: Company, **query: str) -> list[dict[str, Any]]:
    """Every page of the list."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await company.admin.get("/v1/doubles", params={**query, **cursor})).json()
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}


async def present(office: Office) -> set[str]:
    return {interaction for _, interaction in await office.standing()}


async def test_a_double_is_listed_until_somebody_decides_and_comes_back_when_that_is_taken_back(
    company: Company, office: Office
) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    await office.contact(acme, BOB)
    shop = order("shop/1", BOB, "250.00", system="shopify:b")
    erp = order("A-1", BOB, "250.00", system="erp:b", authority=0, when=at(hours=3))
    alone = order("A-2", BOB, "99.00", system="erp:b", when=at(hours=4))
    copy = mail("<2@ses>", BOB, ANNA, title="Offer", when=at(seconds=5))
    await office.receive(shop, erp, alone, mail("<1@acme>", BOB, ANNA, title="Offer"), copy)

    found = await listed(company)
    assert [(one["kind"], {one["one"]["native_id"], one["other"]["native_id"]}) for one in found] == [
        ("order", {"shop/1", "A-1"}),
        ("mail", {"<1@acme>", "<2@ses>"}),
    ]
    assert found[0]["account_id"] == acme
    assert found[0]["reasons"][:2] == ["the same amount, 250 EUR", "3 hours apart"]
    assert await listed(company, account="key:acme", kind="call") == []
    assert await present(office) == {one.interaction.id for one in (shop, erp, alone, copy)} | {
        mail("<1@acme>", BOB, ANNA).interaction.id
    }

    pair = {"one": erp.interaction.id, "other": shop.interaction.id}
    wrong = await company.admin.post("/v1/doubles/withdrawals", json={**pair, "keep": alone.interaction.id})
    assert wrong.status_code == 422
    done = await company.admin.post("/v1/doubles/withdrawals", json={**pair, "keep": shop.interaction.id})
    assert done.status_code == 202, done.text
    assert done.json()["withdrawn"] == erp.interaction.id
    await office.run_jobs()
    assert erp.interaction.id not in await present(office)
    assert [one["kind"] for one in await listed(company)] == ["mail"]

    mails = {"one": found[1]["one"]["id"], "other": found[1]["other"]["id"]}
    assert (await company.admin.post("/v1/doubles/dismissals", json=mails)).status_code == 200
    assert await listed(company) == []
    decided = (await company.admin.get("/v1/doubles/decisions")).json()["items"]
    assert {one["decision"] for one in decided} == {"withdrawn", "dismissed"}

    assert (await company.admin.post("/v1/doubles/restorations", json=pair)).status_code == 202
    await office.run_jobs()
    assert erp.interaction.id in await present(office)
    assert [one["kind"] for one in await listed(company)] == ["order"]
    assert (await company.admin.post("/v1/doubles/restorations", json=pair)).status_code == 404
    assert (await company.admin.get("/v1/doubles", params={"cursor": "x"})).status_code == 422


async def test_whoever_decides_anew_takes_the_earlier_decision_back(company: Company, office: Office) -> None:
    await office.contact(await office.account("acme"), BOB)
    shop = order("shop/1", BOB, "250.00", system="shopify:b")
    erp = order("A-1", BOB, "250.00", system="erp:b", authority=0, when=at(hours=3))
    await office.receive(shop, erp)
    pair = {"one": erp.interaction.id, "other": shop.interaction.id}
    for keep in (shop, erp):
        answer = await company.admin.post("/v1/doubles/withdrawals", json={**pair, "keep": keep.interaction.id})
        assert answer.status_code == 202, answer.text
        await office.run_jobs()
        assert await present(office) == {keep.interaction.id}
    assert (await company.admin.post("/v1/doubles/dismissals", json=pair)).status_code == 200
    await office.run_jobs()
    assert await present(office) == {shop.interaction.id, erp.interaction.id}


async def test_a_long_list_comes_in_pages_and_nobody_sees_anothers(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    await office.contact(acme, BOB)
    orders = [order(f"{n}", BOB, f"{n + 1}.00", system="shopify:b", when=at(minutes=n)) for n in range(25)]
    copies = [order(f"E-{n}", BOB, f"{n + 1}.00", system="erp:b", when=at(minutes=n)) for n in range(25)]
    await office.receive(*orders, *copies)
    found = await listed(company)
    assert len(found) == 25
    assert len({(one["one"]["id"], one["other"]["id"]) for one in found}) == 25
    stranger = company.caller("stranger", ["operator"])
    assert (await stranger.get("/v1/doubles")).json() == {"items": [], "next": None}


async def test_a_manager_who_withdraws_a_double_restores_it_and_who_sees_only_one_of_its_accounts_cannot(
    company: Company, office: Office
) -> None:
    text = "email,name,role,team,issuer,subject,time_zone\n"
    people = "".join(
        f"{name}@brightwell.example,{name},manager,,test,{name},Europe/Berlin\n" for name in ("anna", "ben")
    )
    assert (await company.upload("users", text + people)).json()["rejected"] == []
    owned = "account,name,owner_email,owner_since,domains\n"
    owned += "acme,ACME,anna@brightwell.example,2024-01-01,acme.example\n"
    owned += "nordic,Nordic,ben@brightwell.example,2024-01-01,nordic.example\n"
    assert (await company.upload("accounts", owned)).json()["rejected"] == []
    shop = order("shop/1", BOB, "250.00", system="shopify:b")
    erp = order("A-1", BOB, "250.00", system="erp:b", when=at(hours=3))
    await office.receive(shop, erp)
    await office.run_jobs()
    anna, ben = company.caller("anna"), company.caller("ben")
    pair = {"one": erp.interaction.id, "other": shop.interaction.id}
    done = await anna.post("/v1/doubles/withdrawals", json={**pair, "keep": shop.interaction.id})
    assert done.status_code == 202, done.text
    await office.run_jobs()
    assert erp.interaction.id not in await present(office)
    assert (await ben.post("/v1/doubles/restorations", json=pair)).status_code == 404
    [decided] = (await anna.get("/v1/doubles/decisions")).json()["items"]
    assert decided["withdrawn_id"] == erp.interaction.id
    # Once it was Ben's customer's, too: then Anna alone does not decide about it any more.
    nordic = (await company.admin.get("/v1/accounts/key:nordic")).json()["account_id"]
    await office.rows(
        "insert into attribution (interaction_id, account_id, version, present, reason, digest, occurred_at,"
        " conversation_id) select interaction_id, $2::uuid, version, false, reason, digest, occurred_at,"
        " conversation_id from attribution where interaction_id = $1::uuid limit 1",
        erp.interaction.id,
        nordic,
    )
    assert (await anna.post("/v1/doubles/restorations", json=pair)).status_code == 404
    assert len((await anna.get("/v1/doubles/decisions")).json()["items"]) == 1
    await office.rows("delete from attribution where account_id = $1::uuid", nordic)

    assert (await anna.post("/v1/doubles/restorations", json=pair)).status_code == 202
    await office.run_jobs()
    assert erp.interaction.id in await present(office)
