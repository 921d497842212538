"""CSV imports: good rows go in, bad ones come back with line and reason; the same file twice changes nothing."""

# ruff: noqa: E501 - tables as people write them

from __future__ import annotations

from tests.integration.accounts.desk import Company
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import mail

USERS = """email,name,role,team,issuer,subject,time_zone,holidays,mailboxes,deputy_email,deputy_since,deputy_until
anna@brightwell.example,Anna Berg,manager,Nord,test,anna,Europe/Berlin,DE-BE,mail-anna|phones,ben@brightwell.example,2026-03-02,2026-03-09
ben@brightwell.example,Ben Kurz,manager,Nord,test,ben,Europe/Berlin,DE,,,,
lea@brightwell.example,Lea Lang,lead,Nord,test,lea,Europe/Berlin,DE,,,,
"""
ACCOUNTS = """account,name,class,key_since,stage,stage_since,owner_email,owner_since,team_emails,parent,parent_since,currency,created_at,domains,organisations,history_complete
acme-de,ACME Deutschland,B,,active,2024-01-01,ben@brightwell.example,2024-01-01,,acme,2024-01-01,EUR,2024-01-01,acme.example,zendesk:brightwell:org-1,yes
acme,ACME,A,2025-01-01,active,2024-01-01,anna@brightwell.example,2024-01-01,ben@brightwell.example,,,EUR,2024-01-01,,,no
"""
CONTACTS = """contact,account,name,addresses,phones,persons,buying_centre,roles,role_since,influence,attitude,since,until
maria,acme,Maria Keller,maria@acme.example|MARIA.K@acme.example,+49 30 901820,zendesk:brightwell:77,Quality,champion|user,2025-01-01,4,2,,
"""


async def _state(office: Office) -> list[tuple[object, ...]]:
    tables = (
        "app_user",
        "team",
        "deputy",
        "account",
        "account_interval",
        "contact",
        "contact_account",
        "identity",
        "buying_centre",
        "contact_role",
    )
    counted = [tuple((await office.rows(f"select count(*) as n from {table}"))[0]) for table in tables]  # noqa: S608 - names above
    return [*counted, tuple((await office.rows("select count(*) as n from outbox"))[0])]


async def test_users_accounts_and_contacts_go_in_and_the_same_files_again_change_nothing(
    company: Company, office: Office
) -> None:
    before: list[tuple[object, ...]] = []
    for attempt in range(2):
        for table, text, rows in (("users", USERS, 3), ("accounts", ACCOUNTS, 2), ("contacts", CONTACTS, 1)):
            response = await company.upload(table, text)
            assert response.status_code == 200, response.text
            assert response.json() == {"accepted": rows, "rejected": [], "dry_run": False}
        if attempt == 0:
            before = await _state(office)
    assert await _state(office) == before
    admin = company.admin
    acme = (await admin.get("/v1/accounts/key:acme")).json()
    assert acme["account_class"] == "A"
    assert acme["contacts"][0]["name"] == "Maria Keller"
    assert [role["value"]["role"] for role in acme["contacts"][0]["roles"]] == ["champion", "user"]
    german = (await admin.get("/v1/accounts/key:acme-de")).json()
    assert german["parents"][0]["value"] == acme["account_id"]
    assert german["history_complete_at"] == "2026-03-02T09:00:00Z"


async def test_a_byte_order_mark_and_semicolons_are_read(company: Company) -> None:
    text = '\ufeffaccount;name;class\nacme;ACME;A\nnordic;"Nordic; Instruments";B\n'
    response = await company.upload("accounts", text)
    assert response.json()["accepted"] == 2
    assert (await company.admin.get("/v1/accounts/key:nordic")).json()["name"] == "Nordic; Instruments"


async def test_a_wrong_column_refuses_the_file_and_names_it(company: Company, office: Office) -> None:
    response = await company.upload("accounts", "account,name,klass\nacme,ACME,A\n")
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["field"] == "klass"
    assert "account, name, class" in error["remedy"]
    assert await office.rows("select id from account") == []


