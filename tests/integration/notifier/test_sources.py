"""A source that is down or quiet reaches who answers for it, and holds the silence alerts that depend on it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from contracts.envelope import format_instant
from tests.integration.notifier.house import House, until
from tests.integration.notifier.test_horizon import held, source
from tests.unit.notifier.states import NOON, account, anna, left, lena, team, touched

DAYS_20 = NOON - timedelta(days=20)


def quiet(**changed: Any) -> dict[str, Any]:
    """A desk that has delivered nothing for twenty days, though it usually does every hour."""
    stated = {
        "provider": "zendesk",
        "polled": False,
        "horizon": format_instant(DAYS_20),
        "last_delivery": format_instant(DAYS_20),
        "quiet": True,
        "expected_by": format_instant(DAYS_20 + timedelta(hours=2)),
        "unusual_from": format_instant(DAYS_20 + timedelta(hours=5)),
    }
    return source(**{**stated, **changed})


async def opened(house: House) -> Any:
    """Wait for the first step about a source."""

    async def ask() -> Any:
        return next(iter(await house.source_steps()), None)

    return await until(ask, "an alert about a source")


async def test_a_quiet_source_is_an_alert_that_holds_others_until_somebody_says_that_it_is_right(house: House) -> None:
    house.sources = {"desk": quiet(), "well": source(provider="zendesk", polled=False)}
    house.silent = {"ingest"}
    await house.say(team(), anna(), lena(), account(), left(contacts=()), touched(days_ago=15))
    await held(house, "service")
    house.silent = set()
    event = await opened(house)
    assert (event.source, event.rule, event.severity) == ("desk", "source_silent", "alert")
    assert event.evidence.last_delivery == DAYS_20
    await house.mailed(1)
    # Nobody is named and nobody's mailbox it is: the lead is told.
    (mail,) = house.mailbox.messages
    assert (mail["Subject"], mail["To"].addresses[0].addr_spec) == ("Alert: Source desk is quiet", lena().email)
    assert "quiet against its own rhythm since 10 Feb 2026" in await held(house, "broken")
    assert await house.steps() == []
    # One alert about one source, however often it is looked at; who does not answer for it does not see it.
    house.step(NOON + timedelta(hours=1))
    assert [step.alert_id for step in await house.source_steps()] == [event.alert_id]
    assert (await house.call("GET", f"/v1/alerts/{event.alert_id}", subject="anna")).status_code == 404
    shown = await house.call("GET", f"/v1/alerts/{event.alert_id}", subject="lena")
    assert "tenure sources show" in shown.json()["advice"]
    await house.call("POST", f"/v1/alerts/{event.alert_id}/resolve", subject="lena")
    house.step(NOON + timedelta(hours=2))

    async def about_the_account() -> list[str]:
        return await house.steps()

    assert await until(about_the_account, "the held alert") == ["opened"]
    (told,) = [step for step in await house.said() if step.source is None]
    assert told.evidence.unverified == ("desk: last delivery 10 Feb 2026, 12:00 CET; quiet against its own rhythm",)


async def test_a_mailbox_that_is_down_tells_whom_it_names_and_ends_by_itself_also_after_a_restart(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=1))
    await house.drained()
    house.step(NOON + timedelta(minutes=2))
    house.sources = {
        "max": source(
            horizon=format_instant(NOON - timedelta(hours=2)),
            status="broken: login refused",
            responsible=[anna().user_id],
        )
    }
    event = await opened(house)
    assert (event.severity, event.title) == ("warn", "Source max is down")
    await house.mailed(1)
    assert house.mailbox.messages[0]["To"].addresses[0].addr_spec == anna().email
    assert (await house.call("GET", f"/v1/alerts/{event.alert_id}", subject="anna")).status_code == 200
    await house.restart()
    house.sources["max"] = source()
    house.step(NOON + timedelta(minutes=10))

    async def ended() -> bool:
        return [step.state for step in await house.source_steps()] == ["open", "resolved"]

    await until(ended, "its end")
    house.sources = {}
    assert await ended()


async def test_a_source_that_nothing_can_be_said_about_stops_neither_others_nor_accounts(house: House) -> None:
    # No text that we publish may hold such a character: the alert about it cannot be written.
    house.sources = {"a": source(status="broken: \x00", horizon=format_instant(DAYS_20)), "desk": quiet()}
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    assert (await opened(house)).source == "desk"
    assert await house.steps() == ["opened"]
