"""Who sees what: every endpoint with one's own account, with another's, and without any context."""

from __future__ import annotations

import asyncpg
import pytest

from deploy.databases import DatabaseAccess
from tests.integration.accounts.desk import Company
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import at, mail, order

USERS = """email,name,role,team,issuer,subject,time_zone
anna@brightwell.example,Anna,manager,Nord,test,anna,Europe/Berlin
ben@brightwell.example,Ben,manager,Sued,test,ben,Europe/Berlin
lea@brightwell.example,Lea,lead,Nord,test,lea,Europe/Berlin
"""
ACCOUNTS = """account,name,owner_email,owner_since,domains
acme,ACME,anna@brightwell.example,2024-01-01,acme.example
nordic,Nordic,ben@brightwell.example,2024-01-01,nordic.example
"""
CONTACTS = """contact,account,name,addresses,buying_centre,roles
maria,acme,Maria,maria@acme.example,Quality,champion
nils,nordic,Nils,nils@nordic.example,Quality,champion
"""


@pytest.fixture
async def world(company: Company, office: Office) -> dict[str, str]:
    """Two managers, each with an account, a contact, a group and an interaction."""
    for table, text in (("users", USERS), ("accounts", ACCOUNTS), ("contacts", CONTACTS)):
        body = (await company.upload(table, text)).json()
        assert body["rejected"] == [], body
    ours, theirs = mail("<1>", "maria@acme.example", "anna@brightwell.example"), order("1", "nils@nordic.example")
    unknown = mail("<2>", "who@unknown.example", "ben@brightwell.example")
    await office.run_jobs()
    await office.receive(ours, theirs, unknown)
    found = {
        "own_interaction": ours.interaction.id,
        "other_interaction": theirs.interaction.id,
        "unknown": unknown.interaction.id,
    }
    for row in await office.rows("select external_key, id from account union all select external_key, id from contact"):
        found[row["external_key"]] = row["id"]
    for row in await office.rows(
        "select account.external_key as key, centre.id from buying_centre as centre"
        " join account on account.id = account_id"
    ):
        found[f"{row['key']} centre"] = row["id"]
    for row in await office.rows("select email, id from app_user"):
        found[row["email"].partition("@")[0]] = row["id"]
    return found


def _requests(account: str, contact: str, centre: str, interaction: str) -> list[tuple[str, str, object]]:
    """Every endpoint that names an account, a contact or an interaction, changes last."""
    return [
        ("GET", f"/v1/accounts/{account}", None),
        ("GET", f"/v1/accounts/{account}/edits", None),
        ("GET", f"/v1/accounts/{account}/contacts", None),
        ("GET", f"/v1/accounts/{account}/domains", None),
        ("GET", f"/v1/accounts/{account}/identities", None),
        ("GET", f"/v1/accounts/{account}/groups", None),
        ("GET", f"/v1/accounts/{account}/suggestions", None),
        ("GET", f"/v1/accounts/{account}/interactions?text=true", None),
        ("GET", f"/v1/contacts/{contact}", None),
        ("GET", f"/v1/interactions/{interaction}", None),
        ("PATCH", f"/v1/accounts/{account}", {"name": "Renamed", "stage": {"stage": "at_risk"}}),
        ("POST", f"/v1/accounts/{account}/contacts", {"name": "New", "addresses": [f"new@{account[:8]}.example"]}),
        ("POST", f"/v1/accounts/{account}/domains", {"domain": f"d{account[-8:]}.example"}),
        ("DELETE", f"/v1/accounts/{account}/domains/d{account[-8:]}.example", None),
        ("POST", f"/v1/accounts/{account}/identities", {"kind": "organisation", "value": f"desk:{account}"}),
        ("DELETE", f"/v1/accounts/{account}/identities/organisation?value=desk:{account}", None),
        ("POST", f"/v1/accounts/{account}/groups", {"name": "Purchasing"}),
        (
            "PUT",
            f"/v1/accounts/{account}/groups/{centre}/members/{contact}",
            {"influence": 3, "roles": [{"role": "user"}]},
        ),
        ("PATCH", f"/v1/contacts/{contact}", {"name": "Renamed"}),
        ("POST", f"/v1/contacts/{contact}/identities", {"kind": "phone", "value": "+49 30 901820"}),
        ("DELETE", f"/v1/contacts/{contact}/identities/phone?value=%2B4930901820", None),
        ("POST", f"/v1/interactions/{interaction}/touch-class", {"reply_expected": False}),
        ("POST", f"/v1/interactions/{interaction}/attribution", {"accounts": [account]}),
        ("DELETE", f"/v1/accounts/{account}/groups/{centre}/members/{contact}", None),
    ]