async def test_a_bad_row_in_the_middle_comes_back_with_its_line_and_the_good_ones_go_in(company: Company) -> None:
    text = (
        "account,name,class,owner_email,stage,currency,created_at,domains\n"
        "one,One,A,,,EUR,2024-01-01,\n"
        "two,Two,Z,,,EUR,2024-01-01,\n"
        "three,Three,A,nobody@brightwell.example,,EUR,2024-01-01,\n"
        "four,Four,A,,,EURO,2024-01-01,\n"
        "five,Five,A,,,EUR,01.01.2024,\n"
        "six,Six,A,,,EUR,2024-01-01,gmail.com\n"
        "seven,Seven\n"
        ",Eight,A,,,,,\n"
        "nine,Nine,C,,,,1970-01-01,\n"
        "ten,Ten,C,,,,,ten.example\n"
    )
    body = (await company.upload("accounts", text)).json()
    assert body["accepted"] == 2
    assert [(one["line"], one["column"]) for one in body["rejected"]] == [
        (3, "class"),
        (4, "owner_email"),
        (5, "currency"),
        (6, "created_at"),
        (7, "domains"),
        (8, "row"),
        (9, "account"),
        (10, "created_at"),
    ]
    assert all(one["reason"] and one["remedy"] for one in body["rejected"])
    keys = {one["key"] for one in (await company.admin.get("/v1/accounts")).json()["items"]}
    assert keys == {"one", "ten"}


async def test_a_file_that_is_no_utf8_or_empty_is_refused_in_plain_words(company: Company) -> None:
    latin = await company.upload("accounts", "account,name\nx,Gr\xfcn\n".encode("latin-1"))
    assert (latin.status_code, latin.json()["errors"][0]["message"]) == (422, "is not UTF-8 (line 2)")
    empty = await company.upload("accounts", "")
    assert empty.status_code == 422
    nul = await company.upload("accounts", "account,name\nx,a\x00b\ny,Y\n")
    assert nul.json()["accepted"] == 1
    assert nul.json()["rejected"][0]["column"] == "name"


async def test_a_dry_run_says_what_would_happen_and_keeps_nothing(company: Company, office: Office) -> None:
    body = (await company.upload("accounts", ACCOUNTS.replace("owner_email,", "owner_email,"), dry_run="true")).json()
    assert (body["accepted"], [one["column"] for one in body["rejected"]]) == (0, ["owner_email", "owner_email"])
    await company.upload("users", USERS)
    body = (await company.upload("accounts", ACCOUNTS, dry_run="true")).json()
    assert (body["accepted"], body["dry_run"]) == (2, True)
    assert await office.rows("select id from account") == []
    assert await office.rows("select id from job where selector <> 'identities'") == []


async def test_an_address_of_another_contact_is_refused_by_the_import(company: Company) -> None:
    await company.upload("accounts", "account,name\nacme,ACME\n")
    text = "contact,account,name,addresses\na,acme,A,x@acme.example\nb,acme,B,x@acme.example\nc,nowhere,C,\n"
    body = (await company.upload("contacts", text)).json()
    assert body["accepted"] == 1
    assert [(one["line"], one["column"]) for one in body["rejected"]] == [(3, "addresses"), (4, "account")]


async def test_only_operators_and_admins_import(company: Company) -> None:
    await company.upload("users", USERS)
    refused = await company.caller("anna").post(
        "/v1/imports/accounts", content="account,name\n", headers={"Content-Type": "text/csv"}
    )
    assert refused.status_code == 403
    stranger = await company.caller("stranger").post(
        "/v1/imports/accounts", content="account,name\n", headers={"Content-Type": "text/csv"}
    )
    assert stranger.status_code == 403


async def test_what_came_before_the_contact_is_attributed_by_the_import(company: Company, office: Office) -> None:
    received = mail("<1>", "maria@acme.example", "anna@brightwell.example")
    await office.receive(received)
    assert await office.said() == []
    await company.upload("users", USERS)
    await company.upload("accounts", ACCOUNTS.replace("acme.example,", ",").replace("maria", ""))
    await company.upload("contacts", CONTACTS)
    await office.run_jobs()
    [said] = await office.said()
    assert (said.reason, len(said.users), len(said.contacts)) == ("address", 1, 1)


async def _spells(company: Company, contact: str) -> list[tuple[str, str, str | None]]:
    shown = (await company.admin.get(f"/v1/contacts/key:{contact}")).json()
    return [(one["account_id"], one["since"], one["until"]) for one in shown["accounts"]]


