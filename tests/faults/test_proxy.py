"""The proxy breaks what it is told to break, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator
from random import Random

import pytest

from tests.faults.proxy import FAIR, Proxy, Weather


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Before a server that answers each line with the same line."""
    serving: set[asyncio.Task[None] | None] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionResetError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    before = Proxy(Random(1))  # noqa: S311 - repeatable on purpose
    before.before(server.sockets[0].getsockname()[1])
    yield before
    before.close()
    server.close()
    await asyncio.gather(*(task for task in serving if task is not None))


async def connect(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client of the server by way of the proxy."""
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_in_fair_weather_everything_passes(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    writer.close()


async def test_what_is_held_comes_when_the_weather_turns(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    proxy.turn(Weather(hold=True))
    writer.write(b"hello\n")
    answer = asyncio.create_task(reader.readline())
    done, _ = await asyncio.wait({answer}, timeout=0.3)
    assert not done
    proxy.turn(FAIR)
    assert await answer == b"hello\n"
    writer.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Whatever still comes until the connection ends, in whichever way."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(100):
            got += piece
    return got


async def test_refused_connections_end_present_ones_too(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"hello\n")
    await reader.readline()
    proxy.turn(Weather(refuse=True))
    fresh_reader, fresh_writer = await connect(proxy)
    assert await rest(reader) == b""
    assert await rest(fresh_reader) == b""
    writer.close()
    fresh_writer.close()


async def test_a_cut_answer_comes_by_half(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    proxy.turn(Weather(cut=1.0))
    writer.write(b"0123456789\n")
    assert await rest(reader) in {b"", b"01234"}
    writer.close()


async def test_half_open_nobody_is_told_and_new_connections_pass(proxy: Proxy) -> None:
    reader, writer = await connect(proxy)
    writer.write(b"hello\n")
    await reader.readline()
    proxy.leave_half_open()
    writer.write(b"is anybody there\n")
    answer = asyncio.create_task(reader.readline())
    done, _ = await asyncio.wait({answer}, timeout=0.3)
    assert not done
    fresh_reader, fresh_writer = await connect(proxy)
    fresh_writer.write(b"hello\n")
    assert await fresh_reader.readline() == b"hello\n"
    answer.cancel()
    writer.close()
    fresh_writer.close()


def test_a_connection_that_comes_while_a_proxy_is_closed_is_closed_with_it() -> None:
    for _ in range(200):
        proxy = Proxy(Random(1), target=1)  # noqa: S311 - nothing is drawn here
        with socket.socket() as late:
            late.settimeout(0)
            late.connect_ex(("127.0.0.1", proxy.port))
            proxy.close()
    # pytest makes an error of what says then that it was left open
    gc.collect()
