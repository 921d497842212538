"""uvicorn, as our services run it: without its signal handlers, and with bounds that slow or many clients run into.

A connection that keeps us waiting is closed: 10 s for the head of a request, 15 s for its body and a second more for
each 50 kB that came, 30 s in which nothing of an answer is taken. Where there are as many connections as allowed, a new
one takes the place of the one that has kept us waiting longest; one that is being served is never closed for that. So
whoever sends whole requests is served, whatever slow clients do.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.runtime.settings import SettingsError

HEAD_SECONDS = 10.0
BODY_SECONDS = 15.0
BODY_BYTES_A_SECOND = 50_000
TAKE_SECONDS = 30.0
DRAIN_SECONDS = 5
_LOOK_SECONDS = 1.0
# Nobody is slow who connected just now.
_PATIENCE_SECONDS = 0.5
_FULL_BODY = b'{"title":"Too many connections","status":503,"detail":"All are in use; try again soon."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-type: application/problem+json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_FULL_BODY), _FULL_BODY)
)
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """One connection, which knows since when it waits for its client."""

    waiting_since: float | None = None
    patience = HEAD_SECONDS
    answering = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take the connection, in the place of the slowest client's where there are too many."""
        super().connection_made(transport)
        self._wait(HEAD_SECONDS)
        most = getattr(self.config, "most_connections", None)
        if most is not None and len(self.connections) > most and not self._displace_slowest():
            self.waiting_since = None
            transport.write(_FULL)
            transport.close()

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of the head."""
        super().on_message_begin()
        self._wait(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        self._wait(BODY_SECONDS)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Grant a large body more time, as long as it comes."""
        self.patience += len(body) / BODY_BYTES_A_SECOND
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is our turn."""
        self.waiting_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request; how long, uvicorn counts itself."""
        if self.waiting_since is None and not self.pipeline:
            self._wait(float(self.timeout_keep_alive) + HEAD_SECONDS)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to take what is written."""
        self.answering = True
        self._wait(TAKE_SECONDS)
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client takes its answer."""
        self.answering = False
        self.waiting_since = None
        super().resume_writing()

    def end_if_slow(self, now: float) -> None:
        """Close when the client has kept us waiting for too long."""
        if self.waiting_since is None or now - self.waiting_since < self.patience:
            return
        if self.answering or getattr(self.cycle, "response_started", False):
            self.transport.abort()
        else:
            self.transport.write(_TIMED_OUT)
            self.transport.close()
        self.waiting_since = None

    def _wait(self, seconds: float) -> None:
        self.waiting_since = self.loop.time()
        self.patience = seconds

    def _displace_slowest(self) -> bool:
        latest = self.loop.time() - _PATIENCE_SECONDS
        slow = [
            (one.waiting_since, one)
            for one in self.connections
            if isinstance(one, BoundedProtocol) and one.waiting_since is not None and one.waiting_since < latest
        ]
        if not slow:
            return False
        _, slowest = min(slow, key=lambda pair: pair[0])
        slowest.waiting_since = None
        slowest.transport.abort()
        return True


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service decides in which order things stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        watching = asyncio.create_task(self._end_slow_ones(), name="slow clients")
        try:
            await super().serve(sockets)
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _end_slow_ones(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.end_if_slow(now())


class _Config(uvicorn.Config):
    most_connections: int | None = None


def build_server(
    app: ASGIApp, *, lifespan: Literal["on", "off"] = "off", most_connections: int | None = None
) -> Server:
    """Return a server of `app`; it listens where `serve` is told."""
    options: dict[str, Any] = {"http": BoundedProtocol, "ws": "none"}
    config = _Config(
        app,
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        **options,
    )
    config.most_connections = most_connections
    return Server(config)


def listen(host: str, port: int, name: str) -> socket.socket:
    """Bind a port; raise `SettingsError` naming the setting `name` when that is impossible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as taken:
        listener.close()
        message = f"{name}: {host}:{port} cannot be used ({taken.strerror}); choose another port or stop what uses it."
        raise SettingsError(message) from None
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
