"""Restored from an older backup: nobody is told twice under another key, and versions never go back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import asyncpg

from contracts.accounts import Deputy
from contracts.ids import derive_id
from deploy.databases import DatabaseAccess
from services.runtime.restoring import restored
from tests.integration.notifier.house import House, until
from tests.integration.notifier.test_catch_up import company, customer, silence
from tests.integration.notifier.test_sources import quiet
from tests.unit.notifier.states import ANNA, LONG_AGO, NOON, anna, lena, team

DAY = timedelta(days=1)
PAUL = derive_id("test", "paul")


async def restore(house: House, backup: DatabaseAccess) -> None:
    """What an operator does: an older database, and `tenure restored notifier`."""
    house.restore(backup)
    connection = await asyncpg.connect(backup.owner)
    try:
        async with connection.transaction():
            await restored(connection, ["alerts"], datetime.now(UTC), "a test")
    finally:
        await connection.close()


def keys(mails: list[EmailMessage]) -> dict[str, set[str]]:
    """Under which ids each person was told of each account."""
    found: dict[str, set[str]] = {}
    for mail in mails:
        body = mail.get_body(("plain",))
        assert body is not None
        for name in ("Acme", "Bolt", "Cray", "Dorn"):
            if f"No touch with {name}" in body.get_content():
                found.setdefault(name, set()).add(str(mail["Message-ID"]))
    return found


async def test_after_a_restore_nobody_is_told_again_under_another_key_and_versions_rise(
    house: House, backup: Callable[[DatabaseAccess], DatabaseAccess]
) -> None:
    await company(house)
    await house.say(silence("Dorn", 15, version=2))
    await house.mailed(1)
    await house.stop()
    older = backup(house.database)
    await house.start()
    await house.drained()
    # Told one by one after the backup was made; the restored database knows nothing of it.
    house.step(NOON + DAY + timedelta(hours=1))
    assert await house.steps() == ["opened"] * 4
    await house.mailed(4)
    before = keys(house.mailbox.messages)
    await house.stop()
    await restore(house, older)
    # While it was away somebody was called, and nobody else was.
    await house.say(silence("Bolt", -1, version=2))
    house.step(NOON + DAY + timedelta(hours=2))
    await house.start()
    events = await house.said()

    async def told_again() -> bool:
        return len(house.mailbox.messages) == 6

    # Whether Acme's and Cray's arrived nobody knows; Bolt's is over, and Dorn's was told long before.
    await until(told_again, "what may not have arrived")
    assert keys(house.mailbox.messages) == before
    assert {len(ids) for ids in before.values()} == {1}
    assert sorted(event.TYPE.split(".")[2] for event in events if event.version >> 40 > 1) == ["resolved"]
    last = {event.alert_id: event for event in events}
    assert sorted(event.state for event in last.values()) == ["open"] * 3 + ["resolved"]
    listed = await house.call("GET", "/v1/alerts?state=any", roles=("admin",))
    assert {(one["alert_id"], one["version"], one["state"]) for one in listed.json()["items"]} == {
        (event.alert_id, event.version, event.state) for event in last.values()
    }


async def test_after_a_restore_all_are_told_again_who_may_not_have_been_whoever_they_are(
    house: House, backup: Callable[[DatabaseAccess], DatabaseAccess]
) -> None:
    away = Deputy(user_id=PAUL, for_user_id=ANNA, since=LONG_AGO)
    paul = anna(user_id=PAUL, name="Paul Roth", email="paul@brightwell.example", subject="paul", team_id=None)
    await house.say(team(), anna(deputies=(away,)), lena(), paul, customer("Acme"), customer("Bolt", None))
    await house.say(silence("Acme", 13), silence("Bolt", 13))
    assert await house.steps() == []
    await house.stop()
    older = backup(house.database)
    await house.start()
    await house.drained()
    house.step(NOON + DAY + timedelta(hours=1))
    house.sources = {"desk": quiet()}
    # Acme is its owner's and her deputy's, Bolt is nobody's and so the lead's, and so is the source.
    assert len(await house.said()) == 3
    await house.mailed(4)
    told = messages(house.mailbox.messages)
    assert {name for name, _ in told} == {"anna", "paul", "lena"}
    await house.stop()
    await restore(house, older)
    house.step(NOON + DAY + timedelta(hours=1, minutes=30))
    await house.start()
    await house.drained()
    await house.mailed(8)
    assert messages(house.mailbox.messages[4:]) == told


def messages(mails: list[EmailMessage]) -> set[tuple[str, str]]:
    """Who was written to, under which id."""
    return {(mail["To"].addresses[0].username, str(mail["Message-ID"])) for mail in mails}
