"""A small HTTP client that costs less than what it measures: requests are ready-made bytes, answers are barely read.

Closed loop: each connection sends its next request when the last one is answered. Open loop: requests are due at fixed
moments, and a latency begins when its request was due, whether or not a connection was free then.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
_PATIENCE = 120.0  # seconds for a whole run
_WARM_UP = 10  # the first tenth does not count


@dataclass(slots=True)
class Answers:
    """What came back: how often each status, and the first body that did not say 2xx."""

    statuses: Counter[int] = field(default_factory=Counter)
    refusal: str = ""

    def note(self, status: int, body: bytes) -> None:
        """Counts one answer."""
        self.statuses[status] += 1
        if not 200 <= status < 300 and not self.refusal:
            self.refusal = f"{status} {body[:300].decode(errors='replace')}"


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._due = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one without saying so
        self._run.free(self)

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head = received.find(_HEAD_END)
        if head < 0:
            self._received = received
            return
        found = _LENGTH.search(received, 0, head + 2)
        end = head + len(_HEAD_END) + (int(found[1]) if found else 0)
        if len(received) < end:
            self._received = received
            return
        self._received = b""
        self._run.answered(int(received[9:12]), received[head + 4 : end], self._due)
        self._run.free(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._run.lost()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Run:
    """Hands requests to connections; `pause` None: as fast as they are answered, else seconds between two of them."""

    def __init__(self, requests: Sequence[bytes], pause: float | None) -> None:
        self._waiting = deque(requests)
        self._left = len(requests)
        self._pause = pause
        self._idle: deque[_Connection] = deque()
        self._due: deque[float] = deque()
        self._warm = self._left - max(1, self._left // _WARM_UP)
        self._warm_at = 0.0
        self.began = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answers = Answers()
        self.latencies: list[float] = []
        self.per_second = 0.0

    def free(self, connection: _Connection) -> None:
        if self._pause is None:
            if self._waiting:
                connection.send(self._waiting.popleft(), time.perf_counter())
        elif self._due:
            connection.send(self._waiting.popleft(), self._due.popleft())
        else:
            self._idle.append(connection)

    def due(self, moment: float) -> None:
        if self._idle:
            self._idle.popleft().send(self._waiting.popleft(), moment)
        else:
            self._due.append(moment)

    def answered(self, status: int, body: bytes, due: float) -> None:
        now = time.perf_counter()
        self.answers.note(status, body)
        self._left -= 1
        if self._left == self._warm:
            self._warm_at = now
        elif self._left < self._warm:
            self.latencies.append(now - due)
        if self._left == 0:
            self.per_second = self._warm / (now - self._warm_at)
            self.done.set_result(None)

    def lost(self) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the server closed a connection before everything was answered"))

    async def keep_time(self, count: int) -> None:
        assert self._pause is not None
        self.began = time.perf_counter()
        for number in range(count):
            moment = self.began + number * self._pause
            if (ahead := moment - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            self.due(moment)


async def saturate(port: int, requests: Sequence[bytes], connections: int) -> tuple[float, Answers]:
    """Answers a second with all connections busy, and what was answered."""
    run = _Run(requests, None)
    await _drive(run, port, connections)
    return run.per_second, run.answers


@dataclass(frozen=True, slots=True)
class Steady:
    """What came of an open loop. Request n was due at `began` + n / rate, by `time.perf_counter`."""

    latencies: Sequence[float]
    """Seconds from the moment that each request was due until its answer, sorted; the first tenth does not count."""
    answers: Answers
    began: float


async def steady(port: int, requests: Sequence[bytes], per_second: float, connections: int) -> Steady:
    """Sends each request when it is due, as soon as a connection is free."""
    run = _Run(requests, 1 / per_second)
    await _drive(run, port, connections, timed=len(requests))
    return Steady(sorted(run.latencies), run.answers, run.began)


async def _drive(run: _Run, port: int, connections: int, timed: int = 0) -> None:
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port) for _ in range(connections)]
    timer = asyncio.create_task(run.keep_time(timed)) if timed else None
    try:
        async with asyncio.timeout(_PATIENCE):
            await run.done
    finally:
        if timer is not None:
            timer.cancel()
        for _, connection in opened:
            connection.close()
