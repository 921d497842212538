"""Any bytes to any door give 2xx or 4xx: never a fault of ours, never silence, and nothing that grows."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes, urlencode

import httpx2
import orjson
import psutil
import pytest

from services.ingest.sources.registry import WEBHOOKS
from services.ingest.verify import SCHEMES, Request, Unverified, seal
from services.ingest.verify.proof import Stamp
from services.ingest.verify.tokens import mailgun_fields
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED
from tests.unit.ingest.mutations import damaged, damaged_body, golden_body, goldens_once, providers, text
from tests.unit.ingest.proofs import CERTIFICATE, OLD, TOPIC
from tests.unit.ingest.test_webhook_door import Outside, certificate

REQUESTS = int(os.environ.get("TENURE_TEST_FUZZ", "240"))
"""100000 and more is a long run; memory is looked at from 20,000 on."""
_AT_ONCE = 16
_NEEDED: dict[str, Any] = {"mailbox": "anna@brightwell.example", "topics": [TOPIC], "own_numbers": ["+4930123456"]}
_MOST_GROWTH = 64 * 1024 * 1024
_MEDIA = (
    "application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "message/rfc822",
    "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain",
    "application/x-ndjson", "text/calendar", "text/csv", "", 'a/b; c=d; boundary="', "application/json; charset=utf-7",
)  # fmt: skip
_PATHS = (
    "/v1/webhooks/desk", "/v1/webhooks/shop", "/v1/webhooks/phone", "/v1/events", "/v1/mail/mail-anna",
    "/v1/imports/history", "/v1/replay/shop", "/v1/replay/mail-anna", "/v1/sources", "/v1/sources/desk",
    "/v1/dead-letters", "/v1/dead-letters/1", "/v1/openapi.json", "/v1/webhooks/", "/v1/webhooks/%00", "/v1/events/",
    "/v1/mail/..%2f..", "/", "/%ff%fe", "/v1/webhooks/desk/more", "/v1/webhooks/\u00e9",
)  # fmt: skip


def tables(folder: Path) -> str:
    """A source of every provider of webhooks, with the secrets that proofs are made with."""
    lines = []
    for name, provider in WEBHOOKS.items():
        (folder / f"fuzz-{name}.secret").write_text(OLD[provider.scheme].shown)
        lines += [f"[sources.fuzz-{name}]", f'provider = "{name}"', f'secret_files = ["fuzz-{name}.secret"]']
        if provider.has_system:
            lines.append(f'system = "{name}:fuzz"')
        known = {**next((golden["options"] for golden in goldens_once(name) if "options" in golden), {}), **_NEEDED}
        required = [field for field, described in provider.options.model_fields.items() if described.is_required()]
        lines += [f"{field} = {orjson.dumps(known[field]).decode()}" for field in required]
    return "\n".join(lines) + "\n"


def genuine(chance: random.Random, name: str) -> tuple[str, dict[str, str], bytes]:
    """A damaged delivery with the proof that its provider would give it: (path and query, headers, body)."""
    scheme = WEBHOOKS[name].scheme
    golden = chance.choice(goldens_once(name))
    path = f"/v1/webhooks/fuzz-{name}"
    media = "application/x-www-form-urlencoded" if "form" in golden else "application/json"
    headers = {**{key: _header(value) for key, value in golden["headers"].items()}, "content-type": media}
    body = golden_body(golden)
    if "form" in golden:
        form = {**golden["form"], chance.choice(list(golden["form"])): _plain(text(chance))}
        body = urlencode(form).encode()
    elif chance.random() < 0.3 and not SCHEMES[scheme].in_payload:
        body = damaged_body(chance, body)
    else:
        body = orjson.dumps(_plain(damaged(chance, golden["body"])))
    request = Request(f"http://tenure.example{path}", headers, body)
    if SCHEMES[scheme].in_payload:
        payload = orjson.loads(body) if media == "application/json" else None
        if not isinstance(payload, dict):
            return path, headers, body
        if scheme.value == "mailgun":
            payload["signature"] = mailgun_fields(OLD[scheme].signing, Stamp(_now(), chance.randbytes(25).hex()))
            return path, headers, orjson.dumps(payload)
        if scheme.value == "sns":
            payload |= {"TopicArn": TOPIC, "SigningCertURL": CERTIFICATE, "SignatureVersion": "2"}
            payload.pop("Timestamp", None)
        request = request._replace(payload=payload)
    try:
        sealed = seal(scheme, OLD[scheme].signing, request, identifier="msg_1")
    except Unverified:
        # What Amazon would sign is not there any more.
        return path, headers, body
    return sealed.url.removeprefix("http://tenure.example"), dict(sealed.headers), sealed.body


def _now() -> int:
    return int(time.time())


def _plain(value: Any) -> Any:
    """What JSON can hold: the rest of the oddities are for mappings alone."""
    if isinstance(value, dict):
        return {str(name).encode("utf-8", "replace").decode(): _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if not isinstance(value, int) or abs(value) < 2**63 else None


def _header(value: str) -> str:
    return value.encode("ascii", "replace").decode()


def anything(chance: random.Random, ingest: Ingest) -> tuple[str, str, dict[str, str], bytes]:
    """Anything at any path: (method, path and query, headers, body)."""
    headers: dict[str, str] = {}
    if media := chance.choice(_MEDIA):
        headers["content-type"] = media
    if chance.random() < 0.4:
        headers |= ingest.bearer(chance.choice(["operator", "admin", "nobody"]))
    for name in chance.sample(["ce-id", "ce-type", "ce-time", "webhook-id", "tenure-source", "content-encoding"], 2):
        if chance.random() < 0.3:
            headers[name] = chance.choice(["", "x", "%", "%ff", "%00", "gzip", "2026-01-01T00:00:00Z", "é" * 20])
    base = orjson.dumps([PLACED, PLACED] if "batch" in media else PLACED)
    body = chance.choice([damaged_body(chance, base), base + b"\n" + base, chance.randbytes(300)])
    path = chance.choice(_PATHS)
    if chance.random() < 0.3:
        path += "?" + quote_from_bytes(chance.randbytes(chance.randrange(0, 40)), safe="&=?/")
    method = chance.choice(["POST"] * 8 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
    return method, path, {name: _latin(value) for name, value in headers.items()}, body


def _latin(value: str) -> str:
    return value.encode("ascii", "replace").decode()


async def test_whatever_is_sent_is_answered_and_nothing_breaks(
    start_ingest: StartIngest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside({CERTIFICATE: certificate()})
    closing = {
        "__call__": lambda _, url: outside(url),
        "aclose": lambda _: asyncio.sleep(0),
        "reaches": lambda _, url: asyncio.sleep(0, url in outside.answers),
    }
    outside_closed = type("Closing", (), closing)
    monkeypatch.setattr("services.ingest.app.BoundedGet", outside_closed)
    ingest = await start_ingest(tables(tmp_path), public_url="http://tenure.example")
    chance = random.Random("any bytes")  # noqa: S311 - the same in every run
    signed = [name for name in providers() if name in WEBHOOKS]
    answers: Counter[int] = Counter()
    taken: Counter[str] = Counter()
    limit = asyncio.Semaphore(_AT_ONCE)

    async def knock(number: int) -> None:
        async with limit:
            if number % 2:
                name = chance.choice(signed)
                path, headers, body = genuine(chance, name)
                method = "POST"
            else:
                name = ""
                method, path, headers, body = anything(chance, ingest)
            answer = await ask(ingest, method, path, headers, body)
            answers[answer.status_code] += 1
            taken[name] += answer.status_code == httpx2.codes.OK
            assert answer.status_code < 500, (method, path, headers, body[:500], answer.text[:500])

    process = psutil.Process()
    rounds = max(1, REQUESTS // 2000)
    before = 0
    for number in range(rounds):
        await asyncio.gather(*(knock(one) for one in range(REQUESTS // rounds)))
        if number == rounds // 3:
            before = process.memory_info().rss
    if REQUESTS >= 20_000:
        assert process.memory_info().rss - before < _MOST_GROWTH
    assert all(answers[status] for status in (200, 401, 404)), answers
    # Otherwise proofs were wrong, and the mappings behind them never saw anything.
    assert all(taken[name] for name in signed if not SCHEMES[WEBHOOKS[name].scheme].in_payload), taken
    await whatever_is_no_http(ingest, chance)
    # It lives, and takes what is right.
    good = await ingest.events_door({**PLACED, "subject": "after"})
    assert good.status_code == 202


async def ask(ingest: Ingest, method: str, path: str, headers: dict[str, str], body: bytes) -> httpx2.Response:
    """The answer; a machine that is busy may say "later" some times, as to every provider."""
    async with asyncio.timeout(60):
        while True:
            answer = await ingest.http.request(method, path, headers=headers, content=body, timeout=20)
            if answer.status_code != httpx2.codes.SERVICE_UNAVAILABLE:
                return answer
            await asyncio.sleep(0.5)


async def whatever_is_no_http(ingest: Ingest, chance: random.Random) -> None:
    """Bytes that are no HTTP are answered or hung up on."""
    url = httpx2.URL(str(ingest.http.base_url))
    for _ in range(20):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        line = chance.choice(
            [b"", b"POST /v1/events HTTP/1.1\r\n", b"GET " + b"a" * 70_000, b"POST / HTTP/9.9\r\n\r\n"]
        )
        writer.write(line + chance.randbytes(200) + b"\r\n\r\n")
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
        assert not answer or answer.startswith(b"HTTP/1.1 4"), answer[:100]
        writer.close()
