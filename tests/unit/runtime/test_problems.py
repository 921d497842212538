"""Problems over HTTP: the field, the remedy, and nothing of our inside."""

from __future__ import annotations

import json

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import AwareDatetime, BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from services.runtime import problems
from services.runtime.limits import BODY_LIMIT, Limits, Streamed, TooDeep, check_depth
from services.runtime.problems import FieldError, Problem


class _Line(BaseModel):
    amount: int


class _Order(BaseModel):
    placed_at: AwareDatetime
    lines: list[_Line]


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    problems.install(app)

    @app.post("/orders")
    async def place(order: _Order) -> dict[str, int]:
        return {"lines": len(order.lines)}

    @app.get("/crash")
    async def crash() -> None:
        raise RuntimeError("password=hunter2")

    @app.get("/gone")
    async def gone() -> None:
        raise Problem(410, "Gone", "It was here.", "gone", [FieldError("id", "is old", "use the new one")])

    return TestClient(app, raise_server_exceptions=False)


def test_every_wrong_field_is_named_with_its_path_and_a_remedy(client: TestClient) -> None:
    answer = client.post(
        "/orders", json={"placed_at": "2026-03-02T09:30:00", "lines": [{"amount": 1}, {"amount": "x"}, {}]}
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == ("urn:tenure:problem:invalid", 422)
    errors = {error["field"]: error["remedy"] for error in body["errors"]}
    assert errors == {
        "placed_at": "write an offset, such as 2026-03-02T09:30:00Z",
        "lines.1.amount": "send a whole number",
        "lines.2.amount": "send the field",
    }


def test_a_value_that_was_sent_is_not_repeated(client: TestClient) -> None:
    assert "ana@example.com" not in client.post("/orders", json={"placed_at": "ana@example.com"}).text


def test_malformed_json_is_a_problem(client: TestClient) -> None:
    answer = client.post("/orders", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["errors"][0]["remedy"]) == (422, "send valid JSON")


def test_a_crash_is_a_problem_without_internals(client: TestClient) -> None:
    answer = client.get("/crash")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text


def test_unknown_paths_and_methods_are_problems(client: TestClient) -> None:
    for answer, status in ((client.get("/nothing"), 404), (client.get("/orders"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_problem_of_ours_is_passed_on_as_it_is(client: TestClient) -> None:
    assert client.get("/gone").json() == {
        "type": "urn:tenure:problem:gone",
        "title": "Gone",
        "status": 410,
        "detail": "It was here.",
        "errors": [{"field": "id", "message": "is old", "remedy": "use the new one"}],
    }


def _echo(*, routes: dict[str, int] | None = None) -> TestClient:
    async def echo(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/{path:path}", echo, methods=["POST"])])
    problems.install(app)
    return TestClient(Limits(app, routes=routes or {}))


def test_a_body_up_to_the_limit_passes_and_a_longer_one_is_413() -> None:
    client = _echo()
    assert client.post("/x", content=b"x" * BODY_LIMIT).text == str(BODY_LIMIT)
    assert client.post("/x", content=b"x" * (BODY_LIMIT + 1)).status_code == 413


def test_a_body_that_does_not_say_how_long_it_is_is_counted() -> None:
    answer = _echo().post("/x", content=(b"x" * 65536 for _ in range(20)))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


def test_a_route_may_have_a_limit_of_its_own() -> None:
    client = _echo(routes={"/import": 3 * BODY_LIMIT, "/import/small": 10})
    assert client.post("/import/x", content=b"x" * (2 * BODY_LIMIT)).status_code == 200
    assert client.post("/import/small", content=b"x" * 11).status_code == 413


def test_of_a_streamed_body_only_what_is_held_counts_against_all_that_is_held() -> None:
    async def swallow(request: Request) -> Response:
        return PlainTextResponse(str(sum([len(chunk) async for chunk in request.stream()])))

    app = Starlette(routes=[Route("/{path:path}", swallow, methods=["POST"])])
    problems.install(app)
    streamed = Streamed(body=2 * BODY_LIMIT, held=200_000)
    client = TestClient(Limits(app, held=300_000, streamed=lambda path: streamed if path == "/mail" else None))
    for _ in range(3):
        assert client.post("/mail", content=(b"x" * 65536 for _ in range(20))).text == str(20 * 65536)
    assert client.post("/mail", content=(b"x" * 65536 for _ in range(40))).status_code == 413
    assert client.post("/other", content=(b"x" * 65536 for _ in range(6))).status_code == 503


def test_a_body_limit_also_holds_inside_fastapi() -> None:
    app = FastAPI()
    problems.install(app)

    @app.post("/orders")
    async def place(order: dict[str, str]) -> int:
        return len(order)

    client = TestClient(Limits(app, body=100))
    assert client.post("/orders", content=iter([b'{"a":"', b"x" * 200, b'"}'])).status_code == 413


def test_headers_that_are_too_large_are_431() -> None:
    client = _echo()
    assert client.post("/x", headers={"x-large": "x" * 17_000}).status_code == 431
    assert client.post("/x", headers={"x-fair": "x" * 10_000}).status_code == 200


@pytest.mark.parametrize("depth", [1, 63, 64])
def test_json_up_to_the_depth_limit_passes(depth: int) -> None:
    check_depth(b"[" * depth + b"]" * depth)
    check_depth(b'{"a":' * depth + b"1" + b"}" * depth)


@pytest.mark.parametrize("depth", [65, 10_000, 500_000])
def test_json_beyond_it_is_refused_however_deep(depth: int) -> None:
    with pytest.raises(TooDeep, match="64"):
        check_depth(b"[" * depth)
    with pytest.raises(TooDeep):
        check_depth(b'{"a":' * depth)


def test_brackets_in_strings_and_beside_one_another_do_not_count() -> None:
    check_depth(json.dumps({"text": "[" * 1000 + '"' + "\\{" * 1000}).encode())
    check_depth(json.dumps([[number] for number in range(1000)]).encode())
    check_depth(b'"' + b"[" * 1000)
