"""Deliveries while processes and the other side break: the same key every time, and nobody else waits."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import defaultdict
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from contracts.accounts import WorkingHours
from services.notifier.failpoints import NotifierFailpoint
from tests.integration.notifier.house import House, until
from tests.integration.notifier.test_delivery import OPERATOR, deliveries, hook, people
from tests.unit.notifier.states import account, anna, left, touched


def order(folder: Path, point: NotifierFailpoint, action: str) -> Path:
    """Have whoever reaches the place first killed or stopped; return the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "notifier.json").write_text(json.dumps({point.value: {"action": action}}))
    return folder


def receiver(httpserver: HTTPServer) -> list[str]:
    """A web hook that keeps the keys of what it gets."""
    keys: list[str] = []

    def receive(request: Request) -> Response:
        keys.append(request.headers["webhook-id"])
        return Response("", 200)

    httpserver.expect_request("/hook").respond_with_handler(receive)
    return keys


async def delivered(house: House, number: int) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]] | None:
        found = await deliveries(house, state="delivered")
        return found if len(found) == number else None

    return await until(ask, f"{number} deliveries")


async def breaking(
    house: House, folder: Path, httpserver: HTTPServer, where: NotifierFailpoint, how: str
) -> tuple[list[str], asyncio.subprocess.Process]:
    """People and a web hook, and in the notifier's place a replica that breaks; return the hook's keys and it."""
    keys = receiver(httpserver)
    await people(house)
    await hook(house, folder, httpserver.url_for("/hook"))
    await house.drained()
    await house.stop()
    return keys, await house.spawn(order(folder / "orders", where, how))


