"""Deliveries: signed web hooks, retries, dead ends that are seen, and nobody waiting for the dead."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

from pytest_httpserver import HTTPServer
from standardwebhooks.webhooks import Webhook
from werkzeug import Request, Response

from tests.integration.notifier.house import House, until
from tests.unit.notifier.states import account, anna, left, lena, team, tickets, touched

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OPERATOR = ("operator",)


async def hook(house: House, folder: Path, url: str, **narrowed: Any) -> str:
    """Add a web hook with a route to it; return its id."""
    (folder / "secrets" / "hook.secret").write_text(SECRET)
    given = {"kind": "webhook", "name": "CRM", "address": url, "secret_file": "hook.secret"}
    answer = await house.call("POST", "/v1/destinations", given, roles=OPERATOR)
    assert answer.status_code == 201, answer.text
    destination: str = answer.json()["destination_id"]
    routed = await house.call("POST", "/v1/routes", {"destination_id": destination, **narrowed}, roles=OPERATOR)
    assert routed.status_code == 201, routed.text
    return destination


async def deliveries(house: House, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    answer = await house.call("GET", f"/v1/deliveries?{query}", roles=OPERATOR)
    return list(answer.json()["items"])


async def people(house: House) -> None:
    await house.say(team(), anna(), lena())


async def test_a_web_hook_gets_every_step_signed_as_standard_webhooks_say(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    received: list[Any] = []

    def receive(request: Request) -> Response:
        body = request.get_data()
        received.append(Webhook(SECRET).verify(body, dict(request.headers)))
        return Response("", 204)

    httpserver.expect_request("/hook").respond_with_handler(receive)
    await people(house)
    await hook(house, tmp_path, httpserver.url_for("/hook"))
    await house.say(account(), touched(days_ago=15))
    await house.drained()
    await house.say(touched(days_ago=0, version=2))

    async def both() -> bool:
        return len(received) == 2

    await until(both, "two calls")
    opened, resolved = (events[0] for events in received)
    assert opened["type"] == "tenure.alert.opened.v1"
    assert opened["data"]["account_name"] == "Northwind Labs"
    assert opened["data"]["evidence"]["items"]
    assert resolved["type"] == "tenure.alert.resolved.v1"


async def test_what_fails_is_tried_again_with_the_same_key_until_it_arrives(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    keys: list[str] = []
    answers = [500, 404, 302]

    def receive(request: Request) -> Response:
        keys.append(request.headers["webhook-id"])
        status = answers.pop(0) if answers else 200
        return Response("", status, headers={"location": httpserver.url_for("/elsewhere")})

    httpserver.expect_request("/hook").respond_with_handler(receive)
    await people(house)
    destination = await hook(house, tmp_path, httpserver.url_for("/hook"))
    await house.say(account(), touched(days_ago=1), left())

    async def arrived() -> list[dict[str, Any]]:
        return await deliveries(house, state="delivered", destination=destination)

    (delivery,) = await until(arrived, "the delivery")
    assert (delivery["attempts"], set(keys)) == (4, {delivery["delivery_id"]})
    shown = await house.call("GET", f"/v1/deliveries/{delivery['delivery_id']}", roles=OPERATOR)
    outcomes = [attempt["outcome"] for attempt in shown.json()["attempts"]]
    assert outcomes == ["answered 500", "answered 404", "answered 302", "answered 200"]


async def test_a_web_hook_that_never_answers_delays_neither_mail_nor_another_web_hook(
    house: House, tmp_path: Path, httpserver: HTTPServer
) -> None:
    quick: list[str] = []
    reached: list[asyncio.StreamWriter] = []

    def receive(request: Request) -> Response:
        quick.append(request.headers["webhook-id"])
        return Response("", 200)

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer)

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    httpserver.expect_request("/quick").respond_with_handler(receive)
    await people(house)
    slow = await hook(house, tmp_path, f"http://127.0.0.1:{mute.sockets[0].getsockname()[1]}/")
    await hook(house, tmp_path, httpserver.url_for("/quick"))
    await house.say(account(), tickets(12, version=2))

    async def caught() -> bool:
        return bool(reached)

    await until(caught, "a call that is never answered")
    await house.say(left(sources=()))
    await house.mailed(2)

    async def told() -> bool:
        return len(quick) == 2

    await until(told, "the quick hook")
    states = {one["state"] for one in await deliveries(house, destination=slow)}
    mute.close()
    for writer in reached:
        writer.close()
    assert states == {"waiting"}


async def test_after_three_days_a_delivery_is_a_dead_end_that_is_seen_and_can_be_tried_again(house: House) -> None:
    house.mailbox.answer = "451 try later"
    await people(house)
    await house.say(account(), touched(days_ago=15))

    async def refused() -> bool:
        return house.mailbox.seen > 0

    await until(refused, "an attempt")
    await house.execute("update delivery set first_tried_at = now() - interval '72 hours'")

    async def dead() -> list[dict[str, Any]]:
        return await deliveries(house, state="dead")

    (delivery,) = await until(dead, "the dead end")
    assert delivery["last_outcome"] == "the server answered 451"
    assert (await house.drained())["parts"]["deliveries"]["dead"] == 1
    house.mailbox.answer = "250 OK"
    answer = await house.call("POST", f"/v1/deliveries/{delivery['delivery_id']}/retry", roles=OPERATOR)
    assert answer.status_code == 202
    await house.mailed(1)
    again = await house.call("POST", f"/v1/deliveries/{delivery['delivery_id']}/retry", roles=OPERATOR)

    async def refused_again() -> bool:
        answer = await house.call("POST", f"/v1/deliveries/{delivery['delivery_id']}/retry", roles=OPERATOR)
        return answer.status_code == 409

    assert again.status_code in {202, 409}
    await until(refused_again, "the refusal")


async def test_what_waits_for_a_retry_does_not_keep_the_notifier_from_being_drained(house: House) -> None:
    house.mailbox.answer = "554 no"
    await people(house)
    await house.say(account(), touched(days_ago=15))
    assert (await house.drained())["parts"]["deliveries"]["retrying"] == 1


async def test_a_paused_destination_keeps_its_queue(house: House) -> None:
    await people(house)
    await house.drained()
    listed = await house.call("GET", "/v1/destinations", roles=OPERATOR)
    (annas,) = [one for one in listed.json()["items"] if one["user_id"] == anna().user_id]
    path = f"/v1/destinations/{annas['destination_id']}"
    await house.call("PATCH", path, {"paused": True}, roles=OPERATOR)
    await house.say(account(), touched(days_ago=15))
    report = await house.drained()
    assert (report["parts"]["deliveries"]["paused"], house.mailbox.messages) == (1, [])
    await house.call("PATCH", path, {"paused": False}, roles=OPERATOR)
    await house.mailed(1)


async def test_a_private_address_that_is_not_allowed_is_refused_before_anything_is_sent(
    house: House, tmp_path: Path
) -> None:
    await people(house)
    destination = await hook(house, tmp_path, "http://10.0.0.7/hook")
    await house.say(account(), touched(days_ago=1), left())
    await house.drained()
    (delivery,) = await deliveries(house, destination=destination)
    assert delivery["last_outcome"].startswith("refused: the address is private")


async def test_a_route_narrows_what_goes_to_a_destination(house: House, tmp_path: Path, httpserver: HTTPServer) -> None:
    received: list[str] = []

    def receive(request: Request) -> Response:
        received.append(json.loads(request.get_data())[0]["data"]["rule"])
        return Response("", 200)

    httpserver.expect_request("/hook").respond_with_handler(receive)
    await people(house)
    await hook(house, tmp_path, httpserver.url_for("/hook"), least_severity="alert", spoken_only=True)
    await house.say(account(), touched(days_ago=15), left(sources=()))
    await house.mailed(2)
    await house.say(touched(days_ago=0, version=2))
    await house.drained()
    assert received == ["champion_left"]


async def test_a_storm_of_alerts_is_folded_into_few_messages(house: House) -> None:
    await people(house)
    storm = [f"00000000-0000-8000-8000-0000000000{number:02}" for number in range(40)]
    await house.say(*(account(account_id=one, name=f"Customer {one[-2:]}") for one in storm))
    await house.say(*(touched(15).model_copy(update={"account_id": one}) for one in storm))
    assert len(await house.steps()) == 40
    carried = [alert for delivery in await deliveries(house, limit="500") for alert in delivery["alert_ids"]]
    assert len(carried) == len(set(carried)) == 40
    assert len(house.mailbox.messages) < 20
    assert any(mail["Subject"].endswith("accounts") for mail in house.mailbox.messages)


async def test_a_folded_message_that_others_keep_joining_goes_out_all_the_same(house: House) -> None:
    await people(house)
    await house.drained()
    listed = await house.call("GET", "/v1/destinations", roles=OPERATOR)
    (annas,) = [one for one in listed.json()["items"] if one["user_id"] == anna().user_id]
    path = f"/v1/destinations/{annas['destination_id']}"
    await house.call("PATCH", path, {"paused": True}, roles=OPERATOR)
    storm = [f"00000000-0000-8000-8000-0000000000{number:02}" for number in range(9)]
    await house.say(*(account(account_id=one, name=f"Customer {one[-2:]}") for one in storm))
    await house.say(*(touched(15).model_copy(update={"account_id": one}) for one in storm[:8]))
    assert len(await house.steps()) == 8
    (folded,) = [one for one in await deliveries(house, state="waiting") if one["folded"]]
    # It has been waiting for more for two minutes.
    await house.execute("update delivery set created_at = created_at - interval '2 minutes' where folded")
    await house.say(touched(15).model_copy(update={"account_id": storm[8]}))
    assert len(await house.steps()) == 9
    (joined,) = [one for one in await deliveries(house, state="waiting") if one["folded"]]
    assert len(joined["alert_ids"]) == len(folded["alert_ids"]) + 1
    assert joined["next_attempt_at"] <= folded["next_attempt_at"]


async def test_time_for_which_a_destination_is_paused_is_no_time_of_trying(house: House) -> None:
    house.mailbox.answer = "451 not now"
    await people(house)
    await house.say(account(), touched(days_ago=15))
    await house.drained()
    listed = await house.call("GET", "/v1/destinations", roles=OPERATOR)
    (annas,) = [one for one in listed.json()["items"] if one["user_id"] == anna().user_id]
    path = f"/v1/destinations/{annas['destination_id']}"
    await house.call("PATCH", path, {"paused": True}, roles=OPERATOR)

    async def rests() -> bool:
        return bool((await house.drained())["parts"]["deliveries"]["paused"] == 1)

    await until(rests, "the pause")
    # The long weekend is over; the mail server needs a moment more.
    await house.execute("update delivery set first_tried_at = first_tried_at - interval '80 hours'")
    seen = house.mailbox.seen
    await house.call("PATCH", path, {"paused": False}, roles=OPERATOR)

    async def tried() -> bool:
        return house.mailbox.seen > seen + 1

    await until(tried, "another attempt")
    assert await deliveries(house, state="dead") == []
