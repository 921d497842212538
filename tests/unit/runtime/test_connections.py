"""Connections to the broker are closed by whoever gives them up; nothing is left to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import BytesIO

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v0

from services.runtime import connections

_VERSIONS, _METADATA = 18, 3
_LIMIT = 30.0  # seconds


class _Broker:
    """Says which versions it speaks and who it is; to what is not in `answering` it says nothing."""

    def __init__(self) -> None:
        self.answering = {_VERSIONS, _METADATA}
        self.member = True
        self.port = 0
        self.open = 0
        self._changed = asyncio.Condition()
        self.asked: list[int] = []

    async def until(self, seen: Callable[[], bool]) -> None:
        """Waits until `seen` holds."""
        async with asyncio.timeout(_LIMIT), self._changed:
            await self._changed.wait_for(seen)

    async def answer_all(self) -> None:
        """Answers what it has kept silent about, and everything from now on."""
        self.answering = {_VERSIONS, _METADATA}
        await self._tell()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                kind, _, number = struct.unpack(">hhi", BytesIO(await reader.readexactly(size)).read(8))
                self.asked.append(kind)
                await self._tell()
                ended = asyncio.create_task(reader.read(1))
                answered = asyncio.create_task(self.until(partial(self._answers, kind)))
                await asyncio.wait({ended, answered}, return_when=asyncio.FIRST_COMPLETED)
                if not answered.done():
                    answered.cancel()
                    await asyncio.gather(answered, return_exceptions=True)
                    break
                ended.cancel()
                await asyncio.gather(ended, return_exceptions=True)
                body = struct.pack(">i", number) + self._answer(kind)
                writer.write(struct.pack(">i", len(body)) + body)
        writer.close()
        self.open -= 1
        await self._tell()

    def _answers(self, kind: int) -> bool:
        return kind in self.answering

    def _answer(self, kind: int) -> bytes:
        if kind == _VERSIONS:
            speaks = [(_VERSIONS, 0, 0), (_METADATA, 0, 0)]
            return struct.pack(">hi", 0, len(speaks)) + b"".join(struct.pack(">hhh", *one) for one in speaks)
        brokers = [(1, "127.0.0.1", self.port)] if self.member else []
        encoded: bytes = MetadataResponse_v0(brokers, []).encode()
        return encoded

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@asynccontextmanager
async def _broker() -> AsyncIterator[_Broker]:
    broker = _Broker()
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()


def _client(broker: _Broker) -> AIOKafkaClient:
    connections.install()
    return AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{broker.port}")


@pytest.mark.parametrize("silent_about", [_VERSIONS, _METADATA], ids=["versions", "metadata"])
async def test_who_is_stopped_before_the_brokers_first_answer_closes_the_connection(silent_about: int) -> None:
    async with _broker() as broker:
        broker.answering.discard(silent_about)
        client = _client(broker)
        connecting = asyncio.create_task(client.bootstrap())
        await broker.until(lambda: silent_about in broker.asked)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await client.close()
        await broker.until(lambda: broker.open == 0)
        del connecting, client
        # Whatever is left now warns, and a warning is an error here.
        gc.collect()


async def test_a_connection_that_is_made_after_its_client_was_closed_is_closed_too() -> None:
    async with _broker() as broker:
        client = _client(broker)
        await client.bootstrap()
        await broker.until(lambda: broker.open == 0)
        broker.answering.clear()
        asking = asyncio.create_task(client.send(1, MetadataRequest([])))
        await broker.until(lambda: broker.asked.count(_VERSIONS) > 1)
        await client.close()
        await broker.answer_all()
        with suppress(KafkaError):
            await asking
        await broker.until(lambda: broker.open == 0)
        del asking, client
        gc.collect()


async def test_a_client_that_was_closed_can_connect_again() -> None:
    async with _broker() as broker:
        client = _client(broker)
        await client.bootstrap()
        await client.close()
        await client.bootstrap()
        answer = await client.send(1, MetadataRequest([]))
        assert answer.brokers == [(1, "127.0.0.1", broker.port)]
        await client.close()
        await broker.until(lambda: broker.open == 0)


async def test_a_client_is_not_connected_before_it_has_heard_of_a_broker() -> None:
    async with _broker() as broker:
        broker.member = False
        client = _client(broker)
        with pytest.raises(KafkaConnectionError, match="names no broker yet"):
            await client.bootstrap()
        await broker.until(lambda: broker.open == 0)
        broker.member = True
        await client.bootstrap()
        assert (await client.send(1, MetadataRequest([]))).brokers == [(1, "127.0.0.1", broker.port)]
        await client.close()
        await broker.until(lambda: broker.open == 0)
