"""From states on topics to alerts on tenure.alerts and mails in a mailbox."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest

from contracts.envelope import format_instant
from contracts.ids import derive_id
from tests.integration.notifier.house import House
from tests.unit.notifier.states import NOON, account, anna, left, lena, team, tickets, touched, waiting_mail


async def one_alert(house: House, state: str = "unresolved") -> dict[str, object]:
    answer = await house.call("GET", f"/v1/alerts?state={state}")
    assert answer.status_code == 200, answer.text
    (alert,) = answer.json()["items"]
    return dict(alert)


async def test_silence_on_a_key_account_opens_one_alert_that_is_published_and_mailed(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.mailed(1)
    (event,) = await house.said()
    assert (event.TYPE, event.rule, event.severity) == ("tenure.alert.opened.v1", "stale_touch", "warn")
    assert event.title == "No touch with Northwind Labs for 15 days"
    assert event.evidence.items[0].summary == "meeting"
    assert (event.rule_version, event.owner_id) == (1, anna().user_id)
    (mail,) = house.mailbox.messages
    assert mail["To"] == "Anna Berg <anna@brightwell.example>"
    assert mail["Subject"] == "Warning: No touch with Northwind Labs for 15 days"


async def test_the_same_states_again_say_nothing_new(house: House) -> None:
    for _ in range(3):
        await house.say(team(), anna(), lena(), account(), touched(days_ago=15), tickets(6, version=1))
    await house.mailed(1)
    await house.say(touched(days_ago=15, version=2), account(version=2))
    await house.drained()
    assert await house.steps() == ["opened"]
    assert len(house.mailbox.messages) == 1


async def test_a_rule_fires_when_the_clock_passes_its_due_time(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=13))
    assert await house.steps() == []
    house.step(NOON + timedelta(days=1))
    assert await house.steps() == []
    house.step(NOON + timedelta(days=1, minutes=1))
    assert await house.steps() == ["opened"]


async def test_a_touch_resolves_the_alert_by_itself_and_later_silence_reopens_it(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    assert await house.steps() == ["opened"]
    await house.say(touched(days_ago=0, version=2))
    assert await house.steps() == ["opened", "resolved"]
    assert (await house.said())[-1].resolution == "cause_gone"
    house.step(NOON + timedelta(days=15))
    assert await house.steps() == ["opened", "resolved", "reopened"]
    versions = [event.version for event in await house.said()]
    assert versions == sorted(set(versions))
    assert len({event.alert_id for event in await house.said()}) == 1
    await house.mailed(2)


async def test_the_severity_rises_and_the_lead_is_told_of_what_nobody_took_note_of(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.mailed(1)
    house.step(NOON + timedelta(days=5, hours=1))
    await house.mailed(3)
    assert await house.steps() == ["opened", "escalated"]
    assert {mail["To"].addresses[0].username for mail in house.mailbox.messages[1:]} == {"anna", "lena"}
    house.step(NOON + timedelta(days=16))
    events = await house.said()
    assert [event.severity for event in events][-1] == "alert"


async def test_an_acknowledged_alert_does_not_go_to_the_lead_until_it_grows_worse(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.drained()
    alert = await one_alert(house)
    answer = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/acknowledge")
    assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
    assert answer.json()["changed_by"] == anna().user_id
    house.step(NOON + timedelta(days=12))
    assert await house.steps() == ["opened", "acknowledged"]
    house.step(NOON + timedelta(days=16))
    assert await house.steps() == ["opened", "acknowledged", "escalated"]
    again = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/acknowledge")
    assert again.json()["severity"] == "alert"
    twice = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/acknowledge")
    assert (twice.status_code, twice.headers["content-type"]) == (409, "application/problem+json")


async def test_a_snoozed_alert_is_quiet_until_its_moment_and_comes_back_with_its_cause(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.drained()
    alert = await one_alert(house)
    tomorrow = NOON + timedelta(days=1)
    answer = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/snooze", {"until": format_instant(tomorrow)})
    assert (answer.status_code, answer.json()["state"]) == (200, "snoozed")
    house.step(tomorrow)
    assert await house.steps() == ["opened", "snoozed"]
    house.step(tomorrow + timedelta(minutes=1))
    assert await house.steps() == ["opened", "snoozed", "reopened"]
    past = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/snooze", {"until": format_instant(NOON)})
    assert past.status_code == 409


async def test_what_a_person_resolved_stays_resolved_while_its_cause_lasts(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), tickets(6, version=1))
    await house.drained()
    alert = await one_alert(house)
    answer = await house.call("POST", f"/v1/alerts/{alert['alert_id']}/resolve")
    assert answer.json()["resolution"] == "by_person"
    await house.say(tickets(7, version=2))
    house.step(NOON + timedelta(days=2))
    assert await house.steps() == ["opened", "resolved"]
    await house.say(tickets(2, version=3))
    await house.drained()
    await house.say(tickets(8, version=4))
    assert await house.steps() == ["opened", "resolved", "reopened"]


async def test_tickets_that_come_back_within_the_cooldown_wait_for_its_end(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), tickets(6, version=1))
    await house.drained()
    await house.say(tickets(1, version=2))
    assert await house.steps() == ["opened", "resolved"]
    await house.say(tickets(6, version=3))
    assert await house.steps() == ["opened", "resolved"]
    house.step(NOON + timedelta(hours=24, minutes=1))
    assert await house.steps() == ["opened", "resolved", "reopened"]


async def test_a_champion_who_leaves_is_told_once_and_a_withdrawal_takes_it_back(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=1), left())
    (event,) = await house.said()
    assert (event.rule, event.severity) == ("champion_left", "alert")
    assert event.title == "Maria Keller of Northwind Labs has left"
    assert event.dedup_key.endswith(left().interaction_id)
    await house.say(left(version=2, present=False))
    assert await house.steps() == ["opened", "resolved"]


async def test_a_signal_waits_for_the_account_version_under_which_it_was_read(house: House) -> None:
    await house.say(team(), anna(), lena(), account(contacts=()), left(account_version=2))
    assert await house.steps() == []
    await house.say(account(version=2))
    assert await house.steps() == ["opened"]


async def test_imported_and_ancient_signals_raise_nothing(house: House) -> None:
    ancient = left(occurred_at=NOON - timedelta(days=20))
    await house.say(team(), anna(), lena(), account(), left(imported=True, version=2), ancient)
    assert await house.steps() == []


async def test_kpis_wait_for_the_account_version_under_which_they_were_computed(house: House) -> None:
    ahead = touched(days_ago=15, account_version=2)
    await house.say(team(), anna(), lena(), account(), ahead)
    assert await house.steps() == []
    await house.say(account(version=2))
    assert await house.steps() == ["opened"]


async def test_an_unanswered_mail_is_due_in_the_owners_business_time(house: House) -> None:
    friday = datetime.fromisoformat("2026-02-27T15:00:00+01:00")
    await house.say(team(), anna(), lena(), account(), waiting_mail(friday))
    # Friday 15:00 and one business day of eight hours is Monday 15:00; noon UTC is 12:00 in Berlin.
    assert await house.steps() == []
    house.step(datetime.fromisoformat("2026-03-02T15:01:00+01:00"))
    (event,) = await house.said()
    assert (event.rule, event.title) == ("unanswered_mail", "Unanswered mail from Maria Keller of Northwind Labs")
    await house.say(touched(days_ago=0, version=2))
    assert await house.steps() == ["opened", "resolved"]


async def test_a_new_version_of_a_rule_is_looked_at_everywhere_and_named_by_what_fires(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=8))
    assert await house.steps() == []
    stricter = {"thresholds": {"key": {"warn_days": 7, "alert_days": 14}}, "note": "the board asks for it"}
    refused = await house.call("POST", "/v1/rules/stale_touch", stricter)
    assert refused.status_code == 403
    answer = await house.call("POST", "/v1/rules/stale_touch", stricter, roles=("operator",))
    assert (answer.status_code, answer.json()["version"]) == (201, 2)
    (event,) = await house.said()
    assert (event.rule, event.rule_version) == ("stale_touch", 2)
    wrong = {"thresholds": {"key": {"warn_days": 30, "alert_days": 14}}, "note": "typo"}
    answer = await house.call("POST", "/v1/rules/stale_touch", wrong, roles=("operator",))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("thresholds.key")


async def test_an_alert_continues_the_trace_of_the_record_that_caused_it(house: House) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await house.say(team(), anna(), lena(), account())
    await house.say(touched(days_ago=15), traceparent=trace)
    await house.drained()
    assert trace.split("-")[1] in (house.envelopes(await house.said_records())[0].traceparent or "")


async def test_an_account_that_a_rule_cannot_bear_stops_no_other_and_is_shown(house: House) -> None:
    other = "00000000-0000-8000-8000-000000000001"
    await house.say(team(), anna(), lena(), account(), touched(days_ago=13))
    await house.say(account(account_id=other, name="Acme"), touched(13).model_copy(update={"account_id": other}))
    await house.drained()
    await house.execute("""update watched_account set kpis = '{"nonsense": 1}' where account_id = $1""", other)
    house.step(NOON + timedelta(days=2))
    (event,) = await house.said()
    assert event.account_id == account().account_id
    (hold,) = (await house.report())["parts"]["poller"]["held"]
    assert (hold["by"], hold["why"]) == ("broken", "the rule failed with ValidationError; see the log")


async def test_accounts_that_fall_due_together_get_an_alert_each_whatever_one_of_them_bears(house: House) -> None:
    # More than are looked at in one transaction.
    ids = [derive_id("test", f"account {number}") for number in range(70)]
    await house.say(team(), anna(), lena())
    await house.say(*(account(account_id=one, name=f"Customer {number}") for number, one in enumerate(ids)))
    await house.say(*(touched(13).model_copy(update={"account_id": one}) for one in ids))
    await house.drained()
    await house.execute("""update watched_account set kpis = '{"nonsense": 1}' where account_id = $1""", ids[33])
    house.step(NOON + timedelta(days=2))
    expected = sorted(one for one in ids if one != ids[33])
    events = await house.said()
    assert sorted(event.account_id for event in events) == expected
    assert {(event.TYPE, event.state) for event in events} == {("tenure.alert.opened.v1", "open")}
    assert len({event.alert_id for event in events}) == len(expected)


async def test_a_restart_in_the_middle_says_nothing_twice(house: House) -> None:
    await house.say(team(), anna(), lena(), account(), touched(days_ago=15))
    await house.mailed(1)
    await house.restart()
    await house.say(touched(days_ago=15, version=2), tickets(12, version=3))
    await house.drained()
    assert await house.steps() == ["opened", "resolved", "opened"]
    assert len(house.mailbox.messages) == 2


@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_states_in_any_order_and_twice_lead_to_the_same_alerts(house: House, seed: int) -> None:
    states = [
        *(team(), anna(), lena(), anna(version=2, name="Anna Berg-Roth"), account(contacts=()), account(version=2)),
        *(touched(days_ago=40), touched(days_ago=15, version=2), tickets(12, version=3)),
        *(left(account_version=2), left(version=2, account_version=2, present=False)),
        left(version=3, account_version=2, interaction_id=derive_id("test", "left for good")),
    ]
    disordered = states * 2
    random.Random(seed).shuffle(disordered)  # noqa: S311 - an order, no secret
    await house.say(*disordered)
    await house.drained()
    answer = await house.call("GET", "/v1/alerts?state=unresolved")
    found = sorted((alert["rule"], alert["severity"], alert["state"]) for alert in answer.json()["items"])
    assert found == [("champion_left", "alert", "open"), ("ticket_volume", "alert", "open")]


async def test_alerts_of_a_merged_account_resolve_and_what_was_told_of_an_interaction_is_not_told_again(
    house: House,
) -> None:
    stays = account(account_id=derive_id("test", "stays"), name="Stays")
    await house.say(team(), anna(), lena(), account(), stays, touched(days_ago=15), left(sources=()))
    assert await house.steps() == ["opened"] * 2
    await house.mailed(2)
    # What accounts publishes of a merge: an alias that owns nothing, and every interaction said to the other.
    alias = account(version=2, owners=(), contacts=(), key=(), merged_into=stays.account_id)
    await house.say(alias, left(version=2, present=False, sources=()), touched(days_ago=15, version=2, last_touches=()))
    moved = left(account_id=stays.account_id, sources=())
    await house.say(moved, touched(days_ago=15).model_copy(update={"account_id": stays.account_id}))
    events = await house.said()
    kinds = sorted((event.TYPE.split(".")[2], event.rule, event.account_id == stays.account_id) for event in events)
    opened = [("opened", rule, mine) for rule in ("champion_left", "stale_touch") for mine in (False, True)]
    assert kinds == [*opened, ("resolved", "champion_left", False), ("resolved", "stale_touch", False)]
    await house.mailed(3)
    assert house.mailbox.messages[2]["Subject"] == "Warning: No touch with Stays for 15 days"
    assert len(house.mailbox.messages) == 3
    # Parted again, the account has its own cause back.
    await house.say(account(version=3), touched(days_ago=15, version=3))
    house.step(NOON + timedelta(days=2))
    assert (await house.steps()).count("reopened") == 1


async def test_two_replicas_share_the_work_and_say_everything_once(house: House) -> None:
    await house.start_another()
    many = [derive_id("test", "customer", str(number)) for number in range(30)]
    await house.say(team(), anna(), lena())
    await house.say(*(account(account_id=one) for one in many))
    await house.say(*(touched(15).model_copy(update={"account_id": one}) for one in many))
    await house.drained()
    events = await house.said()
    assert sorted(event.account_id for event in events) == sorted(many)
    assert {event.TYPE for event in events} == {"tenure.alert.opened.v1"}
    identities = [mail["Message-ID"] for mail in house.mailbox.messages]
    assert len(identities) == len(set(identities))


async def test_alerts_of_a_merged_account_resolve_and_its_id_names_the_one_that_stayed(house: House) -> None:
    gone = account(account_id=derive_id("test", "twin"), version=1)
    await house.say(team(), anna(), lena(), account(), gone, touched(days_ago=15))
    await house.say(touched(days_ago=15, version=1).model_copy(update={"account_id": gone.account_id}))
    assert await house.steps() == ["opened", "opened"]
    alias = {"merged_into": account().account_id, "owners": (), "version": 2}
    await house.say(gone.model_copy(update=alias))
    assert sorted(await house.steps()) == ["opened", "opened", "resolved"]
    listed = (await house.call("GET", f"/v1/alerts?account={gone.account_id}")).json()["items"]
    assert [one["account_id"] for one in listed] == [account().account_id]
