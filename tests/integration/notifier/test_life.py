"""From states on topics to alerts on tenure.alerts and mails in a mailbox."""

from __future__ import annotations

from tests.integration.notifier.house import House, account, anna, lena, team, touched, until


async def test_silence_on_a_key_account_opens_one_alert_that_is_published_and_mailed(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))

    async def mailed() -> list[object]:
        return list(house.mailbox.messages)

    await until(mailed, "the mail")
    (event,) = await house.said()
    assert (event.TYPE, event.rule, event.severity) == ("tenure.alert.opened.v1", "stale_touch", "warn")
    assert event.title == "No touch with Northwind Labs for 15 days"
    (mail,) = house.mailbox.messages
    assert mail["To"] == "Anna Berg <anna@brightwell.example>"
    assert "No touch with Northwind Labs" in mail["Subject"]
    await house.drained()