async def test_the_row_of_somebody_who_left_and_came_back_is_still_what_is_known(
    company: Company, office: Office
) -> None:
    await company.upload("accounts", "account,name\nacme,ACME\nnordic,Nordic\n")
    rows = "contact,account,name,since\nmaria,acme,Maria,2020-01-01\n"
    await company.upload("contacts", rows)
    acme, nordic = [
        (await company.admin.get(f"/v1/accounts/key:{key}")).json()["account_id"] for key in ("acme", "nordic")
    ]
    for account, since in ((nordic, "2025-03-01"), (acme, "2025-06-01")):
        moved = {"account": account, "change": "move", "since": since}
        assert (await company.admin.patch("/v1/contacts/key:maria", json=moved)).status_code == 200
    there = [(acme, "2020-01-01", "2025-03-01"), (nordic, "2025-03-01", "2025-06-01"), (acme, "2025-06-01", None)]
    assert await _spells(company, "maria") == there
    before = await _state(office)
    response = await company.upload("contacts", rows)
    assert (response.status_code, response.json()["accepted"]) == (200, 1), response.text
    assert await _spells(company, "maria") == there
    assert await _state(office) == before


async def test_somebody_who_had_left_can_be_said_to_be_there_again(company: Company) -> None:
    await company.upload("accounts", "account,name\nacme,ACME\n")
    await company.upload("contacts", "contact,account,name,since,until\nmaria,acme,Maria,2020-01-01,2024-01-01\n")
    response = await company.upload("contacts", "contact,account,name,since\nmaria,acme,Maria,2025-01-01\n")
    assert response.json()["accepted"] == 1, response.text
    spells = [spell[1:] for spell in await _spells(company, "maria")]
    assert spells == [("2020-01-01", "2024-01-01"), ("2025-01-01", None)]


async def test_a_row_that_contradicts_what_is_known_is_refused_alone(company: Company) -> None:
    await company.upload("accounts", "account,name\nacme,ACME\n")
    await company.upload("contacts", "contact,account,name,since\nmaria,acme,Maria,2024-01-01\n")
    rows = "contact,account,name,until\nmaria,acme,Maria,2023-01-01\nolaf,acme,Olaf,\n"
    response = await company.upload("contacts", rows)
    assert response.status_code == 200, response.text
    assert response.json()["accepted"] == 1
    [rejected] = response.json()["rejected"]
    assert (rejected["line"], rejected["column"]) == (2, "until")


async def test_a_role_that_was_ended_since_stays_so_when_the_same_file_comes_again(
    company: Company, office: Office
) -> None:
    for table, text in (("users", USERS), ("accounts", ACCOUNTS), ("contacts", CONTACTS)):
        assert (await company.upload(table, text)).json()["rejected"] == []
    [group] = (await company.admin.get("/v1/accounts/key:acme/groups")).json()["items"]
    member = f"/v1/accounts/key:acme/groups/{group['id']}/members/key:maria"
    ended = await company.admin.put(member, json={"roles": [{"role": "champion", "until": "2026-02-01"}]})
    assert ended.status_code == 200, ended.text
    before = await _state(office)
    await company.upload("contacts", CONTACTS)
    assert (await company.admin.get("/v1/accounts/key:acme/groups")).json()["items"] == ended.json()["items"]
    assert await _state(office) == before


async def test_an_owner_named_since_is_kept_when_a_file_comes_again_that_was_imported_before(company: Company) -> None:
    await company.upload("users", USERS)
    rows = "account,name,owner_email,owner_since\nacme,ACME,ben@brightwell.example,{}\n"
    for since in ("2024-01-01", "2025-01-01"):
        assert (await company.upload("accounts", rows.format(since))).json()["accepted"] == 1
    named = {"owner": {"user": "anna@brightwell.example", "since": "2026-02-01"}}
    response = await company.admin.patch("/v1/accounts/key:acme", json=named)
    assert response.status_code == 200, response.text
    assert [one.get("until") for one in response.json()["owners"]] == ["2026-02-01", None]
    await company.upload("accounts", rows.format("2025-01-01"))
    assert (await company.admin.get("/v1/accounts/key:acme")).json()["owners"] == response.json()["owners"]
