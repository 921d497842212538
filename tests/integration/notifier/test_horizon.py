"""A silence alert speaks only of time before the horizon of that account's sources."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from contracts.envelope import format_instant
from tests.integration.notifier.house import House, until
from tests.unit.notifier.states import NOON, account, anna, left, lena, team, touched, waiting_mail


def source(**changed: Any) -> dict[str, Any]:
    """A mailbox that ingest polls and that is well."""
    stated = {
        "provider": "imap",
        "polled": True,
        "horizon": format_instant(NOON),
        "last_delivery": None,
        "status": "ok",
    }
    return {**stated, **changed}


async def held(house: House, by: str, says: str = "") -> str:
    """Wait until something is held by a `service`, a `source` or something `broken`, and it says so; return why."""

    async def ask() -> str | None:
        holds = (await house.report()).get("parts", {}).get("poller", {}).get("held", [])
        return next((str(hold["why"]) for hold in holds if hold["by"] == by and says in hold["why"]), None)

    return await until(ask, f"a hold by {by}")


async def test_nothing_is_said_while_a_service_before_us_has_not_come_past_the_deadline(house: House) -> None:
    house.horizon = NOON - timedelta(days=2)
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    # Before that it may be the activity behind the KPIs that has not come yet.
    assert await held(house, "service", "ingest has come to")
    assert (await house.report())["drained"] is False
    assert house.mailbox.messages == []
    house.horizon = None
    assert await house.steps() == ["opened"]


async def test_a_service_that_does_not_answer_is_not_known_and_holds(house: House) -> None:
    house.flow_status = 503
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    assert await held(house, "service", "ingest") == "ingest does not say how far it has come"
    house.flow_status = 200
    assert await house.steps() == ["opened"]


async def test_the_owners_mailbox_that_is_down_holds_the_alert_and_is_shown(house: House) -> None:
    house.sources = {
        "mail-anna": source(horizon=format_instant(NOON - timedelta(days=5)), status="broken: login refused"),
        "mail-other": source(horizon=None, status="broken: no such host"),
    }
    await house.say(team(), anna(mailboxes=("mail-anna",)), lena(), account(), touched(days_ago=15))
    # The other mailbox is nobody's of this account: only the owner's holds.
    assert await held(house, "broken") == "source mail-anna is down (broken: login refused)"
    assert await house.steps() == []
    house.sources["mail-anna"] = source()
    house.step(NOON + timedelta(minutes=2))
    await until(lambda: has_opened(house), "the alert")


async def has_opened(house: House) -> bool:
    return "opened" in await house.steps()


async def test_a_broken_mailbox_that_was_synced_past_the_deadline_does_not_hold(house: House) -> None:
    ago = NOON - timedelta(minutes=10)
    house.sources = {"mail-anna": source(horizon=format_instant(ago), status="broken: timeout")}
    await house.say(team(), anna(mailboxes=("mail-anna",)), lena(), account(), touched(days_ago=15))
    (event,) = await house.said()
    assert event.evidence.horizon == ago


async def test_a_mailbox_that_nobody_configured_is_not_known_and_holds(house: House) -> None:
    await house.say(team(), anna(mailboxes=("mail-anna",)), lena(), account(), touched(days_ago=15))
    assert await held(house, "broken") == "source mail-anna is not known to ingest"
    assert await house.steps() == []


async def test_the_mailbox_of_an_owner_who_has_left_us_holds_no_longer_than_it_is_configured(house: House) -> None:
    house.sources = {"mail-anna": source(horizon=format_instant(NOON - timedelta(days=5)))}
    gone = anna(active=False, mailboxes=("mail-anna",))
    await house.say(team(), gone, lena(), account(), touched(days_ago=15))
    assert "mail-anna was synced up to" in await held(house, "source")
    house.sources = {}
    await house.mailed(1)
    assert house.mailbox.messages[0]["To"].addresses[0].username == "lena"


async def test_sources_that_push_and_waiting_dead_letters_are_named_as_unverified(house: House) -> None:
    yesterday = NOON - timedelta(days=1)
    house.sources = {
        "desk": source(provider="zendesk", polled=False, horizon=None, last_delivery=format_instant(yesterday)),
        "history": source(provider="import", polled=False, horizon=None),
        "shop": source(provider="shopify", polled=False, horizon=None),
    }
    house.dead_letters = 2
    seen = left(sources=("desk", "history"), contacts=())
    await house.say(team(), anna(), lena(), account(), seen, touched(days_ago=15))
    (event,) = await house.said()
    assert event.evidence.unverified[0] == "desk: last delivery 1 Mar 2026, 12:00 CET; it cannot be polled"
    assert event.evidence.unverified[1] == "ingest: 2 records set aside as dead letters, not counted here"
    assert not any("shop" in line or "history" in line for line in event.evidence.unverified)
    await house.mailed(1)
    text = house.mailbox.messages[0].get_body(("plain",))
    assert text is not None
    assert "Not verified: desk: last delivery 1 Mar 2026" in text.get_content()


async def test_rules_sleep_until_the_history_is_complete_and_then_speak_in_one_message(house: House) -> None:
    others = [account(account_id=f"00000000-0000-8000-8000-00000000000{n}", name=f"Customer {n}") for n in range(3)]
    asleep = [one.model_copy(update={"history_complete_at": None}) for one in (account(), *others)]
    await house.say(team(), anna(), lena(), *asleep)
    for one in asleep:
        await house.say(touched(days_ago=40).model_copy(update={"account_id": one.account_id}))
    await house.drained()
    assert await house.steps() == []
    house.step(NOON + timedelta(minutes=5))
    awake = {"history_complete_at": NOON + timedelta(minutes=1), "version": 2}
    # At once: a folded message waits for more, but not for ever.
    await asyncio.gather(*(house.say(one.model_copy(update=awake)) for one in asleep))
    assert await house.steps() == ["opened"] * 4
    (mail,) = house.mailbox.messages
    assert mail["Subject"] == "4 alerts on 4 accounts"


async def test_a_signal_of_the_day_is_told_at_once_without_asking_the_horizon(house: House) -> None:
    house.flow_status = 503
    await house.say(team(), anna(), lena(), account(), touched(days_ago=1), left())
    assert await house.steps() == ["opened"]


async def test_an_unanswered_mail_waits_for_the_mailbox_that_may_hold_the_answer(house: House) -> None:
    sent = NOON - timedelta(days=4)
    house.sources = {"mail-anna": source(horizon=format_instant(sent))}
    await house.say(team(), anna(mailboxes=("mail-anna",)), lena(), account(), waiting_mail(sent))
    assert "mail-anna was synced up to" in await held(house, "source")
    await house.say(touched(days_ago=0, version=2))
    house.sources["mail-anna"] = source()
    assert await house.steps() == []
