"""What is authentic and not understood is kept whole, without the proof that came with it, and can be sent again."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlencode

import orjson
import pytest

from deploy.local.processes import free_port
from services.ingest import tokens
from services.ingest.domain.schemes import SchemeName
from services.ingest.tokens import SharedTokens
from services.ingest.verify import Request, Unverified, seal
from services.ingest.verify.proof import Stamp
from services.ingest.verify.tokens import mailgun_fields
from services.runtime.postgres import create_pool
from tests.integration.ingest.conftest import PATIENCE, SECRETS, StartIngest

SOURCES = """
[sources.voice]
provider = "twilio"
system = "twilio:brightwell"
secret_files = ["desk.secret"]
own_numbers = ["+4930123456"]
[sources.routed]
provider = "mailgun"
mailbox = "anna@brightwell.example"
secret_files = ["desk-old.secret"]
"""
PUBLIC = "https://tenure.example"
BOUNDARY = "b0undary"
FORM = "application/x-www-form-urlencoded"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"


def multipart(fields: dict[str, str]) -> bytes:
    """A form as Mailgun posts it."""
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    return "".join([*parts, f"--{BOUNDARY}--\r\n"]).encode()


async def test_forms_that_are_not_understood_are_kept_and_read_again(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCES, public_url=PUBLIC)
    proof, second, third = (_proof(letter) for letter in "abc")
    mails = {
        "json": ("application/json", orjson.dumps({"signature": proof, "event-data": []})),
        "form": (FORM, urlencode({"nobody": "wrote", **second}).encode()),
        "multipart": (MULTIPART, multipart({"nobody": "wrote", "größe": "ü", **third})),
    }
    for media, body in mails.values():
        taken = await ingest.http.post("/v1/webhooks/routed", content=body, headers={"content-type": media})
        assert taken.status_code == 200, taken.text
        assert "unmapped" in taken.json(), taken.text
    path = "/v1/webhooks/voice?site=a%20b"
    call = b"CallSid=CA1&CallStatus=completed&Direction=sideways"
    signed = seal(SchemeName.TWILIO, SECRETS["desk.secret"], Request(PUBLIC + path, {"content-type": FORM}, call))
    taken = await ingest.http.post(path, content=call, headers=dict(signed.headers))
    assert "unmapped" in taken.json(), taken.text

    records = await ingest.published(4)

    kept = {record.value: dict(record.headers) for record in records}
    assert call in kept
    for value, headers in kept.items():
        for secret in (*(each["signature"] for each in (proof, second, third)), *SECRETS.values()):
            assert secret.encode() not in value
            assert not any(secret.encode() in told for told in headers.values())
        media = headers.get("tenure_header_content-type", b"application/json").decode()
        source = headers["ce_source"].decode().removeprefix("/sources/")
        again = await ingest.http.post(
            f"/v1/replay/{source}", content=value, headers={"content-type": media, **ingest.bearer("operator")}
        )
        # It was read as what it is; the mapping has not been mended meanwhile.
        assert again.status_code == 422, again.text
        assert again.json()["type"].endswith(":unmapped")
    media_kept = sorted(headers.get("tenure_header_content-type", b"").decode() for headers in kept.values())
    assert media_kept == ["", FORM, FORM, MULTIPART]


async def test_what_is_larger_than_a_record_is_kept_in_parts_that_are_read_again_as_one(
    start_ingest: StartIngest,
) -> None:
    ingest = await start_ingest(SOURCES, public_url=PUBLIC)
    proof = _proof("f")
    large = {f"field-{number}": str(number) * 400_000 for number in range(5)}
    body = orjson.dumps({"signature": proof, "event-data": [], **large})
    small = orjson.dumps({"type": "zen:event-type:ticket.solved", "detail": "x" * 1_000_000})
    taken = await ingest.http.post("/v1/webhooks/routed", content=body, headers={"content-type": "application/json"})
    assert (taken.status_code, "unmapped" in taken.json()) == (200, True), taken.text
    taken = await ingest.post("/v1/webhooks/desk", small, SchemeName.ZENDESK, "desk.secret")
    assert (taken.status_code, "unmapped" in taken.json()) == (200, True), taken.text

    records = await ingest.published(3 + 2)

    wholes: dict[bytes, list[tuple[str, bytes]]] = {}
    for record in records:
        wholes.setdefault(record.key, []).append((dict(record.headers)["tenure_part"].decode(), record.value))
    assert all(len(value) <= 900_000 for parts in wholes.values() for _, value in parts)
    assert sorted([place for place, _ in parts] for parts in wholes.values()) == [["1/2", "2/2"], ["1/3", "2/3", "3/3"]]
    joined = {b"".join(value for _, value in parts) for parts in wholes.values()}
    assert small in joined
    (whole,) = joined - {small}
    assert {name: value for name, value in orjson.loads(whole).items() if name in large} == large
    for source, content in (("routed", whole), ("desk", small)):
        again = await ingest.http.post(f"/v1/replay/{source}", content=content, headers=ingest.bearer("operator"))
        assert (again.status_code, again.json()["type"].endswith(":unmapped")) == (422, True), again.text


async def test_what_came_with_a_token_to_one_door_is_known_to_the_other(
    start_ingest: StartIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the database may take longer than a provider waits, and a door would go by what it knows itself.
    monkeypatch.setattr(tokens, "ANSWER_SECONDS", PATIENCE)
    first = await start_ingest(SOURCES, public_url=PUBLIC)
    doors = [first, await start_ingest(SOURCES, public_url=PUBLIC, database_url=first.settings.database_url)]

    async def send(door: int, body: bytes) -> int:
        answer = await doors[door].http.post("/v1/webhooks/routed", content=body, headers={"content-type": FORM})
        return answer.status_code

    proof = _proof("d")
    genuine, forged = (urlencode({"who": who, **proof}).encode() for who in ("nobody", "somebody else"))
    assert await send(0, genuine) == 200
    assert [await send(door, forged) for door in (1, 0)] == [401, 401]
    # The provider had no answer, and sends the same again: whichever door it reaches.
    assert [await send(door, genuine) for door in (1, 0)] == [200, 200]
    # Of two that come at the same time one is the first.
    proof = _proof("e")
    both = [urlencode({"who": who, **proof}).encode() for who in ("a", "b")]
    assert sorted(await asyncio.gather(send(0, both[0]), send(1, both[1]))) == [200, 401]


async def test_without_the_database_a_door_still_knows_what_came_to_itself() -> None:
    pool = await create_pool(f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere")
    door = SharedTokens(pool)
    try:
        for _ in range(2):
            await door.check("routed", "token", "one", time.time())
        with pytest.raises(Unverified):
            await door.check("routed", "token", "two", time.time())
    finally:
        await pool.close()


def _proof(letter: str) -> dict[str, str]:
    """Signed now: what was signed when tests were collected is old by then."""
    return mailgun_fields(SECRETS["desk-old.secret"], Stamp(int(time.time()), letter * 50))
