"""Whose is it, revised: unmatched parties, moves and corrections of identities, decisions by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.integration.accounts.desk import Company
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import at, mail, order, person, refund, report, ticket, withdrawn


async def test_unmatched_mail_is_listed_and_attributed_once_a_domain_says_whose_it_is(
    company: Company, office: Office
) -> None:
    acme = await office.account("acme")
    received = [
        mail(f"<{n}>", "new@quality.acme.example", "anna@brightwell.example", when=at(hours=n)) for n in range(3)
    ]
    await office.receive(*received)
    listed = (await company.admin.get("/v1/unmatched")).json()["items"]
    assert {(one["kind"], one["value"], one["interactions"]) for one in listed} == {
        ("address", "new@quality.acme.example", 3),
        ("domain", "acme.example", 3),
    }
    narrowed = (
        await company.admin.get("/v1/unmatched/interactions", params={"kind": "domain", "value": "acme.example"})
    ).json()
    assert [one["id"] for one in narrowed["items"]] == [one.interaction.id for one in reversed(received)]
    response = await company.admin.post(f"/v1/accounts/{acme}/domains", json={"domain": "ACME.example"})
    assert response.status_code == 201
    assert len(await office.rows("select id from job")) == 1
    await office.run_jobs()
    assert {(one.account_id, one.reason) for one in await office.said()} == {(acme, "domain")}
    assert (await company.admin.get("/v1/unmatched")).json()["items"] == []
    assert await office.rows("select id from job") == []


async def test_a_free_mail_domain_cannot_be_an_accounts_and_the_answer_says_what_to_do(
    company: Company, office: Office
) -> None:
    acme = await office.account("acme")
    for domain in ("gmail.com", "co.uk", "sendgrid.net"):
        response = await company.admin.post(f"/v1/accounts/{acme}/domains", json={"domain": domain})
        assert response.status_code == 422
        [error] = response.json()["errors"]
        assert (error["field"], "addresses" in error["remedy"] or "names no company" in error["message"]) == (
            "domain",
            True,
        )


async def test_an_identity_of_another_needs_a_word_on_what_happened(company: Company, office: Office) -> None:
    acme, nordic = await office.account("acme"), await office.account("nordic")
    maria = await office.contact(acme, "maria@acme.example")
    await office.contact(nordic, "nils@nordic.example")
    early = mail("<1>", "maria@acme.example", "anna@brightwell.example", when=at(days=-30))
    late = mail("<2>", "maria@acme.example", "anna@brightwell.example")
    await office.receive(early, late)
    [nils] = [
        row["contact_id"]
        for row in await office.rows("select contact_id from identity where identity_key like '%nils%'")
    ]
    body = {"kind": "address", "value": "maria@acme.example"}
    refused = await company.admin.post(f"/v1/contacts/{nils}/identities", json=body)
    assert refused.status_code == 409
    assert "change=correction" in refused.json()["detail"]

    # A move: what happened before stays.
    moved = await company.admin.post(
        f"/v1/contacts/{nils}/identities", json={**body, "change": "move", "since": "2026-03-01"}
    )
    assert moved.status_code == 201, moved.text
    await office.run_jobs()
    assert set(await office.standing()) == {(acme, early.interaction.id), (nordic, late.interaction.id)}
    gone = (await office.known())[acme, late.interaction.id]
    assert (gone.present, gone.reason, gone.contacts) == (False, "address", ())

    # A correction: the past moves too.
    await company.admin.post(f"/v1/contacts/{nils}/identities", json={**body, "change": "correction"})
    await office.run_jobs()
    assert set(await office.standing()) == {(nordic, early.interaction.id), (nordic, late.interaction.id)}
    await company.admin.post(f"/v1/contacts/{maria}/identities", json={**body, "change": "correction"})
    await office.run_jobs()
    assert set(await office.standing()) == {(acme, early.interaction.id), (acme, late.interaction.id)}


async def test_a_contact_who_changes_companies_takes_only_what_happens_since(company: Company, office: Office) -> None:
    acme, nordic = await office.account("acme"), await office.account("nordic")
    maria = await office.contact(acme, "maria@private.example")
    before = mail("<1>", "maria@private.example", "anna@brightwell.example", when=at(days=-10))
    after = mail("<2>", "maria@private.example", "anna@brightwell.example")
    await office.receive(before, after)
    response = await company.admin.patch(
        f"/v1/contacts/{maria}", json={"account": nordic, "change": "move", "since": "2026-03-01"}
    )
    assert response.status_code == 200, response.text
    await office.run_jobs()
    assert set(await office.standing()) == {(acme, before.interaction.id), (nordic, after.interaction.id)}
    assert [(one["account_id"], one["until"]) for one in response.json()["accounts"]] == [
        (acme, "2026-03-01"),
        (nordic, None),
    ]


async def test_a_contact_who_serves_an_earlier_account_once_more_leaves_the_past_where_it_is(
    company: Company, office: Office
) -> None:
    acme, nordic = await office.account("acme"), await office.account("nordic")
    maria = await office.contact(acme, "maria@private.example")
    before = mail("<1>", "maria@private.example", "anna@brightwell.example", when=at(days=-10))
    await office.receive(before)
    moved = {"account": nordic, "change": "move", "since": "2026-02-25"}
    assert (await company.admin.patch(f"/v1/contacts/{maria}", json=moved)).status_code == 200
    also = {"account": acme, "also": True, "since": "2026-03-01"}
    response = await company.admin.patch(f"/v1/contacts/{maria}", json=also)
    assert response.status_code == 200, response.text
    await office.run_jobs()
    assert set(await office.standing()) == {(acme, before.interaction.id)}
    wrong = {"account": acme, "also": True, "since": "2026-03-01", "until": "2026-03-01"}
    assert (await company.admin.patch(f"/v1/contacts/{maria}", json=wrong)).status_code == 422


async def test_by_hand_outranks_everything_survives_reports_and_can_be_taken_back(
    company: Company, office: Office
) -> None:
    acme, nordic = await office.account("acme"), await office.account("nordic")
    await office.contact(acme, "maria@acme.example")
    placed = order("1", "maria@acme.example")
    await office.receive(placed)
    path = f"/v1/interactions/{placed.interaction.id}/attribution"
    assert (await company.admin.post(path, json={"accounts": [acme, nordic]})).status_code == 422
    assert (await company.admin.post(path, json={"accounts": ["key:nordic"]})).status_code == 202
    await office.run_jobs()
    await office.receive(order("1", "maria@acme.example", "120.00", order=2), refund("r1", "1"))
    standing = await office.standing()
    assert {(account, body["reason"]) for (account, _), body in standing.items()} == {
        (nordic, "by_hand"),
        (nordic, "parent"),
    }
    await company.admin.post(path, json={"accounts": []})
    await office.run_jobs()
    assert {one for one, _ in await office.standing()} == set()
    await company.admin.post(path, json={"accounts": None})
    await office.run_jobs()
    assert {one for one, _ in await office.standing()} == {acme}


async def test_a_touch_is_read_by_hand_before_reference_before_rule(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    about = "Our probe is broken, could you help? The invoice is fine."
    asked = mail("<1>", "maria@acme.example", "anna@brightwell.example", text=about)
    answered = mail(
        "<2>",
        "anna@brightwell.example",
        "maria@acme.example",
        when=at(hours=1),
        text="See the roadmap.",
        references=[{"kind": "message", "value": "<1>"}, {"kind": "message", "value": "<2>"}],
    )
    other = mail("<3>", "anna@brightwell.example", "maria@acme.example", text="Shall we plan the business review?")
    await office.receive(asked, answered, other)

    async def classes() -> list[str]:
        standing = await office.standing()
        return [standing[acme, one.interaction.id]["touch_class"] for one in (asked, answered, other)]

    assert await classes() == ["support", "support", "strategic"]
    path = f"/v1/interactions/{asked.interaction.id}/touch-class"
    assert (await company.admin.post(path, json={"touch_class": "billing", "reply_expected": False})).status_code == 202
    await office.run_jobs()
    assert await classes() == ["billing", "strategic", "strategic"]
    assert (await office.standing())[acme, asked.interaction.id]["reply_expected"] is False
    await company.admin.post(path, json={"touch_class": None})
    await office.run_jobs()
    assert await classes() == ["support", "support", "strategic"]


async def test_a_changed_rule_is_applied_to_what_was_already_there(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    sent = mail("<1>", "anna@brightwell.example", "maria@acme.example", text="Let us talk about calibration intervals.")
    await office.receive(sent)
    rule = {
        "name": "calibration advice",
        "touch_class": "strategic",
        "position": 5,
        "field": "words",
        "patterns": ["calibration intervals"],
    }
    created = await company.admin.post("/v1/touch-class-rules", json=rule)
    assert created.status_code == 201
    await office.run_jobs()
    assert (await office.standing())[acme, sent.interaction.id]["touch_class"] == "strategic"
    await company.admin.put(f"/v1/touch-class-rules/{created.json()['id']}", json={**rule, "active": False})
    await office.run_jobs()
    assert (await office.standing())[acme, sent.interaction.id]["touch_class"] == "routine"


async def test_a_user_who_is_added_later_is_found_in_earlier_mail(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    received = mail("<1>", "maria@acme.example", "anna@brightwell.example")
    await office.receive(received)
    body = {"email": "Anna@brightwell.example", "name": "Anna", "role": "manager", "time_zone": "Europe/Berlin"}
    created = await company.admin.post("/v1/users", json=body)
    assert created.status_code == 201, created.text
    await office.run_jobs()
    assert (await office.standing())[acme, received.interaction.id]["users"] == [created.json()["id"]]


async def test_conversations_that_meet_become_one_and_tell_their_members(office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])

    def referring(native_id: str, hours: int, *to: str) -> object:
        references = [{"kind": "message", "value": value} for value in (native_id, *to)]
        return mail(
            native_id, "maria@acme.example", "anna@brightwell.example", when=at(hours=hours), references=references
        )

    one, two, three = referring("<1>", 0), referring("<2>", 1), referring("<3>", 2, "<1>", "<2>")
    opened = ticket(
        "opened", "9", "maria@acme.example", when=at(hours=3), references=[{"kind": "message", "value": "<3>"}]
    )
    for event in (two, one, opened, three):
        await office.receive(event)  # type: ignore[arg-type]
    standing = await office.standing()
    assert {body["conversation_id"] for body in standing.values()} == {one.interaction.id}  # type: ignore[attr-defined]
    assert {body.get("ticket_id") for (_, id_), body in standing.items() if id_ != opened.interaction.id} == {
        opened.interaction.id
    }
    assert acme


async def test_a_reference_that_a_greater_revision_drops_parts_the_conversation(office: Office) -> None:
    await office.account("acme", domains=["acme.example"])
    first = mail("<1>", "maria@acme.example", "anna@brightwell.example")
    joined = mail(
        "<2>",
        "maria@acme.example",
        "anna@brightwell.example",
        when=at(hours=1),
        report="m",
        references=[{"kind": "message", "value": "<1>"}],
    )
    mended = mail(
        "<2>",
        "maria@acme.example",
        "anna@brightwell.example",
        when=at(hours=1),
        report="m",
        order=2,
        references=[{"kind": "message", "value": "<2>"}],
    )
    await office.receive(first, joined)
    assert len({body["conversation_id"] for body in (await office.standing()).values()}) == 1
    await office.receive(mended)
    assert len({body["conversation_id"] for body in (await office.standing()).values()}) == 2


async def test_people_seen_in_no_group_are_suggested_with_what_suggests_them(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    maria = await office.contact(acme, "maria@acme.example")
    parties = [
        person("from", "maria@acme.example"),
        person("to", "anna@brightwell.example", ours=True),
        person("cc", "paul@acme.example"),
        person("cc", "stranger@elsewhere.example"),
    ]
    received = mail("<1>", "maria@acme.example", "anna@brightwell.example", parties=parties)
    await office.receive(received)
    items = (await company.admin.get(f"/v1/accounts/{acme}/suggestions")).json()["items"]
    assert [(one["value"], one["contact_id"], one["count"]) for one in items] == [
        ("maria@acme.example", maria, 1),
        ("paul@acme.example", None, 1),
    ]
    assert items[1]["interactions"] == [
        {"id": received.interaction.id, "kind": "mail", "occurred_at": "2026-03-02T09:00:00Z", "role": "cc"}
    ]
    centre = (await company.admin.post(f"/v1/accounts/{acme}/groups", json={"name": "Quality"})).json()["id"]
    put = await company.admin.put(
        f"/v1/accounts/{acme}/groups/{centre}/members/{maria}",
        json={"influence": 4, "roles": [{"role": "champion", "since": "2025-01-01"}]},
    )
    assert put.json()["items"][0]["members"][0]["roles"][0]["role"] == "champion"
    items = (await company.admin.get(f"/v1/accounts/{acme}/suggestions")).json()["items"]
    assert [one["value"] for one in items] == ["paul@acme.example"]


async def test_a_private_mail_shows_no_text_and_others_show_theirs(company: Company, office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    open_mail = mail("<1>", "maria@acme.example", "anna@brightwell.example", text="All is well", title="Hello")
    secret = mail(
        "<2>", "maria@acme.example", "anna@brightwell.example", text="Personal matter", title="Secret", private=True
    )
    await office.receive(open_mail, secret)
    shown = (await company.admin.get(f"/v1/interactions/{open_mail.interaction.id}")).json()
    assert (shown["title"], shown["text"], shown["attributions"][0]["reason"]) == ("Hello", "All is well", "domain")
    hidden = await company.admin.get(f"/v1/interactions/{secret.interaction.id}")
    assert "Personal matter" not in hidden.text
    assert "Secret" not in hidden.text
    listed = await company.admin.get(f"/v1/accounts/{acme}/interactions", params={"text": "true"})
    assert "All is well" in listed.text
    assert "Personal matter" not in listed.text
    stored = await office.rows(
        "select state::text as state from interaction union all select convert_from(payload, 'utf8') from outbox"
    )
    assert not any("Personal" in row["state"] or "All is well" in row["state"] for row in stored)


async def test_an_edit_waits_for_batches_only_so_long_and_then_says_try_again(company: Company, office: Office) -> None:
    acme = await office.account("acme")
    async with office.pool.acquire() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock_shared($1)", 0x6964656E74697479)
        response = await company.admin.post(f"/v1/accounts/{acme}/domains", json={"domain": "acme.example"})
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert (
        await company.admin.post(f"/v1/accounts/{acme}/domains", json={"domain": "acme.example"})
    ).status_code == 201


async def test_history_complete_is_declared_once_and_published(company: Company, office: Office) -> None:
    acme = await office.account("acme")
    await office.account("nordic")
    operator = company.caller("importer", ["operator"])
    assert (await operator.post("/v1/history-complete", json={"accounts": ["key:acme"]})).json() == {"accounts": 1}
    company.clock.moment = at(days=1)
    assert (await operator.post("/v1/history-complete", json={"accounts": "all"})).json() == {"accounts": 2}
    shown = (await company.admin.get(f"/v1/accounts/{acme}")).json()
    assert shown["history_complete_at"] == "2026-03-02T09:00:00Z"
    wrong = await operator.post("/v1/history-complete", json={"accounts": ["key:none"]})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "accounts")
    said = await office.rows("select aggregateid from outbox where aggregatetype = 'tenure.accounts'")
    assert len(said) == 2


async def test_owners_stages_and_parents_are_dated_and_a_circle_of_parents_is_refused(
    company: Company, office: Office
) -> None:
    anna = await office.user("anna@brightwell.example")
    lead = company.admin
    created = await lead.post(
        "/v1/accounts", json={"name": "ACME", "key": "acme", "owner": {"user": anna, "since": "2025-01-01"}}
    )
    assert created.status_code == 201, created.text
    acme = created.json()["id"]
    assert (
        await lead.post("/v1/accounts", json={"name": "ACME", "key": "acme", "owner": {"user": anna}})
    ).status_code == 409
    child = (
        await lead.post("/v1/accounts", json={"name": "Child", "parent": {"account": acme}, "owner": {"user": anna}})
    ).json()["id"]
    circle = await lead.patch(f"/v1/accounts/{acme}", json={"parent": {"account": child}})
    assert (circle.status_code, circle.json()["errors"][0]["field"]) == (422, "parent.account")
    await lead.patch(f"/v1/accounts/{acme}", json={"stage": {"stage": "onboarding", "since": "2025-01-01"}})
    changed = await lead.patch(f"/v1/accounts/{acme}", json={"stage": {"stage": "active", "since": "2025-06-01"}})
    assert [(one["value"], one["since"], one.get("until")) for one in changed.json()["stages"]] == [
        ("onboarding", "2025-01-01", "2025-06-01"),
        ("active", "2025-06-01", None),
    ]
    unknown = await lead.patch(f"/v1/accounts/{acme}", json={"nickname": "x"})
    assert unknown.json()["errors"] == [
        {"field": "nickname", "message": "Extra inputs are not permitted", "remedy": "leave the field out"}
    ]
    history = (await lead.get(f"/v1/accounts/{acme}/edits")).json()["items"]
    assert [one["what"] for one in history] == ["account changed", "account changed", "account created"]


async def test_an_interaction_is_shown_whatever_a_newer_reporter_stated_beside_what_we_know(
    company: Company, office: Office
) -> None:
    await office.account("acme", domains=["acme.example"])
    told = report(mail("<1>", "maria@acme.example", "anna@brightwell.example"))
    more = told.body.replace(b"{", b'{"mood": 1e999, "karma": ' + b"9" * 400 + b", ", 1)
    await office.receive_reports(replace(told, body=more))
    shown = await company.admin.get(f"/v1/interactions/{told.event.interaction.id}")
    assert shown.status_code == 200
    [stated] = [one["stated"] for one in shown.json()["reports"]]
    assert stated["mailbox"] == "anna@brightwell.example"
    assert "mood" not in stated


@pytest.mark.parametrize("withdrawn_first", [True, False])
async def test_a_withdrawn_order_is_told_of_whatever_came_first_because_its_refunds_count_with_it(
    office: Office, *, withdrawn_first: bool
) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    placed = order("9", "maria@acme.example")
    told = [placed, withdrawn(placed)]
    for one in reversed(told) if withdrawn_first else told:
        await office.receive(one)
    await office.receive(refund("r1", "9"))
    known = await office.known()
    assert known[acme, placed.interaction.id].present is False
    assert known[acme, refund("r1", "9").interaction.id].present is True
