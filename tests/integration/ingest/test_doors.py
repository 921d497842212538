"""Bad input, tried at every door: what is wrong is said, and nothing of it reaches the topic."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson

from contracts.events import UNMAPPED_TYPE
from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign
from tests.integration.ingest.conftest import SECRETS, Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED, SOLVED

MAIL = b"From: bob@acme.example\r\nTo: anna@brightwell.example\r\nMessage-ID: <1@acme.example>\r\n\r\nHello"


async def knock(ingest: Ingest, door: str, body: bytes, **headers: str) -> httpx2.Response:
    """Posts to a door the way its genuine sender would."""
    if door == "events":
        structured = headers.pop("content_type", "application/cloudevents+json")
        return await ingest.events_door(body, structured, **headers)
    if door == "zendesk":
        return await ingest.post("/v1/webhooks/desk", body, SchemeName.ZENDESK, "desk.secret", **headers)
    if door == "shopify":
        return await ingest.post("/v1/webhooks/shop", body, SchemeName.SHOPIFY, "shop.secret", **headers)
    if door == "mail":
        headers = {"content_type": "message/rfc822", **headers}
        return await ingest.post("/v1/mail/mail-anna", body, SchemeName.STANDARD_WEBHOOKS, "mail.secret", **headers)
    media = {"content-type": "application/x-ndjson", **ingest.bearer("operator")}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ingest.http.post("/v1/imports/history", content=body, headers={**media, **more})


DOORS = ("events", "zendesk", "shopify", "mail", "import")
WEBHOOKS = ("zendesk", "shopify")
PATHS = {
    "events": "/v1/events",
    "zendesk": "/v1/webhooks/desk",
    "shopify": "/v1/webhooks/shop",
    "aircall": "/v1/webhooks/phone",
    "mail": "/v1/mail/mail-anna",
    "import": "/v1/imports/history",
}


def is_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["title"]
    return problem


async def in_pieces(megabytes: int = 2) -> AsyncIterator[bytes]:
    """So many megabytes whose length nobody announces."""
    for _ in range(16 * megabytes):
        yield b" " * 65_536


def media_of(door: str, ingest: Ingest) -> dict[str, str]:
    media = {"events": "application/cloudevents+json", "mail": "message/rfc822", "import": "application/x-ndjson"}
    return {"content-type": media.get(door, "application/json"), **ingest.bearer("operator")}


async def test_what_no_door_takes(ingest: Ingest) -> None:
    for door in DOORS:
        # A mail may be large, it is cut down while it comes in; and what a provider sends must not be lost.
        if door != "mail":
            megabytes = 9 if door in WEBHOOKS else 2
            is_problem(await knock(ingest, door, b" " * (megabytes * 1024 * 1024)), 413)
            pieces = in_pieces(megabytes)
            is_problem(await ingest.http.post(PATHS[door], content=pieces, headers=media_of(door, ingest)), 413)
        is_problem(await knock(ingest, door, b"{}", x_long="x" * 17_000), 431)
        is_problem(await knock(ingest, door, b"{}", content_encoding="gzip"), 415)
        if door not in WEBHOOKS:
            is_problem(await knock(ingest, door, b"{}", content_type="text/plain"), 415)
    for path in PATHS.values():
        is_problem(await ingest.http.get(path), 405)
    for path in ("/v1/webhooks/nobody", "/v1/mail/nobody", "/v1/events/nobody", "/v1/nothing"):
        is_problem(await ingest.http.post(path, content=b"{}", headers={"content-type": "application/json"}), 404)
    assert await ingest.published(0) == []
    counted = (await ingest.operations.get("/metrics")).text
    assert 'tenure_ingest_rejected_total{reason="body_too_large",source="desk"} 2.0' in counted


async def test_a_forgery_learns_nothing(ingest: Ingest) -> None:
    bodies = set()
    genuine = orjson.dumps(SOLVED)
    signed = sign(SchemeName.ZENDESK, SECRETS["desk.secret"], genuine)
    stale = sign(SchemeName.ZENDESK, SECRETS["desk.secret"], genuine, now=1_700_000_000)
    stranger = sign(SchemeName.ZENDESK, "another secret", genuine)
    for headers, body in ((signed, genuine + b" "), (stale, genuine), (stranger, genuine), ({}, genuine)):
        response = await ingest.http.post(
            "/v1/webhooks/desk", content=body, headers={"content-type": "application/json", **headers}
        )
        is_problem(response, 401)
        bodies.add(response.content)
    for body in (orjson.dumps({"event": "call.ended", "token": "guess"}), b"{", b"[]", b"\xff"):
        response = await ingest.http.post(
            "/v1/webhooks/phone", content=body, headers={"content-type": "application/json"}
        )
        is_problem(response, 401)
        bodies.add(response.content)
    unsigned = await ingest.http.post(
        "/v1/events", content=b"{}", headers={"content-type": "application/cloudevents+json"}
    )
    bodies.add(unsigned.content)
    assert len(bodies) == 1
    assert await ingest.published(0) == []


async def test_both_secrets_of_a_rotation_are_taken(ingest: Ingest) -> None:
    for secret in ("desk.secret", "desk-old.secret"):
        response = await ingest.post("/v1/webhooks/desk", orjson.dumps(SOLVED), SchemeName.ZENDESK, secret)
        assert response.status_code == 200
    first, second = await ingest.events(2)
    assert first.id == second.id


NO_JSON = (b"", b"{", b'{"a": NaN}', b'{"a":1,"a":2}', b"\xff", b"[" * 10_000 + b"]" * 10_000, b"[1e999]")


async def test_json_that_is_none_is_400_and_says_why(ingest: Ingest) -> None:
    for body in NO_JSON:
        problem = is_problem(await knock(ingest, "events", body), 400)
        assert problem["errors"][0]["remedy"]
    assert await ingest.published(0) == []


async def test_what_a_provider_signs_is_kept_whole_even_where_it_cannot_be_read(ingest: Ingest) -> None:
    large = orjson.dumps({"type": "zen:event-type:ticket.solved", "detail": "x" * 3_000_000})
    for door in WEBHOOKS:
        for body in NO_JSON:
            response = await knock(ingest, door, body)
            assert (response.status_code, response.json()) == (200, {"accepted": 0, "unmapped": "bad_json"})
    for media in ("application/xml", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = await knock(ingest, "shopify", b"<order/>", content_type=media)
        assert (response.status_code, response.json()["accepted"]) == (200, 0), response.text
        assert response.json()["unmapped"] in {"bad_json", "bad_form", "missing:x-shopify-shop-domain"}
    for content in (large, _piecemeal(large)):
        headers = {"content-type": "application/json", **sign(SchemeName.ZENDESK, SECRETS["desk.secret"], large)}
        response = await ingest.http.post(PATHS["zendesk"], content=content, headers=headers)
        assert (response.status_code, response.json()["accepted"]) == (200, 0), response.text

    records = await ingest.published(len(WEBHOOKS) * len(NO_JSON) + 4 + 2 * 4)

    kept = [(dict(one.headers), one.value) for one in records]
    unread = [value for headers, value in kept if headers["tenure_unmapped"] == b"bad_json"]
    assert sorted(one for one in unread if one != b"<order/>") == sorted(NO_JSON * len(WEBHOOKS))
    parts = sorted((headers["tenure_part"], value) for headers, value in kept if "tenure_part" in headers)
    assert b"".join(value for _, value in parts[::2]) == large
    again = await ingest.http.post("/v1/replay/desk", content=b"{", headers=ingest.bearer("operator"))
    assert is_problem(again, 400)["errors"][0]["remedy"]


async def _piecemeal(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def test_a_large_body_that_nobody_signed_is_kept_nowhere(ingest: Ingest) -> None:
    for body in (b"{" * 3_000_000, b'{"token":"guess","x":"' + b"x" * 2_000_000 + b'"}'):
        for door, expected in (("zendesk", 401), ("shopify", 401), ("aircall", 413)):
            response = await ingest.http.post(PATHS[door], content=body, headers={"content-type": "application/json"})
            is_problem(response, expected)
    assert await ingest.published(0) == []


async def test_nul_and_lone_surrogates_are_named_by_field(ingest: Ingest) -> None:
    for escape in (rb"\u0000", rb"\ud800"):
        body = orjson.dumps({**PLACED, "data": {"title": "@"}}).replace(b"@", escape)
        problem = is_problem(await knock(ingest, "events", body), 400)
        assert problem["errors"][0]["field"] == "data.title"
    assert await ingest.published(0) == []


async def test_a_single_wrong_event_is_422_and_names_field_and_remedy(ingest: Ingest) -> None:
    wrong = {**PLACED, "time": "2100-01-01T00:00:00Z"}
    problem = is_problem(await knock(ingest, "events", orjson.dumps(wrong)), 422)
    assert problem["errors"][0]["field"] == "time"
    assert problem["errors"][0]["remedy"]
    assert await ingest.published(0) == []


async def test_of_a_batch_the_good_go_in_and_the_bad_come_back(ingest: Ingest) -> None:
    batch = [PLACED, {**PLACED, "id": "2", "time": "2026-03-02"}, {**PLACED, "id": "3", "subject": "4712"}]
    response = await ingest.events_door(batch, "application/cloudevents-batch+json")
    assert response.status_code == 207
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer["results"][1]["errors"][0]["field"] == "1.time"
    assert {event.interaction.native_id for event in await ingest.events(2)} == {"4711", "4712"}


async def test_binary_mode_is_read_too(ingest: Ingest) -> None:
    attributes = {f"ce_{name}": value for name, value in PLACED.items() if isinstance(value, str)}
    response = await ingest.events_door(orjson.dumps(PLACED["data"]), "application/json", **attributes)
    assert response.status_code == 202, response.text
    (event,) = await ingest.events(1)
    assert event.interaction.native_id == "4711"


async def test_what_is_authentic_but_not_understood_goes_on_raw_and_without_its_secret(ingest: Ingest) -> None:
    odd = b'{"type":"zen:event-type:ticket.solved_by_magic","detail":{"id":{}}}'
    assert (await knock(ingest, "zendesk", odd)).json()["unmapped"] == "bad_time:time"
    call = {"resource": "call", "event": "call.ended", "token": SECRETS["phone.secret"], "data": {"ended_at": 1}}
    response = await ingest.http.post(
        "/v1/webhooks/phone", content=orjson.dumps(call), headers={"content-type": "application/json"}
    )
    assert response.status_code == 200
    assert (await knock(ingest, "shopify", b"{}", x_shopify_topic="orders/create")).status_code == 200
    assert (await knock(ingest, "mail", b"Subject: nobody wrote this\r\n\r\n")).json()["unmapped"] == "no_sender"

    records = await ingest.published(4)

    assert {dict(record.headers)["ce_type"] for record in records} == {UNMAPPED_TYPE.encode()}
    assert odd in {record.value for record in records}
    assert not any(SECRETS["phone.secret"].encode() in record.value for record in records)


async def test_a_mail_by_http_is_taken(ingest: Ingest) -> None:
    response = await knock(ingest, "mail", MAIL)
    assert response.status_code == 202
    (event,) = await ingest.events(1)
    assert event.TYPE == "tenure.email.received.v1"


async def test_a_mailbox_without_content_keeps_no_raw_mail_either(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(
        '[sources.quiet]\nprovider = "mail"\nmailbox = "max@brightwell.example"\ncontent = false\n'
        'secret_files = ["mail.secret"]\n'
    )
    headers = {"content_type": "message/rfc822"}
    for body, status in ((b"Subject: secret\r\n\r\nwords", 422), (MAIL, 202)):
        response = await ingest.post("/v1/mail/quiet", body, SchemeName.STANDARD_WEBHOOKS, "mail.secret", **headers)
        assert response.status_code == status
    (record,) = await ingest.published(1)
    assert b"Hello" not in record.value


async def test_history_needs_an_operator(ingest: Ingest) -> None:
    line = orjson.dumps(PLACED)
    nobody: dict[str, str] = {}
    for bearer, status in ((nobody, 401), ({"authorization": "Bearer x.y.z"}, 401), (ingest.bearer("lead"), 403)):
        headers = {"content-type": "application/x-ndjson", **bearer}
        is_problem(await ingest.http.post("/v1/imports/history", content=line, headers=headers), status)
    assert await ingest.published(0) == []


async def test_of_history_good_lines_go_in_and_bad_ones_come_back(ingest: Ingest) -> None:
    good = orjson.dumps({**PLACED, "system": "zendesk:brightwell"})
    lines = [
        good,
        b"",
        b"{oops",
        orjson.dumps({**PLACED, "time": "1970-01-01T00:00:00Z"}),
        good.replace(b"4711", b"4712"),
    ]
    answer = (await knock(ingest, "import", b"\n".join(lines))).json()
    assert answer["accepted"] == 2
    assert [(row["line"], row["errors"][0]["field"]) for row in answer["rejected"]] == [(3, "line"), (4, "time")]
    events = await ingest.events(2)
    assert all(event.imported and event.interaction.system == "zendesk:brightwell" for event in events)
    is_problem(await knock(ingest, "import", b"\n".join([good] * 501)), 413)


async def test_an_operator_replays_what_was_kept_raw(ingest: Ingest) -> None:
    response = await ingest.http.post(
        "/v1/replay/desk", content=orjson.dumps(SOLVED), headers=ingest.bearer("operator")
    )
    assert response.json() == {"accepted": 1}
    odd = b'{"type":"zen:event-type:ticket.solved_by_magic","detail":{"id":{}}}'
    is_problem(await ingest.http.post("/v1/replay/desk", content=odd, headers=ingest.bearer("operator")), 422)
    is_problem(await ingest.http.post("/v1/replay/desk", content=b"{}"), 401)
    await ingest.published(1)


async def test_every_source_is_counted(ingest: Ingest) -> None:
    await knock(ingest, "zendesk", orjson.dumps(SOLVED))
    await knock(ingest, "zendesk", b'{"type":"zen:event-type:user.created"}')
    await ingest.http.post("/v1/webhooks/desk", content=b"{}", headers={"content-type": "application/json"})
    desk = (await ingest.operations.get("/flow")).json()["parts"]["sources"]["desk"]
    assert (desk["accepted"], desk["ignored"], desk["rejected"]) == (1, 1, {"missing_signature": 1})
    assert desk["horizon"] == desk["last_delivery"]
    assert desk["polled"] is False
    metrics = (await ingest.operations.get("/metrics")).text
    assert 'tenure_ingest_events_total{outcome="accepted",source="desk"} 1.0' in metrics
    assert 'tenure_ingest_events_total{outcome="unsigned",source="desk"} 1.0' in metrics


async def test_the_trace_starts_here(start_ingest: StartIngest, tmp_path: Any) -> None:
    ingest = await start_ingest(trace_file=str(tmp_path / "spans.jsonl"), trace_sample_ratio="1")
    await knock(ingest, "zendesk", orjson.dumps(SOLVED))
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await knock(ingest, "events", orjson.dumps(PLACED), traceparent=parent)
    traces = {dict(record.headers)["ce_traceparent"].decode().split("-")[1] for record in await ingest.published(2)}
    assert len(traces) == 2
    assert "0af7651916cd43dd8448eb211c80319c" in traces


def test_the_secrets_of_the_tests_are_not_one_another() -> None:
    assert len(set(SECRETS.values())) == len(SECRETS)
    assert base64.b64decode(SECRETS["erp.secret"].removeprefix("whsec_"))
