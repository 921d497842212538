"""Two accounts that are one, and that were not: what moves, what stays, what everybody downstream is told."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from contracts.accounts import Account
from deploy.databases import DatabaseAccess
from services.accounts.handlers.fold import Fold
from services.accounts.handlers.jobs import JobRunner
from services.accounts.store import jobs
from services.runtime.postgres import transaction
from tests.integration.accounts.desk import Company, opened
from tests.integration.accounts.stories import Office, consume, forget_everything_said
from tests.integration.accounts.test_concurrency import history_of
from tests.unit.accounts.events import at, mail, order, person, refund, ticket

USERS = """email,name,role,team,issuer,subject,time_zone
anna@brightwell.example,Anna,manager,Nord,test,anna,Europe/Berlin
ben@brightwell.example,Ben,manager,Nord,test,ben,Europe/Berlin
lea@brightwell.example,Lea,lead,Nord,test,lea,Europe/Berlin
"""
ACCOUNTS = """account,name,owner_email,owner_since,team_emails,domains,organisations,parent
group,Group,anna@brightwell.example,2020-01-01,,group.example,,
acme,ACME,anna@brightwell.example,2024-01-01,,acme.example,,
old,ACME Old,ben@brightwell.example,2022-01-01,ben@brightwell.example,old.example,desk:7,group
branch,Branch,ben@brightwell.example,2024-01-01,,branch.example,,old
"""
CONTACTS = """contact,account,name,addresses,buying_centre,roles
maria,acme,Maria,maria@acme.example,Quality,champion
otto,old,Otto,otto@old.example,Quality,decision_maker
olga,old,Olga,olga@elsewhere.example,Purchasing,procurement
"""


@pytest.fixture
async def world(company: Company, office: Office) -> dict[str, str]:
    """Three accounts, one of them twice; ids by key."""
    for table, text in (("users", USERS), ("accounts", ACCOUNTS), ("contacts", CONTACTS)):
        body = (await company.upload(table, text)).json()
        assert body["rejected"] == [], body
    await office.run_jobs()
    rows = await office.rows("select external_key, id from account union all select external_key, id from contact")
    return {row["external_key"]: row["id"] for row in rows}


def _history() -> list[Any]:
    return [
        mail("<1>", "maria@acme.example", "anna@brightwell.example", when=at(days=-9)),
        mail("<2>", "otto@old.example", "anna@brightwell.example", when=at(days=-8)),
        mail("<3>", "somebody@old.example", "ben@brightwell.example", when=at(days=-7)),
        mail(
            "<4>",
            "olga@elsewhere.example",
            "ben@brightwell.example",
            when=at(days=-6),
            parties=[
                person("from", "olga@elsewhere.example"),
                person("to", "ben@brightwell.example", ours=True),
                person("cc", "maria@acme.example"),
            ],
        ),
        order("o1", "otto@old.example", when=at(days=-5)),
        refund("r1", "o1", when=at(days=-4)),
        ticket("opened", "t1", "", when=at(days=-3), parties=[person("requester", "", organisation="desk:7")]),
        mail("<5>", "new@branch.example", "ben@brightwell.example", when=at(days=-2)),
    ]


async def _merge(company: Company, account: str, into: str) -> None:
    answer = await company.admin.post(f"/v1/accounts/{account}/merge", json={"into": into})
    assert answer.status_code == 202, answer.text


async def _unmerge(company: Company, account: str) -> None:
    answer = await company.admin.post(f"/v1/accounts/{account}/unmerge")
    assert answer.status_code == 202, answer.text


async def _published(office: Office) -> dict[str, Account]:
    rows = await office.rows("select payload from outbox where type = 'tenure.account.v1' order by id")
    accounts = [Account.model_validate_json(row["payload"]) for row in rows]
    latest: dict[str, Account] = {}
    for one in accounts:
        assert one.account_id not in latest or latest[one.account_id].version < one.version
        latest[one.account_id] = one
    return latest


async def test_what_was_said_to_the_merged_account_is_said_to_the_one_that_stays(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await office.receive(*_history())
    before = await office.standing()
    assert {account for account, _ in before} == {world["acme"], world["old"], world["branch"]}
    await _merge(company, "key:old", "key:acme")
    await office.run_jobs()
    after = await office.standing()
    assert {account for account, _ in after} == {world["acme"], world["branch"]}
    assert {interaction for _, interaction in after} == {interaction for _, interaction in before}
    withdrawn = [one for one in (await office.known()).values() if one.account_id == world["old"]]
    assert len(withdrawn) == 6
    assert not any(one.present for one in withdrawn)
    await _unmerge(company, "key:old")
    await office.run_jobs()
    assert await office.standing() == before
    assert await office.rows("select id from job") == []


async def test_what_comes_while_two_are_one_goes_where_it_belongs_when_they_are_parted(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await _merge(company, world["old"], world["acme"])
    await office.receive(*_history())
    assert {account for account, _ in await office.standing()} == {world["acme"], world["branch"]}
    await _unmerge(company, world["old"])
    await office.run_jobs()
    parted = await office.standing()
    await forget_everything_said(office)
    await office.receive(*_history())
    assert await office.standing() == parted
    assert {account for account, _ in parted} == {world["acme"], world["old"], world["branch"]}


async def test_the_merged_id_and_key_name_the_account_that_stayed_everywhere(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await office.receive(*_history())
    await _merge(company, world["old"], world["acme"])
    await office.run_jobs()
    for name in (world["old"], "key:old"):
        shown = (await company.admin.get(f"/v1/accounts/{name}")).json()
        assert (shown["account_id"], shown["key"]) == (world["acme"], "acme")
        listed = (await company.admin.get(f"/v1/accounts/{name}/interactions")).json()["items"]
        assert len(listed) == 7
    people = (await company.admin.get("/v1/accounts/key:old/contacts")).json()["items"]
    assert {one["key"] for one in people} == {"maria", "otto", "olga"}
    domains = (await company.admin.get(f"/v1/accounts/{world['acme']}/domains")).json()["items"]
    assert {one["domain"] for one in domains} == {"acme.example", "old.example"}
    groups = (await company.admin.get("/v1/accounts/key:acme/groups")).json()["items"]
    assert {one["name"] for one in groups} == {"Quality", "Purchasing", "Quality (ACME Old)"}
    assert (await company.admin.patch("/v1/accounts/key:old", json={"name": "Both"})).json()["name"] == "Both"
    listed = (await company.admin.get("/v1/accounts")).json()["items"]
    assert {one["key"] for one in listed} == {"group", "acme", "branch"}
    by_hand = await company.admin.post(
        f"/v1/interactions/{_history()[-1].interaction.id}/attribution", json={"accounts": ["key:old"]}
    )
    assert by_hand.json()["accounts"] == [world["acme"]]


async def test_consumers_are_told_whose_alias_it_is_and_what_the_one_that_stays_now_has(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    before = await _published(office)
    await _merge(company, world["old"], world["acme"])
    merged = await _published(office)
    alias = merged[world["old"]]
    assert (alias.merged_into, alias.owners, alias.team, alias.contacts) == (world["acme"], (), (), ())
    stays = merged[world["acme"]]
    rows = await office.rows("select email, id from app_user")
    users = {row["email"].partition("@")[0]: row["id"] for row in rows}
    assert [(held.value, str(held.since), str(held.until)) for held in stays.owners] == [
        (users["ben"], "2022-01-01", "2024-01-01"),
        (users["anna"], "2024-01-01", "None"),
    ]
    assert [held.value.user_id for held in stays.team] == [users["ben"]]
    assert [held.value for held in stays.parents] == [world["group"]]
    assert [held.value for held in merged[world["branch"]].parents] == [world["acme"]]
    assert {one.contact_id for one in stays.contacts} == {world["maria"], world["otto"], world["olga"]}
    await _unmerge(company, world["old"])
    again = await _published(office)
    for key in ("old", "acme", "branch"):
        versions = {"version": 0}
        assert again[world[key]].model_copy(update=versions) == before[world[key]].model_copy(update=versions)


async def test_what_a_person_decided_follows_the_account_both_ways(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    unknown = mail("<9>", "who@unknown.example", "anna@brightwell.example")
    hidden = order("o9", "otto@old.example")
    await office.receive(unknown, hidden)
    for one in (unknown, hidden):
        path = f"/v1/interactions/{one.interaction.id}/attribution"
        assert (await company.admin.post(path, json={"accounts": [world["old"]]})).status_code == 202
    await office.run_jobs()
    both = {(world["old"], unknown.interaction.id), (world["old"], hidden.interaction.id)}
    assert set(await office.standing()) == both
    await _merge(company, world["old"], world["acme"])
    await office.run_jobs()
    assert set(await office.standing()) == {(world["acme"], interaction) for _, interaction in both}
    await _unmerge(company, world["old"])
    await office.run_jobs()
    assert set(await office.standing()) == both


async def test_a_contact_corrected_to_the_account_that_stayed_stays_with_it(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await office.receive(mail("<1>", "otto@old.example", "anna@brightwell.example", when=at(days=-9)))
    await _merge(company, "key:old", "key:acme")
    said = {"account": "key:old", "change": "correction"}
    answer = await company.admin.patch(f"/v1/contacts/{world['otto']}", json=said)
    assert answer.status_code == 200, answer.text
    await _unmerge(company, "key:old")
    await office.run_jobs()
    assert {account for account, _ in await office.standing()} == {world["acme"]}


async def test_merges_of_merges_are_followed_and_each_can_be_undone_by_itself(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await office.receive(*_history())
    before = await office.standing()
    await _merge(company, "key:branch", "key:acme")
    await _unmerge(company, "key:branch")
    nowhere = {"parent": {"account": None, "correction": True}}
    answer = await company.admin.patch("/v1/accounts/key:branch", json=nowhere)
    assert answer.status_code == 200, answer.text
    await _merge(company, "key:branch", "key:old")
    await _merge(company, "key:old", "key:acme")
    await office.run_jobs()
    assert {account for account, _ in await office.standing()} == {world["acme"]}
    shown = (await company.admin.get("/v1/accounts/key:branch")).json()
    assert shown["account_id"] == world["acme"]
    await _unmerge(company, "key:old")
    await office.run_jobs()
    assert {account for account, _ in await office.standing()} == {world["acme"], world["old"]}
    assert (await company.admin.get("/v1/accounts/key:branch")).json()["account_id"] == world["old"]
    await _unmerge(company, "key:branch")
    await office.run_jobs()
    assert await office.standing() == before


async def test_the_inner_one_of_two_merges_can_be_undone_first(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await office.receive(*_history())
    parents = {"parent": {"account": None, "correction": True}}
    assert (await company.admin.patch("/v1/accounts/key:branch", json=parents)).status_code == 200
    published = await _published(office)
    await _merge(company, "key:branch", "key:old")
    await _merge(company, "key:old", "key:acme")
    await _unmerge(company, "key:branch")
    await office.run_jobs()
    assert {account for account, _ in await office.standing()} == {world["acme"], world["branch"]}
    await _unmerge(company, "key:old")
    await office.run_jobs()
    again = await _published(office)
    for key in ("old", "acme", "branch"):
        versions = {"version": 0}
        assert again[world[key]].model_copy(update=versions) == published[world[key]].model_copy(update=versions)


async def test_a_repeated_request_changes_nothing_and_a_contrary_one_is_refused(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await _merge(company, "key:old", "key:acme")
    said = len(await office.rows("select id from outbox"))
    await _merge(company, "key:old", "key:acme")
    await _merge(company, "key:old", "key:old")
    assert len(await office.rows("select id from outbox")) == said
    answer = await company.admin.post("/v1/accounts/key:old/merge", json={"into": "key:group"})
    assert (answer.status_code, answer.json()["title"]) == (409, "Merged already")
    await _unmerge(company, "key:old")
    await _unmerge(company, "key:old")
    answer = await company.admin.post("/v1/accounts/key:old/merge", json={"into": world["old"]})
    assert answer.status_code == 422
    answer = await company.admin.post("/v1/accounts/key:old/merge", json={"into": "key:group"})
    assert (answer.status_code, answer.json()["title"]) == (409, "One is below the other")
    answer = await company.admin.post("/v1/accounts/key:nobody/merge", json={"into": "key:group"})
    assert answer.status_code == 404


async def test_only_a_lead_who_sees_both_merges(company: Company, office: Office, world: dict[str, str]) -> None:
    for subject in ("anna", "ben"):
        answer = await company.caller(subject).post("/v1/accounts/key:old/merge", json={"into": "key:acme"})
        assert answer.status_code == 403
    assert (
        await company.caller("lea").post("/v1/accounts/key:old/merge", json={"into": "key:acme"})
    ).status_code == 202
    await office.receive(*_history())
    assert (await company.caller("ben").get("/v1/accounts/key:old/interactions")).status_code == 200
    assert await office.rows("select id from edit where what = 'account merged'")
    assert world["old"]


async def test_the_same_files_after_a_merge_change_nothing(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    await _merge(company, world["old"], world["acme"])
    await office.run_jobs()
    said = await _published(office)
    for table, text in (("users", USERS), ("accounts", ACCOUNTS), ("contacts", CONTACTS)):
        assert (await company.upload(table, text)).json()["rejected"] == []
    assert await _published(office) == said
    await _unmerge(company, world["old"])
    assert (await _published(office))[world["old"]].merged_into is None


async def _insist(company: Company, method: str, path: str, body: dict[str, Any] | None = None) -> int:
    while True:
        answer = await company.admin.request(method, path, json=body)
        assert answer.status_code in {201, 202, 204, 404, 409, 422, 503}, answer.text
        if answer.status_code != 503:
            return answer.status_code


async def _edit_at_random(
    company: Company, accounts: list[str], chance: random.Random, *consumers: asyncio.Task[None]
) -> None:
    """As long as somebody consumes: what the last edits concern is not repaired by later ones."""
    number = 0
    while not all(task.done() for task in consumers):
        number += 1
        await asyncio.sleep(chance.random() * 0.05)
        one, other = chance.sample(range(5), 2)
        domain = f"c{chance.randrange(4)}.example"
        match number % 4:
            case 0:
                await _insist(company, "POST", f"/v1/accounts/{accounts[one]}/merge", {"into": f"key:c{other}"})
            case 2:
                await _insist(company, "POST", f"/v1/accounts/key:c{one}/unmerge")
            case 3:
                # Whosever it is: what comes from there matches nobody, and no account's lock keeps an edit away.
                for account in accounts:
                    if await _insist(company, "DELETE", f"/v1/accounts/{account}/domains/{domain}") == 204:
                        break
            case _:
                said = {"domain": domain, "change": "correction"}
                await _insist(company, "POST", f"/v1/accounts/{accounts[other]}/domains", said)


@pytest.mark.parametrize("seed", [2, 5])
async def test_any_interleaving_of_reports_edits_and_merges_ends_in_the_same_grouping(
    access: DatabaseAccess, tmp_path: Path, office: Office, fold: Fold, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    accounts = [await office.account(f"c{number}", domains=[f"c{number}.example"]) for number in range(5)]
    for number, account in enumerate(accounts[:4]):
        await office.contact(account, f"p{number}@c{number}.example")
    history = history_of(seed)
    halves: tuple[list[Any], list[Any]] = ([], [])
    for event in history:
        halves[int(event.interaction.id[:2], 16) % 2].append(event)
    runners = [JobRunner(office.pool, fold, jobs) for _ in range(2)]

    def wake() -> None:
        for runner in runners:
            runner.wake()

    for runner in runners:
        await runner.start()
    async with opened(access, tmp_path, wake) as company:
        consumers = [
            asyncio.create_task(consume(office, fold, half, seed + number, linger=0.3))
            for number, half in enumerate(halves)
        ]
        await _edit_at_random(company, accounts, chance, *consumers)
        await asyncio.gather(*consumers)
    for runner in runners:
        await runner.stop()
    await office.run_jobs()
    concurrent = await office.standing()
    await forget_everything_said(office)
    await office.receive(*history)
    assert len(concurrent) > 30
    assert concurrent == await office.standing()


async def test_two_edits_of_one_account_at_once_leave_one_owner(
    company: Company, office: Office, world: dict[str, str]
) -> None:
    callers = [company.caller(f"root{number}", ["admin"]) for number in range(2)]

    async def give(number: int, user: str) -> None:
        while True:
            body = {"owner": {"user": f"{user}@brightwell.example", "since": "2026-01-01"}}
            answer = await callers[number].patch("/v1/accounts/key:acme", json=body)
            if answer.status_code == 200:
                return
            assert answer.status_code == 503, answer.text

    for _ in range(5):
        await asyncio.gather(give(0, "ben"), give(1, "lea"))
        rows = await office.rows(
            "select since from account_interval where account_id = $1 and sort = 'owner' and until is null",
            world["acme"],
        )
        assert len(rows) == 1
    async with transaction(office.pool) as connection:
        assert await connection.fetchval("select count(*) from account_interval where sort = 'owner'") == 5
