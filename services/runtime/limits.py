"""What an HTTP server refuses before it reads on: bodies, headers and JSON that are too large or too deep."""

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.runtime.problems import Problem

BODY_LIMIT = 1024 * 1024
HEADER_LIMIT = 16 * 1024
DEPTH_LIMIT = 64
HELD_LIMIT = 128 * 1024 * 1024
"""Bytes of bodies that are being read or served at the same time, over all connections."""
_SMALL = 16 * 1024
"""Bytes of a body that counts as held as soon as it is announced: nobody need look at each part of it."""

_OPENING = (b"{", b"[")
_BRACKETS = re.compile(rb"[\[\]{}]")
# Possessive: a string that never ends is looked at once. It takes what follows with it, which no parser would accept.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)


class TooDeep(ValueError):
    """JSON is nested deeper than the limit."""


def check_depth(body: bytes, limit: int = DEPTH_LIMIT) -> None:
    """Raise `TooDeep` when the JSON in `body` nests deeper than `limit`, without parsing it.

    Cheap for ordinary documents: one that has no more than `limit` opening brackets cannot be too deep.
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in _OPENING else -1
        if depth > limit:
            message = f"JSON is nested deeper than {limit} levels"
            raise TooDeep(message)


class Streamed(NamedTuple):
    """The limits of a route that reads a body without holding it."""

    body: int
    """Bytes that may come."""
    held: int
    """Bytes of them that are held at most."""


def _not_streamed(_path: str) -> Streamed | None:
    return None


class Limits:
    """ASGI middleware that answers 413 or 431 before the application sees too much, and 503 before we hold too much.

    `routes` gives paths (prefixes) a body limit of their own, such as an import endpoint; `streamed` says of a path
    whether bodies pass through it without being held.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body: int = BODY_LIMIT,
        headers: int = HEADER_LIMIT,
        held: int = HELD_LIMIT,
        routes: Mapping[str, int] = MappingProxyType({}),
        streamed: Callable[[str], Streamed | None] = _not_streamed,
    ) -> None:
        self._app = app
        self._body = body
        self._headers = headers
        self._most_held = held
        self._held = 0
        self._routes = sorted(routes.items(), key=lambda route: -len(route[0]))
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, declared, announced = _sizes(scope["headers"])
        if size > self._headers:
            too_large = Problem(
                431,
                "Headers too large",
                f"All headers together must stay below {self._headers} bytes.",
                "headers-too-large",
            )
            await too_large.response()(scope, receive, send)
            return
        streamed = self._streamed(scope["path"])
        limit = self._limit(scope["path"]) if streamed is None else streamed.body
        most_of_mine = limit if streamed is None else streamed.held
        if announced and declared <= min(_SMALL, limit) and self._held + declared <= self._most_held:
            await self._pass_small(declared, scope, receive, send)
            return
        detail = f"The body must not exceed {limit} bytes."
        if declared > limit:
            await Problem(413, "Body too large", detail, "body-too-large").response()(scope, receive, send)
            return
        mine = held_of_mine = 0

        async def counted() -> Message:
            nonlocal mine, held_of_mine
            message = await receive()
            size = len(message.get("body", b""))
            mine += size
            added = min(mine, most_of_mine) - held_of_mine if streamed is not None else size
            held_of_mine += added
            self._held += added
            # FastAPI turns anything but an HTTPException raised while it reads a body into a 400.
            if mine > limit:
                raise HTTPException(413, detail)
            if self._held > self._most_held:
                raise HTTPException(503, "Too much is being received at once; send it again.", {"Retry-After": "1"})
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            self._held -= held_of_mine

    async def _pass_small(self, declared: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a small body of announced size: the server sees to it that no more comes."""
        self._held += declared
        try:
            await self._app(scope, receive, send)
        finally:
            self._held -= declared

    def _limit(self, path: str) -> int:
        return next((limit for prefix, limit in self._routes if path.startswith(prefix)), self._body)


def _sizes(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, int, bool]:
    """Return the bytes of all headers, those that the body declares, and whether no more than these can come."""
    size, declared, announced, chunked = 0, 0, False, False
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"content-length" and value.isdigit():
            declared, announced = int(value), True
        elif name == b"transfer-encoding":
            chunked = True
    return size, declared, announced and not chunked
