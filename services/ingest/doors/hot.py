"""The doors that thousands knock at each second, as bare ASGI: a web framework would cost as much as all the rest.

What is behind them sees lower-case headers and the whole body, and returns an answer or raises `Problem`.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingest.doors.bodies import UnreadableForm
from services.ingest.doors.requests import bad_form
from services.ingest.doors.trimming import MOST_HELD, TooMuch, Trimmer
from services.runtime.limits import BODY_LIMIT
from services.runtime.problems import CONTENT_TYPE, Problem

_BODY_TOO_LARGE = "body-too-large"
_log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What a door answers, as JSON."""

    content: Mapping[str, Any]
    status: int = 200


class RawAnswer(NamedTuple):
    """What a provider's handshake wants to hear, in whatever form."""

    body: bytes
    status: int
    media: str
    headers: Mapping[str, str]


class Knock(NamedTuple):
    """One request at a hot door."""

    headers: Mapping[str, str]
    """By lower-case names."""
    body: bytes
    query: bytes = b""
    path: str = ""
    scheme: str = "https"

    def address(self, public: str | None) -> str:
        """Return the address that was called; `public` is what stands before the path for those outside."""
        if public is None:
            public = f"{self.scheme}://{self.headers.get('host', '')}"
        return f"{public}{self.path}?{self.query.decode('latin-1')}" if self.query else public + self.path


Take = Callable[[str, Knock], Awaitable[Answer | RawAnswer]]
"""(what follows the route's prefix, request) → answer. Raises `Problem`."""


def _held_whole(_rest: str, _headers: Mapping[str, str]) -> Trimmer | None:
    return None


def _not_counted(_rest: str) -> None:
    return None


class Door(NamedTuple):
    """What is behind a path prefix."""

    take: Take
    trimmer: Callable[[str, Mapping[str, str]], Trimmer | None] = _held_whole
    """(what follows the prefix, lower-case headers) → what cuts the body down while it comes; None: nothing does, and
    it must be small. Raises `Problem`."""
    too_large: Callable[[str], None] = _not_counted
    """Is told what followed the prefix of a request whose body was too large to be taken in."""


class HotDoors:
    """ASGI app: POST to one of `doors`, by path prefix, goes there; everything else goes to `otherwise`."""

    def __init__(self, doors: Mapping[str, Door], otherwise: ASGIApp) -> None:
        self._doors = tuple(doors.items())
        self._otherwise = otherwise

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request. Hands on what is to be awaited: each step between costs each request its time."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            for prefix, door in self._doors:
                if path.startswith(prefix):
                    return _serve(door, path[len(prefix) :], scope, receive, send)
        return self._otherwise(scope, receive, send)


async def _serve(door: Door, rest: str, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["raw_path"].decode("latin-1")
        body = await _body(receive, headers.get("content-length", ""), door.trimmer(rest, headers))
        answer = await door.take(rest, Knock(headers, body, scope["query_string"], path, scope["scheme"]))
        if isinstance(answer, RawAnswer):
            more = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
            await _respond(send, answer.status, answer.body, answer.media.encode("latin-1"), more)
        else:
            await _respond(send, answer.status, orjson.dumps(answer.content), b"application/json")
    except Problem as problem:
        if problem.kind == _BODY_TOO_LARGE:
            door.too_large(rest)
        await _refuse(send, problem)
    except HTTPException as refused:
        # The limits of bodies, from the middleware around us.
        await _refuse(send, _limit_problem(refused))
    except Exception as error:  # noqa: BLE001 - the last frame: the log gets the traceback, the caller a sentence
        _log.exception("request failed", path=scope["path"].rpartition("/")[0], error=type(error).__name__)
        detail = "It has been logged; try again, and tell your operator if it stays."
        await _refuse(send, Problem(500, "Something failed on our side", detail, "internal"))


def _limit_problem(refused: HTTPException) -> Problem:
    detail = str(refused.detail)
    if refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return Problem(503, "Too busy", detail, "busy", headers=dict(refused.headers or {}))
    return Problem(refused.status_code, "Body too large", detail, _BODY_TOO_LARGE)


async def _body(receive: Receive, declared: str, trimmer: Trimmer | None) -> bytes:
    if trimmer is not None:
        return await _trimmed(receive, trimmer)
    # The limits around us let more through, for bodies that are cut down.
    if declared.isdigit() and int(declared[:20]) > BODY_LIMIT:
        raise _too_large()
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body = bytes(message.get("body", b""))
        if len(body) > BODY_LIMIT:
            raise _too_large()
        return body
    parts = [message.get("body", b"")]
    size = len(parts[0])
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_LIMIT:
            raise _too_large()
    if message["type"] == "http.disconnect":
        raise _incomplete()
    return b"".join(parts)


async def _trimmed(receive: Receive, trimmer: Trimmer) -> bytes:
    try:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _incomplete()
            trimmer.feed(message.get("body", b""))
            more = message.get("more_body", False)
        return trimmer.close()
    except TooMuch:
        raise _too_large(MOST_HELD) from None
    except UnreadableForm:
        raise bad_form() from None


def _too_large(limit: int = BODY_LIMIT) -> Problem:
    return Problem(413, "Body too large", f"The body must not exceed {limit} bytes.", _BODY_TOO_LARGE)


def _incomplete() -> Problem:
    return Problem(400, "Incomplete body", "The connection ended before the body did.", "incomplete")


async def _refuse(send: Send, problem: Problem) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()]
    await _respond(send, problem.status, orjson.dumps(problem.body()), CONTENT_TYPE.encode(), headers)


async def _respond(
    send: Send, status: int, body: bytes, media: bytes, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", media), *(more or ())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
