"""What an operator does with dead letters, over HTTP, on real Kafka and PostgreSQL."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from fastapi import FastAPI

from services.runtime import dead_letter_api, problems
from services.runtime.auth import Issuer, TokenVerifier
from services.runtime.outbox import Relay
from services.runtime.telemetry import Telemetry
from tests.integration.runtime.harness import REPORTS, Message, Probe, Rig, eventually, message, running


@asynccontextmanager
async def _operator(one: Rig, folder: Path, *roles: str) -> AsyncIterator[httpx2.AsyncClient]:
    issuer = Issuer(folder, "https://id.example", "tenure")
    app = FastAPI()
    problems.install(app)
    verifier = TokenVerifier(issuer.jwks_file, issuer.issuer, issuer.audience)
    app.include_router(dead_letter_api.router(pool=one.pool, verifier=verifier, clock=one.clock))
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://probe",
        headers={"Authorization": f"Bearer {issuer.issue('olga', roles)}"},
    )
    async with client:
        yield client


async def _letters(one: Rig, count: int) -> None:
    async def there() -> bool:
        return len(await one.letters()) == count

    await eventually(there, "the dead letters are there")


async def test_letters_are_listed_by_what_they_say_and_shown_with_their_bytes(one_rig: Rig, tmp_path: Path) -> None:
    strange = Message(b"k", b"\x00\xff", [*message(5, source="phone").headers, ("odd", b"\xfe")], 0)
    await one_rig.produce([strange, Message(b"k", b"{}", [], 1)])
    async with running(one_rig.consumer(Probe())):
        await _letters(one_rig, 2)
    async with _operator(one_rig, tmp_path, "operator") as client:
        everything = (await client.get("/v1/dead-letters")).json()
        assert (len(everything["items"]), everything["next"]) == (2, None)
        phone = (await client.get("/v1/dead-letters", params={"source": "phone"})).json()["items"]
        assert [item["reason"] for item in phone] == ["bad_body"]
        assert (await client.get("/v1/dead-letters", params={"reason": "bad_envelope"})).json()["items"][0][
            "partition"
        ] == 1
        for nothing in ({"topic": "other"}, {"since": "2999-01-01T00:00:00Z"}, {"state": "dropped"}):
            assert (await client.get("/v1/dead-letters", params=nothing)).json()["items"] == []
        first = (await client.get("/v1/dead-letters", params={"limit": 1})).json()
        rest = (await client.get("/v1/dead-letters", params={"limit": 1, "before": first["next"]})).json()
        assert {first["items"][0]["id"], rest["items"][0]["id"]} == {item["id"] for item in everything["items"]}
        shown = (await client.get(f"/v1/dead-letters/{phone[0]['id']}")).json()
        assert base64.b64decode(shown["value"]) == strange.value
        assert base64.b64decode(shown["key"]) == strange.key
        assert {"name": "odd", "value": base64.b64encode(b"\xfe").decode()} in shown["headers"]
        assert shown["topic"] == REPORTS.name
        assert (await client.get("/v1/dead-letters", params={"since": "yesterday"})).status_code == 422


async def test_a_replay_goes_through_the_same_handler_and_has_no_second_effect(one_rig: Rig, tmp_path: Path) -> None:
    probe = Probe()
    probe.poison = {3}
    await one_rig.produce(message(number, partition=0) for number in range(6))
    consumer = one_rig.consumer(probe)
    settings = one_rig.settings()
    relay = Relay(
        service="probe", dsn=one_rig.database.worker, settings=settings, telemetry=Telemetry("probe", settings)
    )
    async with running(consumer), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 1)
        await relay.start()
        try:
            (item,) = (await client.get("/v1/dead-letters")).json()["items"]
            # The handler was mended.
            probe.poison = set()
            answer = await client.post(f"/v1/dead-letters/{item['id']}/replay")
            assert (answer.status_code, answer.json()["state"]) == (202, "replayed")
            await one_rig.has_effects(range(6))
            again = await client.post(f"/v1/dead-letters/{item['id']}/replay")
            assert again.status_code == 409
            assert "replayed by https://id.example olga" in again.json()["detail"]
            shown = (await client.get(f"/v1/dead-letters/{item['id']}")).json()
            assert (shown["state"], shown["settled_by"]) == ("replayed", "https://id.example olga")
        finally:
            await relay.stop()
    assert set((await one_rig.effects()).values()) == {1}


async def test_a_replay_carries_the_record_as_it_came(one_rig: Rig, tmp_path: Path) -> None:
    strange = Message(b"k", b"\x00\xff", [("ce_id", b"\xff\x00"), ("empty", b""), ("name", "ü".encode())], 2)
    await one_rig.produce([strange])
    settings = one_rig.settings()
    relay = Relay(
        service="probe", dsn=one_rig.database.worker, settings=settings, telemetry=Telemetry("probe", settings)
    )
    async with running(one_rig.consumer(Probe())), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 1)
        (item,) = (await client.get("/v1/dead-letters")).json()["items"]
        await client.post(f"/v1/dead-letters/{item['id']}/replay")
        await relay.start()
        await _letters(one_rig, 2)
        await relay.stop()
    first, second = await one_rig.letters()
    for part in ("record_key", "value", "header_names", "header_values"):
        assert first[part] == second[part]


async def test_a_dropped_letter_stays_with_who_and_why(one_rig: Rig, tmp_path: Path) -> None:
    await one_rig.produce([Message(b"k", b"{}", [], 0)])
    async with running(one_rig.consumer(Probe())), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 1)
        (item,) = (await client.get("/v1/dead-letters")).json()["items"]
        path = f"/v1/dead-letters/{item['id']}"
        assert (await client.delete(path)).status_code == 422
        assert (await client.delete(path, params={"why": "test data"})).status_code == 200
        assert (await client.get("/v1/dead-letters")).json()["items"] == []
        shown = (await client.get(path)).json()
        assert (shown["state"], shown["settled_why"], shown["settled_by"]) == (
            "dropped",
            "test data",
            "https://id.example olga",
        )
        assert (await client.post(path + "/replay")).status_code == 409
        unknown = "00000000-0000-0000-0000-000000000000"
        assert (await client.get(f"/v1/dead-letters/{unknown}")).status_code == 404
        assert (await client.post(f"/v1/dead-letters/{unknown}/replay")).status_code == 404


async def test_only_operators_see_dead_letters(one_rig: Rig, tmp_path: Path) -> None:
    async with _operator(one_rig, tmp_path) as manager:
        for method, path in (("GET", ""), ("GET", "/x"), ("POST", "/x/replay"), ("DELETE", "/x?why=y")):
            assert (await manager.request(method, "/v1/dead-letters" + path)).status_code in {403, 422}
        assert (await manager.get("/v1/dead-letters")).status_code == 403
        assert (await manager.get("/v1/dead-letters", headers={"Authorization": ""})).status_code == 401
