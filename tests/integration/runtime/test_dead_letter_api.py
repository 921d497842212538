"""What an operator does with dead letters, over HTTP, on real Kafka and PostgreSQL."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from fastapi import FastAPI
from typer.testing import CliRunner, Result

from services.cli.app import build
from services.cli.faults import CommandFault
from services.runtime import dead_letter_api, dead_letters, problems, replaying
from services.runtime.auth import Issuer, TokenVerifier
from services.runtime.dead_letters import DeadLetter
from services.runtime.outbox import Relay
from services.runtime.postgres import transaction
from services.runtime.records import Record
from services.runtime.server import build_server, listen
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


async def test_a_replay_is_for_who_gave_the_record_up_and_other_readers_keep_no_second_letter(
    one_rig: Rig, tmp_path: Path
) -> None:
    await one_rig.produce(
        Message(b"k", b"{}", [("odd", b"\xfe"), ("tenure-replay-for", reader)], 0) for reader in (b"other", b"probe")
    )
    settings = one_rig.settings()
    relay = Relay(
        service="probe", dsn=one_rig.database.worker, settings=settings, telemetry=Telemetry("probe", settings)
    )
    async with running(one_rig.consumer(Probe())), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 1)
        await client.post("/v1/dead-letters/replay", json={})
        await relay.start()
        await _letters(one_rig, 2)
        await relay.stop()
    # What came with the replay is no part of what came first.
    assert [letter["header_names"] for letter in await one_rig.letters()] == [[b"odd"], [b"odd"]]


async def test_a_replay_leaves_what_is_last_under_a_key_of_a_compacted_topic(one_rig: Rig) -> None:
    """An older state under the same key would be all that remains of it."""
    first = Record("tenure.accounts", 3, 17, b"account:1", b"{}", [("odd", b"\xfe")])
    async with transaction(one_rig.pool) as connection:
        letter = DeadLetter.of(first, "bad_body", "of a test", handler="probe", now=one_rig.clock.now())
        await dead_letters.insert(connection, [letter])
        (row,) = await dead_letters.replay(connection, letter.id, "olga", one_rig.clock.now())
    sent = replaying.again(row, one_rig.clock.now())
    assert (sent.topic, sent.key, sent.value) == (first.topic, f"replay:{letter.id}".encode(), first.value)
    came = Record(sent.topic, 0, 90, sent.key, sent.value, [(name, value or b"") for name, value in sent.headers])
    failed = DeadLetter.of(came, "bad_body", "of a test", handler="probe", now=one_rig.clock.now())
    (kept,) = replaying.kept_by("probe", [failed])
    assert (kept.record.key, list(kept.record.headers), kept.record.offset) == (first.key, first.headers, 90)


async def test_a_key_that_is_no_text_survives_a_replay(one_rig: Rig, tmp_path: Path) -> None:
    keys = [b"\xff\xfe", b"with\x00nul", b""]
    await one_rig.produce(Message(key, b"{}", [], 2) for key in keys)
    settings = one_rig.settings()
    relay = Relay(
        service="probe", dsn=one_rig.database.worker, settings=settings, telemetry=Telemetry("probe", settings)
    )
    async with running(one_rig.consumer(Probe())), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 3)
        assert (await client.post("/v1/dead-letters/replay", json={})).json()["replayed"] == 3
        await relay.start()
        await _letters(one_rig, 6)
        await relay.stop()
    assert sorted(letter["record_key"] for letter in (await one_rig.letters())[3:]) == sorted(keys)


async def test_many_letters_are_replayed_or_dropped_by_what_they_say(one_rig: Rig, tmp_path: Path) -> None:
    probe = Probe()
    probe.poison = set(range(20))
    await one_rig.produce(message(number, source="bad" if number < 15 else "worse") for number in range(25))
    settings = one_rig.settings(fault_threshold=1000)
    relay = Relay(
        service="probe", dsn=one_rig.database.worker, settings=settings, telemetry=Telemetry("probe", settings)
    )
    consumer = one_rig.consumer(probe, fault_threshold=1000)
    async with running(consumer), _operator(one_rig, tmp_path, "operator") as client:
        await _letters(one_rig, 20)
        await one_rig.has_effects(range(20, 25))
        which = {"source": "bad", "reason": "handler_error", "topic": REPORTS.name, "since": "2026-01-01T00:00:00Z"}
        dry = (await client.post("/v1/dead-letters/replay", json={**which, "dry_run": True})).json()
        assert (dry["replayed"], dry["matching"]) == (0, 15)
        probe.poison = {3}
        await relay.start()
        done = (await client.post("/v1/dead-letters/replay", json={**which, "up_to": dry["newest"]})).json()
        assert (done["replayed"], done["matching"]) == (15, 0)
        # The one that fails again is a new letter, which the same selection does not meet again.
        await _letters(one_rig, 21)
        await one_rig.has_effects({*range(15), *range(20, 25)} - {3})
        again = (await client.post("/v1/dead-letters/replay", json={**which, "up_to": dry["newest"]})).json()
        assert (again["replayed"], again["matching"]) == (0, 0)
        await relay.stop()
        wrong = await client.post("/v1/dead-letters/drop", json={"source": "worse"})
        assert wrong.status_code == 422
        dropped = await client.post("/v1/dead-letters/drop", json={"source": "worse", "why": "of a test"})
        assert (dropped.json()["dropped"], dropped.json()["matching"]) == (5, 0)
        assert (await client.post("/v1/dead-letters/replay", json={"colour": "red"})).status_code == 422
        assert len((await client.get("/v1/dead-letters")).json()["items"]) == 1
    assert set((await one_rig.effects()).values()) == {1}


async def test_the_command_asks_before_it_replays_many_and_can_only_look(one_rig: Rig, tmp_path: Path) -> None:
    await one_rig.produce(Message(b"k", b"{}", message(n).headers, 0) for n in range(4))
    async with running(one_rig.consumer(Probe())):
        await _letters(one_rig, 4)
    issuer = Issuer(tmp_path, "https://id.example", "tenure")
    token = tmp_path / "token"
    token.write_text(issuer.issue("olga", ("operator",)))
    app = FastAPI()
    problems.install(app)
    verifier = TokenVerifier(issuer.jwks_file, issuer.issuer, issuer.audience)
    app.include_router(dead_letter_api.router(pool=one_rig.pool, verifier=verifier, clock=one_rig.clock))
    serving, listener = build_server(app), listen("127.0.0.1", 0, "PORT")
    task = asyncio.create_task(serving.serve(sockets=[listener]))
    where = [
        "--service",
        "accounts",
        "--url",
        f"http://127.0.0.1:{listener.getsockname()[1]}",
        "--token-file",
        str(token),
    ]

    async def tenure(*words: str, answer: str = "") -> Result:
        given = ["dead-letters", *words, *where]
        return await asyncio.to_thread(lambda: CliRunner().invoke(build(), given, input=answer))

    try:
        assert isinstance((await tenure("replay")).exception, CommandFault)
        assert (await tenure("replay", "--all", "--dry-run")).output == "accounts: 4 would be replayed\n"
        assert isinstance((await tenure("replay", "--reason", "bad_body", answer="n\n")).exception, CommandFault)
        assert (await tenure("list", "--until", "2020-01-01T00:00:00Z")).output == "no dead letters\n"
        assert "accounts: 4 go through" in (await tenure("replay", "--reason", "bad_body", answer="y\n")).output
        assert (await tenure("drop", "--all", "--why", "x")).output == "no such dead letters\n"
        assert await one_rig.pool.fetchval("select count(*) from outbox") == 4
    finally:
        serving.should_exit = True
        await task


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