async def test_a_replica_that_is_killed_leaves_its_deliveries_to_another_under_the_same_key(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    keys, killed = await breaking(house, tmp_path, httpserver, NotifierFailpoint.DELIVERY_SENT, "kill")
    await house.say(account(), touched(days_ago=1), left(sources=()))
    assert await asyncio.wait_for(killed.wait(), 60) == -signal.SIGKILL
    await house.start()
    told = await delivered(house, 2)
    # A kill may leave its record to be published again: the same step of the same alert, never another.
    assert len({(step.alert_id, step.version) for step in await house.said()}) == 1
    assert {delivery["delivery_id"] for delivery in told if delivery["kind"] == "webhook"} == set(keys)
    identities = [mail["Message-ID"] for mail in house.mailbox.messages]
    assert len(set(identities)) == 1
    # One of the two was sent, and nobody wrote it down.
    assert len(keys) + len(identities) > 2


async def test_a_replica_that_stands_still_is_overtaken_and_does_no_harm_when_it_wakes_up(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    keys, asleep = await breaking(house, tmp_path, httpserver, NotifierFailpoint.DELIVERY_CLAIMED, "stop")
    try:
        await house.say(account(), touched(days_ago=1), left(sources=()))

        async def stopped() -> bool:
            log = tmp_path / "orders" / "hits.log"
            return log.exists() and "delivery.claimed stop" in log.read_text()

        await until(stopped, "the replica to stand still", 60)
        await house.start()
        before = await delivered(house, 2)
        assert (len(keys), len(house.mailbox.messages)) == (1, 1)
        asleep.send_signal(signal.SIGCONT)
        asleep.terminate()
        assert await asyncio.wait_for(asleep.wait(), 60) == 0
        assert {delivery["delivery_id"] for delivery in before} == {
            delivery["delivery_id"] for delivery in await deliveries(house, state="delivered")
        }
        # What it had claimed it may send once more: under the same key.
        assert (len(set(keys)), len({mail["Message-ID"] for mail in house.mailbox.messages})) == (1, 1)
    finally:
        if asleep.returncode is None:
            asleep.kill()
            await asleep.wait()


async def test_a_mail_server_that_hangs_up_after_the_message_gets_the_same_message_again(house: House) -> None:
    identities = []

    async def cut() -> bool:
        return house.mailbox.cut == 0 and len(house.mailbox.messages) == 2

    house.mailbox.cut = 1
    await people(house)
    await house.say(account(), touched(days_ago=1), left(sources=()))
    await until(cut, "the second attempt")
    identities = [mail["Message-ID"] for mail in house.mailbox.messages]
    assert identities[0] == identities[1]
    (delivery,) = await delivered(house, 1)
    assert delivery["attempts"] == 2


def text_of(mail: EmailMessage) -> str:
    """Everything that a person reads, in both forms."""
    return "\n".join([str(mail["Subject"]), *(str(part.get_content()) for part in mail.iter_parts())])


async def test_what_is_sent_again_under_one_key_says_the_same_whatever_changed_meanwhile(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    hooked: dict[str, set[bytes]] = defaultdict(set)
    healed = asyncio.Event()

    def receive(request: Request) -> Response:
        hooked[request.headers["webhook-id"]].add(request.get_data())
        return Response("", 200 if healed.is_set() else 503)

    httpserver.expect_request("/hook").respond_with_handler(receive)
    many = [f"00000000-0000-8000-8000-0000000000{number:02}" for number in range(12)]
    house.mailbox.cut = 10**6
    await people(house)
    await hook(house, tmp_path, httpserver.url_for("/hook"))
    await house.say(*(account(account_id=one, name=f"Customer {one[-2:]}") for one in many))
    await house.say(*(touched(15).model_copy(update={"account_id": one}) for one in many))

    async def all_tried() -> bool:
        waiting = await deliveries(house, state="waiting", limit="500")
        carried = {alert for one in waiting if one["kind"] == "mail" for alert in one["alert_ids"]}
        return len(carried) == len(many) and all(one["attempts"] for one in waiting)

    await until(all_tried, "an attempt of everything")
    await house.say(*(account(account_id=one, name=f"Renamed {one[-2:]}", version=2) for one in many))
    await house.say(anna(version=2, working_hours=WorkingHours(time_zone="Asia/Tokyo", holidays="JP")))
    await house.drained()
    # rows that are written anew lie elsewhere: what comes in no order comes in another one
    for table in ("alert_step", "delivery_step"):
        await house.execute(f"update {table} set version = version where alert_id::text > '8'")  # noqa: S608
        await house.execute(f"vacuum full {table}")
    await house.execute("update delivery set next_attempt_at = now() where state = 'waiting'")
    healed.set()
    house.mailbox.cut = 0

    async def nothing_waits() -> bool:
        return not await deliveries(house, state="waiting")

    await until(nothing_waits, "the end of all deliveries")
    mailed: dict[str, set[str]] = defaultdict(set)
    for mail in house.mailbox.messages:
        mailed[mail["Message-ID"]].add(text_of(mail))
    assert any("alerts on" in text for texts in mailed.values() for text in texts), "nothing was folded"
    assert {key: len(texts) for key, texts in mailed.items() if len(texts) > 1} == {}
    assert {key: len(bodies) for key, bodies in hooked.items() if len(bodies) > 1} == {}


async def test_a_dead_end_that_is_tried_again_carries_what_it_carried(house: House) -> None:
    """It may have arrived: neither is anything added to it, nor what is over taken out."""
    many = [f"00000000-0000-8000-8000-0000000000{number:02}" for number in range(12)]
    house.mailbox.cut = 10**6
    await people(house)
    await house.say(*(account(account_id=one, name=f"Customer {one[-2:]}") for one in many))
    await house.say(*(touched(15).model_copy(update={"account_id": one}) for one in many))

    async def folded() -> list[dict[str, Any]]:
        waiting = await deliveries(house, state="waiting", limit="500")
        return [one for one in waiting if len(one["alert_ids"]) > 1 and one["attempts"]]

    (before, *_) = await until(folded, "a folded message that was tried")
    await house.execute("update delivery set first_tried_at = now() - interval '73 hours', next_attempt_at = now()")

    async def all_dead() -> bool:
        return not await deliveries(house, state="waiting", limit="500")

    await until(all_dead, "dead ends")
    # One of the alerts is over, another one comes.
    over = min(await _accounts_of(house, before["alert_ids"]))
    await house.execute("update destination set paused = true")
    answer = await house.call("POST", f"/v1/deliveries/{before['delivery_id']}/retry", roles=OPERATOR)
    assert answer.status_code == 202
    await house.say(touched(0, version=2).model_copy(update={"account_id": over}))
    another = "00000000-0000-8000-8000-000000000077"
    await house.say(account(account_id=another, name="Customer 77"))
    await house.say(touched(15).model_copy(update={"account_id": another}))
    await house.drained()
    house.mailbox.cut = 0
    await house.execute("update destination set paused = false")

    async def arrived() -> list[dict[str, Any]]:
        return [
            one for one in await deliveries(house, state="delivered") if one["delivery_id"] == before["delivery_id"]
        ]

    (after,) = await until(arrived, "the message")
    assert sorted(after["alert_ids"]) == sorted(before["alert_ids"])


async def _accounts_of(house: House, alerts: list[str]) -> set[str]:
    return {step.account_id for step in await house.said() if step.alert_id in alerts}


async def test_who_asks_to_be_left_alone_is_and_nobody_else_waits(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    calls: list[str] = []

    def receive(request: Request) -> Response:
        calls.append(request.headers["webhook-id"])
        return Response("", 429, headers={"retry-after": "3600"}) if len(calls) == 1 else Response("", 200)

    httpserver.expect_request("/hook").respond_with_handler(receive)
    await people(house)
    destination = await hook(house, tmp_path, httpserver.url_for("/hook"))
    await house.say(account(), touched(days_ago=1), left(sources=()))
    await house.mailed(1)
    await house.drained()
    await house.say(left(version=2, present=False))
    report = await house.drained()
    assert (len(calls), report["parts"]["deliveries"]["retrying"]) == (1, 2)
    await house.execute("update destination set not_before = now()")
    await house.execute("update delivery set next_attempt_at = now() where state = 'waiting'")

    async def arrived() -> bool:
        return len(await deliveries(house, destination=destination, state="delivered")) == 2

    await until(arrived, "both steps")
    assert len(calls) == 3
