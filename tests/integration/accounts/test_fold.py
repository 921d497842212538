"""Events become ledger rows and attributions, on a real database."""

from __future__ import annotations

from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import at, event, mail, order, person, refund, ticket, withdrawn


async def test_a_mail_from_a_contact_is_kept_and_attributed_to_the_contacts_account(office: Office) -> None:
    acme = await office.account("acme")
    maria = await office.contact(acme, "maria@acme.example")
    anna = await office.user("anna@brightwell.example")
    received = mail("<1@acme.example>", "maria@acme.example", "anna@brightwell.example")
    await office.receive(received)
    [said] = await office.said()
    assert (said.account_id, said.interaction_id, said.reason) == (acme, received.interaction.id, "address")
    assert [(one.contact_id, one.role) for one in said.contacts] == [(maria, "from")]
    assert said.users == (anna,)
    assert (said.touch_class, said.direction, said.reply_expected, said.cc_only) == ("routine", "in", True, False)
    assert said.conversation_id == received.interaction.id
    [kept] = await office.rows("select event_id, source from ledger")
    assert kept["event_id"] == received.id


async def test_the_same_event_again_changes_nothing(office: Office) -> None:
    acme = await office.account("acme")
    await office.contact(acme, "maria@acme.example")
    placed = order("1", "maria@acme.example")
    await office.receive(placed, placed)
    await office.receive(placed)
    assert len(await office.said()) == 1
    assert len(await office.rows("select event_id from ledger")) == 1


async def test_a_lower_revision_that_comes_later_is_a_duplicate_and_a_higher_one_replaces(office: Office) -> None:
    acme = await office.account("acme")
    await office.contact(acme, "maria@acme.example")
    for number, amount in ((2, "20.00"), (1, "10.00"), (3, "30.00")):
        await office.receive(order("1", "maria@acme.example", amount, order=number, report="native"))
    said = await office.said()
    assert [one.detail.net.amount for one in said] == [20, 30]  # type: ignore[union-attr]
    assert len(await office.rows("select event_id from ledger")) == 1


async def test_a_refund_that_comes_before_its_order_follows_it_as_soon_as_it_is_there(office: Office) -> None:
    acme = await office.account("acme")
    await office.contact(acme, "maria@acme.example")
    early = refund("r1", "1")
    await office.receive(early)
    assert await office.said() == []
    assert [row["id"] for row in await office.rows("select id from interaction where unmatched")] == [
        early.interaction.id
    ]
    await office.receive(order("1", "maria@acme.example"))
    said = {one.kind.value: one for one in await office.said()}
    assert said["refund"].account_id == acme
    assert said["refund"].reason == "parent"
    assert await office.rows("select id from interaction where unmatched") == []


async def test_a_withdrawal_leaves_a_tombstone_and_one_that_comes_first_says_nothing(office: Office) -> None:
    acme = await office.account("acme")
    await office.contact(acme, "maria@acme.example")
    first = order("1", "maria@acme.example")
    second = ticket("opened", "2", "maria@acme.example")
    await office.receive(first)
    await office.receive(withdrawn(first))
    await office.receive(withdrawn(second))
    await office.receive(second)
    assert [(one.interaction_id, one.present) for one in await office.said()] == [
        (first.interaction.id, True),
        (first.interaction.id, False),
    ]


async def test_a_mail_to_people_of_two_customers_concerns_both(office: Office) -> None:
    acme, nordic = await office.account("acme"), await office.account("nordic", domains=["nordic.example"])
    await office.contact(acme, "maria@acme.example")
    parties = [
        person("from", "anna@brightwell.example", ours=True),
        person("to", "maria@acme.example"),
        person("cc", "unknown@mail.nordic.example"),
    ]
    await office.receive(mail("<1>", "anna@brightwell.example", "maria@acme.example", parties=parties))
    said = {one.account_id: one for one in await office.said()}
    assert (said[acme].reason, said[acme].cc_only) == ("address", False)
    assert (said[nordic].reason, said[nordic].cc_only) == ("domain", True)


async def test_mail_before_its_ticket_belongs_to_the_ticket_as_soon_as_it_is_there(office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    answer = mail(
        "<1>",
        "maria@acme.example",
        "anna@brightwell.example",
        references=[{"kind": "message", "value": "<1>"}, {"kind": "ticket", "value": "test:acme:4711"}],
    )
    await office.receive(answer)
    opened = ticket("opened", "4711", "maria@acme.example", when=at(hours=-1))
    await office.receive(opened)
    known = await office.known()
    read = known[acme, answer.interaction.id]
    assert (read.touch_class, read.ticket_id, read.conversation_id) == (
        "support",
        opened.interaction.id,
        opened.interaction.id,
    )
    assert await office.rows("select id from job") == []


async def test_events_of_every_order_of_a_ticket_give_the_same(office: Office) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    steps = [
        ticket("reopened", "1", when=at(hours=5), order=3),
        ticket("resolved", "1", when=at(hours=2), order=2),
        ticket("opened", "1", "maria@acme.example", order=1),
        ticket("resolved", "1", when=at(hours=7), order=4),
    ]
    for step in steps:
        await office.receive(step)
    read = (await office.known())[acme, steps[0].interaction.id]
    assert (read.detail.resolved_at, read.detail.reopenings) == (at(hours=7), 1)  # type: ignore[union-attr]


async def test_free_mail_never_matches_by_domain(office: Office) -> None:
    await office.account("acme", domains=["gmail.com"])
    await office.receive(mail("<1>", "someone@gmail.com", "anna@brightwell.example"))
    assert await office.said() == []
    assert event("note.written", "note", "1").KIND == "note"
