"""After an absence nobody is stormed: what is over is never told, the rest comes as one message for each manager."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from contracts.accounts import Account
from contracts.ids import derive_id
from contracts.kpis import OrderRhythm
from contracts.values import Dated
from services.notifier.domain.delivery import OVER
from services.notifier.store import gathering, watch
from services.runtime.postgres import create_pool, transaction
from tests.integration.notifier.house import House, until
from tests.unit.notifier.states import LONG_AGO, NOON, account, anna, left, lena, team, touched

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
BEN = derive_id("test", "ben")
NAMES = ("Acme", "Bolt", "Cray", "Dorn")


def customer(name: str, owner: str | None = anna().user_id, **changed: Any) -> Account:
    owners = () if owner is None else (Dated[str](value=owner, since=LONG_AGO),)
    return account(account_id=derive_id("test", name), name=name, owners=owners, **changed)


def silence(name: str, days: float, version: int = 1) -> Any:
    return touched(days, version).model_copy(update={"account_id": derive_id("test", name)})


async def company(house: House) -> None:
    """Four accounts that nobody has been in touch with for 13 days: one more, and their managers hear of it."""
    ben = anna(user_id=BEN, name="Ben Ott", email="ben@brightwell.example", subject="ben")
    await house.say(team(), anna(), lena(), ben)
    await house.say(*(customer(name) for name in NAMES[:3]), customer("Dorn", BEN))
    await house.say(*(silence(name, 13) for name in NAMES))
    await house.drained()


def mails(house: House) -> list[tuple[str, str]]:
    return sorted((mail["To"].addresses[0].username, mail["Subject"]) for mail in house.mailbox.messages)


async def outcomes(house: House, state: str) -> list[str]:
    answer = await house.call("GET", f"/v1/deliveries?state={state}", roles=("operator",))
    return [delivery["last_outcome"] for delivery in answer.json()["items"]]


async def absent(house: House) -> None:
    """Wait until the notifier says that it is catching up."""

    async def ask() -> Any:
        return (await house.report()).get("parts", {}).get("poller", {}).get("catching_up")

    await until(ask, "the absence")


async def test_what_was_missed_while_the_notifier_was_away_comes_as_one_message_for_each_manager(house: House) -> None:
    await company(house)
    await house.stop()
    house.step(NOON + DAY + HOUR)
    house.recorded = NOON + DAY
    await house.say(silence("Acme", -1, version=2), silence("Bolt", 13, version=2))
    house.recorded = None
    await house.start()
    assert await house.steps() == ["opened"] * 3
    assert mails(house) == [("anna", "2 alerts on 2 accounts"), ("ben", "Warning: No touch with Dorn for 14 days")]
    # Afterwards everything is as always.
    house.step(NOON + DAY + 2 * HOUR)
    await house.say(left(account_id=derive_id("test", "Acme"), occurred_at=house.now))
    await house.drained()
    assert len(mails(house)) == 3


async def test_what_waited_when_the_notifier_went_away_and_is_over_since_is_withdrawn(house: House) -> None:
    await company(house)
    house.mailbox.answer = "451 not now"
    house.step(NOON + DAY + HOUR)
    assert await house.steps() == ["opened"] * 4
    await house.stop()
    seen = house.mailbox.seen
    house.step(NOON + DAY + 2 * HOUR)
    house.mailbox.answer = "250 OK"
    await house.say(*(silence(name, -1, version=2) for name in NAMES[:3]))
    await house.start()
    assert await house.steps() == ["opened"] * 4 + ["resolved"] * 3
    await house.mailed(1)
    assert mails(house) == [("ben", "Warning: No touch with Dorn for 14 days")]
    assert house.mailbox.seen == seen + 1

    async def withdrawn() -> bool:
        return await outcomes(house, "withdrawn") == [OVER] * 3

    await until(withdrawn, "the three that are withdrawn")


async def test_a_gathered_message_is_the_same_at_every_attempt_whatever_is_over_meanwhile(house: House) -> None:
    await company(house)
    await house.stop()
    house.step(NOON + DAY + HOUR)
    # The mail server takes everything and never says so.
    house.mailbox.cut = 1000
    await house.start()
    await house.mailed(4)
    destinations = (await house.call("GET", "/v1/destinations", roles=("operator",))).json()["items"]
    for one in destinations:
        await house.call("PATCH", f"/v1/destinations/{one['destination_id']}", {"paused": True}, roles=("operator",))
    await house.say(silence("Acme", -1, version=2))
    await house.drained()
    tried = len(house.mailbox.messages)
    house.mailbox.cut = 0
    for one in destinations:
        await house.call("PATCH", f"/v1/destinations/{one['destination_id']}", {"paused": False}, roles=("operator",))
    await house.mailed(tried + 2)
    texts: dict[str, set[str]] = {}
    for mail in house.mailbox.messages:
        body = mail.get_body(("plain",))
        assert body is not None
        texts.setdefault(mail["Message-ID"], set()).add(body.get_content())
    assert [len(different) for different in texts.values()] == [1, 1]


async def test_while_a_service_before_us_is_away_nothing_is_told_also_across_a_restart(house: House) -> None:
    await company(house)
    house.flow_status = 503
    house.step(NOON + DAY + HOUR)
    await absent(house)
    await house.restart()
    await absent(house)
    house.step(NOON + DAY + 2 * HOUR)
    assert house.mailbox.messages == []
    house.recorded = NOON + DAY + HOUR / 2
    await house.say(silence("Acme", -1, version=2))
    house.flow_status = 200
    assert await house.steps() == ["opened"] * 3
    assert mails(house) == [("anna", "2 alerts on 2 accounts"), ("ben", "Warning: No touch with Dorn for 14 days")]


async def test_a_report_that_is_taken_back_further_on_in_the_backlog_is_never_told(house: House) -> None:
    await company(house)
    house.step(NOON + 2 * HOUR)
    house.recorded = house.horizon = NOON + HOUR
    gone, stays = derive_id("test", "Acme"), derive_id("test", "Bolt")
    await house.say(left(account_id=gone), left(account_id=stays))
    await absent(house)
    assert house.mailbox.messages == []
    await house.say(left(account_id=gone, version=2, present=False))
    house.recorded = house.horizon = None
    (event,) = await house.said()
    assert (event.account_id, len(house.mailbox.messages)) == (stays, 1)


async def test_while_only_metrics_is_away_a_report_of_the_day_is_told(house: House) -> None:
    await company(house)
    house.silent = {"metrics"}
    house.step(NOON + DAY + HOUR)
    await absent(house)
    await house.say(left(account_id=derive_id("test", "Acme"), occurred_at=house.now, sources=()))
    await house.mailed(1)
    assert mails(house) == [("anna", "Alert: Maria Keller of Acme has left")]
    # A source that ingest does not know holds the silence alert of one account, and of no other.
    await house.say(left(account_id=derive_id("test", "Bolt"), sources=("desk",), contacts=()))
    house.silent = set()
    assert sorted(await house.steps()) == ["opened"] * 4
    assert mails(house) == [
        ("anna", "2 alerts on 2 accounts"),
        ("anna", "Alert: Maria Keller of Acme has left"),
        ("ben", "Warning: No touch with Dorn for 14 days"),
    ]


async def test_two_replicas_tell_what_was_missed_once(house: House) -> None:
    await company(house)
    await house.stop()
    house.step(NOON + DAY + HOUR)
    await house.start()
    await house.start_another()
    assert await house.steps() == ["opened"] * 4
    assert mails(house) == [("anna", "3 alerts on 3 accounts"), ("ben", "Warning: No touch with Dorn for 14 days")]


async def test_a_touch_at_the_very_reading_at_which_a_silence_is_due_keeps_it_quiet(house: House) -> None:
    await company(house)
    house.step(NOON + DAY + HOUR)
    await house.say(*(silence(name, -1, version=2) for name in NAMES))
    assert await house.steps() == []
    assert (await house.report())["parts"]["poller"]["catching_up"] is None


async def test_a_long_absence_comes_as_one_message_however_many_accounts_and_rules_it_concerns(house: House) -> None:
    names = [f"Customer {number}" for number in range(60)]
    # Nobody has been in touch for 13 days, and an order is expected every ten.
    rhythm = OrderRhythm(orders=10, gaps=9, p90_gap_days=Decimal(10), last_order_at=NOON - timedelta(days=14))
    states = [silence(name, 13).model_copy(update={"order_rhythm": rhythm}) for name in names]
    await house.say(team(), anna(), lena(), *(customer(name) for name in names), *states)
    assert await house.steps() == []
    await house.stop()
    house.step(NOON + DAY + HOUR)
    await house.start()
    assert await house.steps() == ["opened"] * 120
    assert mails(house) == [("anna", "120 alerts on 60 accounts")]


async def test_a_replica_that_begins_while_another_lets_go_what_was_held_holds_nothing_for_ever(house: House) -> None:
    await company(house)
    house.mailbox.answer = "451 not now"
    house.step(NOON + DAY + HOUR)
    assert await house.steps() == ["opened"] * 4
    await house.stop()
    house.mailbox.answer = "250 OK"
    # Another replica has held what waited, has caught up, and is letting go.
    await house.execute("update watch set absent_since = $1, absent_why = 'the notifier was away'", NOON)
    await house.execute("update delivery set held = true where state = 'waiting'")
    pool = await create_pool(house.database.worker, max_size=2)
    try:
        async with transaction(pool) as connection:
            assert await watch.ended(connection, house.now, NOON)
            await gathering.release(connection)
            # Whoever wants to hold now does so after this has ended.
            await connection.execute("lock table delivery in share row exclusive mode")
            await house.start()
            waits = "select count(*) from pg_locks where not granted"

            async def begun() -> bool:
                return bool(await pool.fetchval(waits))

            await until(begun, "the other replica's beginning")
    finally:
        await pool.close()
    await house.mailed(4)
    assert (await house.drained())["parts"]["deliveries"]["held"] == 0
