"""Many and slow clients: each is bounded, and whoever sends whole requests is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.runtime import server
from services.runtime.limits import Limits
from services.runtime.server import Server, build_server, listen

MOST = 8
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _echo(request: Request) -> Response:
    return JSONResponse({"bytes": len(await request.body())})


async def _much(_request: Request) -> Response:
    return Response(b"x" * 16_000_000)


@asynccontextmanager
async def _serving(held: int = 1_000_000) -> AsyncIterator[tuple[int, Server]]:
    app = Limits(Starlette(routes=[Route("/", _echo, methods=["POST"]), Route("/much", _much)]), held=held)
    running = build_server(app, most_connections=MOST)
    listener = listen("127.0.0.1", 0, "PORT")
    port: int = listener.getsockname()[1]
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        while not running.started:
            await asyncio.sleep(0.01)
        yield port, running
    finally:
        running.should_exit = True
        await task


async def _connect(port: int, first: bytes) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    await writer.drain()
    return reader, writer


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of the answer; 0 when the connection ended without one."""
    try:
        line = await asyncio.wait_for(reader.readline(), 60)
    except ConnectionError:
        return 0
    return int(line.split()[1]) if line else 0


async def _request(port: int, body: bytes = b"{}") -> int:
    head = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    reader, writer = await _connect(port, head + body)
    status = await _status(reader)
    writer.close()
    return status


SLOW_HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n"
SLOW_BODY = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{"


async def test_with_every_connection_held_by_slow_clients_whole_requests_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_PATIENCE_SECONDS", 0.0)
    async with _serving() as (port, _):
        slow = [await _connect(port, (SLOW_HEAD, SLOW_BODY, b"")[n % 3]) for n in range(3 * MOST)]
        assert [await _request(port) for _ in range(3 * MOST)] == [200] * 3 * MOST
        for _, writer in slow:
            writer.close()


async def test_who_connected_just_now_is_not_pushed_out_and_the_next_is_told_to_come_again() -> None:
    async with _serving() as (port, _):
        clients = [await _connect(port, SLOW_HEAD) for _ in range(MOST)]
        assert await _request(port) == 503
        for reader, writer in clients:
            writer.write(b"connection: close\r\ncontent-length: 0\r\n\r\n")
            assert await _status(reader) == 200
            writer.close()


@pytest.mark.parametrize(
    ("bound", "begun"), [("HEAD_SECONDS", SLOW_HEAD), ("HEAD_SECONDS", b""), ("BODY_SECONDS", SLOW_BODY)]
)
async def test_a_request_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch, bound: str, begun: bytes) -> None:
    monkeypatch.setattr(server, bound, 0.1)
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.05)
    async with _serving() as (port, _):
        reader, writer = await _connect(port, begun)
        assert await _status(reader) == 408
        writer.close()


async def test_who_never_takes_the_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TAKE_SECONDS", 0.1)
    monkeypatch.setattr(server, "_LOOK_SECONDS", 0.05)
    async with _serving() as (port, running):
        reader, writer = await _connect(port, b"GET /much HTTP/1.1\r\nhost: a\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's transport
        async with asyncio.timeout(60):
            while running.server_state.total_requests == 0 or running.server_state.connections:
                await asyncio.sleep(0.01)
        writer.transport.resume_reading()  # type: ignore[attr-defined]  # see above
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(16_000_000)
        writer.close()


async def test_bodies_that_are_received_at_the_same_time_are_bounded_together() -> None:
    async with _serving(held=100_000) as (port, _):
        begun = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 90001\r\n\r\n" + b"x" * 90_000
        waiting = await _connect(port, begun)

        async def refused() -> bool:
            return await _request(port, b"y" * 20_000) == 503

        async with asyncio.timeout(60):
            while not await refused():
                await asyncio.sleep(0.01)
        waiting[1].write(b"x")
        assert await _status(waiting[0]) == 200
        waiting[1].close()
        async with asyncio.timeout(60):
            while await refused():
                await asyncio.sleep(0.01)