async def test_every_endpoint_answers_for_ones_own_account_and_not_for_anothers(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    own = _requests(world["acme"], world["maria"], world["acme centre"], world["own_interaction"])
    other = _requests(world["nordic"], world["nils"], world["nordic centre"], world["other_interaction"])
    before = await office.rows("select id from edit")
    anna = company.caller("anna")
    for method, path, body in other:
        response = await anna.request(method, path, json=body)
        if "touch-class" in path:
            # An order is no touch, but that must not be learnt either.
            assert response.status_code == 404, path
        assert response.status_code == 404, f"{method} {path} answered {response.status_code}"
    assert len(await office.rows("select id from edit")) == len(before)
    for method, path, body in own:
        response = await anna.request(method, path, json=body)
        assert 200 <= response.status_code < 300, f"{method} {path} answered {response.status_code}: {response.text}"


async def test_nothing_of_another_shows_in_lists(company: Company, world: dict[str, str]) -> None:
    anna = company.caller("anna")
    accounts = (await anna.get("/v1/accounts")).json()["items"]
    assert [one["id"] for one in accounts] == [world["acme"]]
    assert (await anna.get("/v1/unmatched")).json()["items"] == []
    assert (await anna.get("/v1/unmatched/interactions")).json()["items"] == []
    # Ben received it himself.
    assert [one["id"] for one in (await company.caller("ben").get("/v1/unmatched/interactions")).json()["items"]] == [
        world["unknown"]
    ]


async def test_a_token_of_nobody_sees_nothing_and_changes_nothing(company: Company, world: dict[str, str]) -> None:
    stranger = company.caller("stranger")
    for path in (
        "/v1/accounts",
        "/v1/users",
        "/v1/teams",
        "/v1/unmatched",
        "/v1/unmatched/interactions",
        "/v1/touch-class-rules",
    ):
        assert (await stranger.get(path)).json()["items"] == [], path
    for method, path, body in _requests(world["acme"], world["maria"], world["acme centre"], world["own_interaction"]):
        assert (await stranger.request(method, path, json=body)).status_code in {403, 404}, path


async def test_no_token_or_a_wrong_one_is_refused(company: Company, world: dict[str, str]) -> None:
    client = company.caller("anna")
    for headers in ({"Authorization": ""}, {"Authorization": "Bearer x.y.z"}):
        for method, path, body in _requests(
            world["acme"], world["maria"], world["acme centre"], world["own_interaction"]
        ):
            assert (await client.request(method, path, json=body, headers=headers)).status_code == 401, path


async def test_a_lead_sees_the_teams_accounts_and_an_admin_all(company: Company, world: dict[str, str]) -> None:
    lead = {one["id"] for one in (await company.caller("lea").get("/v1/accounts")).json()["items"]}
    assert lead == {world["acme"]}
    everything = {one["id"] for one in (await company.admin.get("/v1/accounts")).json()["items"]}
    assert everything == {world["acme"], world["nordic"]}


async def test_a_deputy_sees_the_accounts_on_the_days_of_the_absence_only(
    company: Company, world: dict[str, str]
) -> None:
    ben = company.caller("ben")
    body = {"user": "ben@brightwell.example", "since": "2026-03-03", "until": "2026-03-05"}
    assert (await company.caller("anna").post(f"/v1/users/{world['anna']}/deputies", json=body)).status_code == 201
    seen = []
    for hours in (0, 24, 48, 72):
        company.clock.moment = at(hours=hours)
        seen.append(len((await ben.get("/v1/accounts")).json()["items"]))
    assert seen == [1, 2, 2, 1]


async def test_a_change_of_owner_takes_effect_at_once(company: Company, world: dict[str, str]) -> None:
    change = {"owner": {"user": "ben@brightwell.example", "since": "2026-03-02"}}
    assert (await company.caller("anna").patch(f"/v1/accounts/{world['acme']}", json=change)).status_code == 403
    response = await company.caller("lea").patch(f"/v1/accounts/{world['acme']}", json=change)
    assert response.status_code == 200
    assert (await company.caller("anna").get(f"/v1/accounts/{world['acme']}")).status_code == 404
    assert (await company.caller("ben").get(f"/v1/accounts/{world['acme']}")).status_code == 200


async def test_without_a_context_the_reading_role_sees_no_row_of_any_table(
    access: DatabaseAccess, world: dict[str, str]
) -> None:
    connection = await asyncpg.connect(access.api)
    try:
        tables = [
            row["relname"]
            for row in await connection.fetch(
                "select relname from pg_class where relrowsecurity and relkind = 'r' order by relname"
            )
        ]
        assert len(tables) == 19
        for table in tables:
            assert await connection.fetchval(f"select count(*) from {table}") == 0, table  # noqa: S608 - a name of the catalogue
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("delete from account")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("select id from outbox")
    finally:
        await connection.close()
    assert world
