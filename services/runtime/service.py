"""A service as one process: settings, logs, components, two HTTP servers, signals, exit code.

A service's `app.py` ends with::

    if __name__ == "__main__":
        run("accounts", AccountsSettings, build)

where `async def build(settings) -> Service` wires everything and touches neither broker nor database.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, NoReturn, Protocol, TypeVar

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from services.runtime import failpoints, logs
from services.runtime.settings import RuntimeSettings, SettingsError, load

S = TypeVar("S", bound=RuntimeSettings)
EXIT_CRASHED = 1
EXIT_SETTINGS = 2
_DRAIN_SECONDS = 5
_log = structlog.get_logger(__name__)


class Component(Protocol):
    """Something that runs beside the HTTP servers: a consumer, the relay, a poller."""

    async def start(self) -> None:
        """Begin and return at once; wait in the background for what is away."""
        ...

    async def stop(self) -> None:
        """Finish or give back what is running, within 20 s."""
        ...


@dataclass(slots=True)
class Service:
    """One service, wired. Components start in order and stop together; `resources` (pools …) close last, in order."""

    name: str
    settings: RuntimeSettings
    operations: ASGIApp
    api: ASGIApp | None = None
    components: Sequence[Component] = ()
    resources: Sequence[Callable[[], Awaitable[None]]] = ()
    http_port: int = field(default=0, init=False)
    operations_port: int = field(default=0, init=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run everything inside the block; yields a task that ends only when a server dies."""
        settings = self.settings
        servers: list[tuple[_Server, socket.socket]] = []
        operations = _listen(settings.operations_host, settings.operations_port, "TENURE_OPERATIONS_PORT")
        self.operations_port = operations.getsockname()[1]
        servers.append((_server(self.operations, lifespan="on"), operations))
        if self.api is not None:
            public = _listen(settings.http_host, settings.http_port, "TENURE_HTTP_PORT")
            self.http_port = public.getsockname()[1]
            servers.append((_server(self.api), public))
        tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
        watch = asyncio.create_task(_any_ends(tasks))
        try:
            for component in self.components:
                await component.start()
            # What was built until now stays: later collections need not look at it again.
            gc.collect()
            gc.freeze()
            _log.info("started", http_port=self.http_port or None, operations_port=self.operations_port)
            yield watch
        finally:
            watch.cancel()
            await self._stop([server for server, _ in servers], tasks)

    async def _stop(self, servers: Sequence["_Server"], tasks: Sequence[asyncio.Task[None]]) -> None:
        # The public door closes first; the operations port answers to the end.
        for server in servers[1:]:
            server.should_exit = True
        failures = await asyncio.gather(*(component.stop() for component in self.components), return_exceptions=True)
        for failure in failures:
            if isinstance(failure, BaseException):
                _log.error("stopping a component failed", error=type(failure).__name__, exc_info=failure)
        servers[0].should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        for close in self.resources:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(close(), _DRAIN_SECONDS)


def run(name: str, settings_type: type[S], build: Callable[[S], Awaitable[Service]]) -> NoReturn:
    """Run a service until SIGTERM or SIGINT, then exit: 0, 2 for a wrong setting, 1 when it crashed."""
    try:
        settings = load(settings_type)
        logs.configure(name, settings.log_level)
        if settings.failpoints is not None:
            failpoints.arm(name, settings.failpoints)
        uvloop.run(_serve(settings, build))
    except SettingsError as wrong:
        sys.stderr.write(f"{name} cannot start. {wrong}\n")
        _exit(EXIT_SETTINGS)
    except Exception as error:  # noqa: BLE001 - the last frame: the log gets the traceback, the person a sentence
        _log.error("crashed", exc_info=error)
        sys.stderr.write(
            f"{name} crashed with {type(error).__name__}; the log line above says where. It can be started again.\n"
        )
        _exit(EXIT_CRASHED)
    _exit(0)


async def _serve(settings: S, build: Callable[[S], Awaitable[Service]]) -> None:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    service = await build(settings)
    async with service.running() as watch:
        waiting = asyncio.create_task(asked.wait())
        done, _ = await asyncio.wait({waiting, watch}, return_when=asyncio.FIRST_COMPLETED)
        _log.info("stopping")
        waiting.cancel()
    if watch in done:
        watch.result()


def _exit(code: int) -> NoReturn:
    # Not sys.exit: a thread of a library that hangs must not keep a stopped service alive.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the service decides in which order things stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, lifespan: Literal["on", "off"] = "off") -> _Server:
    config = uvicorn.Config(
        app,
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http="httptools",
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    return _Server(config)


def _listen(host: str, port: int, name: str) -> socket.socket:
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


async def _any_ends(tasks: Sequence[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    message = "an HTTP server ended by itself"
    raise RuntimeError(message)
