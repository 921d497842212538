"""A TCP proxy that breaks what goes through it: before Kafka and PostgreSQL, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

_CHUNK = 65_536
Side = Literal["to_server", "to_client"]


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to the bytes now. Without arguments: fair."""

    refuse: bool = False
    """New connections are reset, as by a machine on which nobody listens; present ones are reset once."""
    hold: bool = False
    """Nothing passes in either direction; when the weather turns, what was held goes on: an unreachable network."""
    delay: float = 0.0
    """Seconds that every piece takes, in each direction."""
    cut: float = 0.0
    """The chance that an answer's piece is delivered by half and both sides are reset."""


FAIR = Weather()


@dataclass(eq=False)
class _Link:
    """One client's connection and ours to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    swallow: bool = False  # half-open: both sides believe that the other one is there

    def reset(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


async def _turns() -> None:
    """Let the loop do what it has begun."""
    for _ in range(5):
        await asyncio.sleep(0)


@dataclass
class Proxy:
    """Listens on 127.0.0.1:`port` from its making on and leads to `target` (a port of 127.0.0.1) until `close`."""

    chance: Random
    target: int = 0
    port: int = field(init=False)
    weather: Weather = field(init=False, default=FAIR)

    def __post_init__(self) -> None:
        self._links: set[_Link] = set()
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._clear = asyncio.Event()
        self._clear.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="proxy")
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def before(self, target: int) -> int:
        """Lead to `target` from now on; says where to come in (for `SystemPlan.through`)."""
        self.target = target
        return self.port

    def turn(self, weather: Weather) -> None:
        """Change the weather, for present connections too."""
        self._in_loop(lambda: self._turn(weather))

    def leave_half_open(self) -> None:
        """Present connections lead nowhere from now on, and nobody is told; new ones pass."""
        self._in_loop(self._swallow)

    def reset_all(self) -> None:
        """Reset every present connection."""
        self._in_loop(self._reset_all)

    def close(self) -> None:
        """Stop listening and end all connections."""

        async def end() -> None:
            # No more is accepted; what just was needs the server still, or asyncio leaves it open.
            for listening in self._server.sockets:
                self._loop.remove_reader(listening.fileno())
            await _turns()
            self._server.close()
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                self._reset_all()
                for task, client in self._tasks.items():
                    task.cancel()
                    # One that is cancelled before it began closes nothing.
                    client.transport.abort()
                await asyncio.gather(*others, return_exceptions=True)
            await _turns()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _in_loop(self, act: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(10)

    def _turn(self, weather: Weather) -> None:
        self.weather = weather
        if weather.refuse:
            self._reset_all()
        if weather.hold:
            self._clear.clear()
        else:
            self._clear.set()

    def _swallow(self) -> None:
        for link in self._links:
            link.swallow = True

    def _reset_all(self) -> None:
        for link in list(self._links):
            link.reset()

    def _accept(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(from_client, client))
        self._tasks[task] = client
        task.add_done_callback(self._tasks.pop)

    async def _serve(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self.weather.refuse:
            client.transport.abort()
            return
        try:
            await self._clear.wait()
            from_server, server = await asyncio.open_connection("127.0.0.1", self.target)
        except (OSError, asyncio.CancelledError):
            client.transport.abort()
            return
        link = _Link(client, server)
        self._links.add(link)
        pumps = (self._pump(link, from_client, server, "to_server"), self._pump(link, from_server, client, "to_client"))
        try:
            await asyncio.gather(*pumps)
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, side: Side) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(_CHUNK):
                if self.weather.delay:
                    await asyncio.sleep(self.weather.delay)
                await self._clear.wait()
                if link.swallow:
                    continue
                if side == "to_client" and self.chance.random() < self.weather.cut:
                    sink.write(piece[: len(piece) // 2])
                    link.reset()
                    return
                sink.write(piece)
                await sink.drain()
        # An end in one direction is an end in both, after what was written; half-open nobody is told.
        if not link.swallow:
            sink.close()
