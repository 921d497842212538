"""A service as one process: settings, logs, components, two HTTP servers, signals, exit code.

A service's `app.py` ends with::

    if __name__ == "__main__":
        run("accounts", AccountsSettings, build)

where `async def build(settings) -> Service` wires everything and touches neither broker nor database.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn, Protocol, TypeVar

import structlog
import uvloop
from starlette.types import ASGIApp

from services.runtime import failpoints, garbage, logs
from services.runtime.faults import Unfinished
from services.runtime.lasting import fallen
from services.runtime.limits import Limits
from services.runtime.server import Server, build_server, listen
from services.runtime.settings import RuntimeSettings, SettingsError, load

S = TypeVar("S", bound=RuntimeSettings)
EXIT_CRASHED = 1
EXIT_SETTINGS = 2
EXIT_UNFINISHED = 3
# Tables of accounts and contacts come as one body.
_API_BODY = 16 * 1024 * 1024
_COMPONENT_SECONDS = 20
_RESOURCE_SECONDS = 2
# After this the process ends, whatever it still waits for.
_END_SECONDS = 24.0
_log = structlog.get_logger(__name__)


class Component(Protocol):
    """Something that runs beside the HTTP servers: a consumer, the relay, a poller."""

    async def start(self) -> None:
        """Begin and return at once; wait in the background for what is away."""
        ...

    async def stop(self) -> None:
        """Finish or give back what is running, within 20 s; raise `Unfinished` when it could not be finished."""
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
    unfinished: list[str] = field(default_factory=list, init=False)
    """After the end: what was given back or abandoned, in words for people. Nothing is lost by it."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run everything inside the block; yields a task that ends only when a server or a lasting task dies."""
        settings = self.settings
        servers: list[tuple[Server, socket.socket]] = []
        operations = listen(settings.operations_host, settings.operations_port, "TENURE_OPERATIONS_PORT")
        self.operations_port = operations.getsockname()[1]
        servers.append((build_server(self.operations, lifespan="on"), operations))
        if self.api is not None:
            public = listen(settings.http_host, settings.http_port, "TENURE_HTTP_PORT")
            self.http_port = public.getsockname()[1]
            # An app that knows its own limits comes with them.
            api = self.api if isinstance(self.api, Limits) else Limits(self.api, body=_API_BODY)
            servers.append((build_server(api, most_connections=settings.http_connections), public))
        tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in servers]
        hears: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        fallen.set(hears)
        watch = asyncio.create_task(_any_ends([*tasks, hears]))
        try:
            for component in self.components:
                await component.start()
            garbage.settle()
            _log.info("started", http_port=self.http_port or None, operations_port=self.operations_port)
            yield watch
        finally:
            watch.cancel()
            hears.cancel()
            await self._stop([server for server, _ in servers], tasks)

    async def _stop(self, servers: Sequence[Server], tasks: Sequence[asyncio.Task[None]]) -> None:
        # The public door closes first; the operations port answers to the end.
        for server in servers[1:]:
            server.should_exit = True
        await asyncio.gather(*(self._stop_one(component) for component in self.components))
        servers[0].should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        for close in self.resources:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(close(), _RESOURCE_SECONDS)

    async def _stop_one(self, component: Component) -> None:
        name = type(component).__name__
        try:
            await asyncio.wait_for(component.stop(), _COMPONENT_SECONDS)
        except Unfinished as unfinished:
            self.unfinished.append(f"{name}: {unfinished}")
        except TimeoutError:
            self.unfinished.append(f"{name}: did not stop in time")
        except Exception as error:  # noqa: BLE001 - the others are still to be stopped
            self.unfinished.append(f"{name}: stopping failed with {type(error).__name__}")
            _log.exception("stopping a component failed", component=name)


def run(name: str, settings_type: type[S], build: Callable[[S], Awaitable[Service]]) -> NoReturn:
    """Run a service until SIGTERM or SIGINT, then exit within 25 s.

    The code is 0 when everything was finished, 1 after a crash, 2 for a wrong setting, and 3 when something was given
    back or abandoned: nothing is lost by that, the next process goes on with it.
    """
    code = 0
    try:
        settings = load(settings_type)
        logs.configure(name, settings.log_level)
        if settings.failpoints is not None:
            failpoints.arm(name, settings.failpoints)
        code = uvloop.run(_serve(settings, build))
    except SettingsError as wrong:
        sys.stderr.write(f"{name} cannot start. {wrong}\n")
        _exit(EXIT_SETTINGS)
    except Exception as error:  # noqa: BLE001 - the last frame: the log gets the traceback, the person a sentence
        _log.error("crashed", exc_info=error)
        sys.stderr.write(
            f"{name} crashed with {type(error).__name__}; the log line above says where. It can be started again.\n"
        )
        _exit(EXIT_CRASHED)
    _exit(code)


async def _serve(settings: S, build: Callable[[S], Awaitable[Service]]) -> int:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def ask(*_: object) -> None:
        _end_in_time()
        loop.call_soon_threadsafe(asked.set)

    # Python's own handlers, not the loop's: they also run while the loop is stuck in somebody's endless computation.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    service = await build(settings)
    async with service.running() as watch:
        waiting = asyncio.create_task(asked.wait())
        done, _ = await asyncio.wait({waiting, watch}, return_when=asyncio.FIRST_COMPLETED)
        _end_in_time()
        _log.info("stopping")
        waiting.cancel()
    if watch in done:
        watch.result()
    if service.unfinished:
        _log.warning("stopped, but not everything was finished", unfinished=service.unfinished)
        return EXIT_UNFINISHED
    _log.info("stopped")
    return 0


def _end_in_time() -> None:
    """End the process by force when it has not ended by itself soon enough."""
    timer = threading.Timer(_END_SECONDS, _end_now)
    timer.daemon = True
    timer.start()


def _end_now() -> None:
    _log.error("did not end in time; what it was doing is given back")
    _exit(EXIT_UNFINISHED)


def _exit(code: int) -> NoReturn:
    # Not sys.exit: a thread of a library that hangs must not keep a stopped service alive.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


async def _any_ends(tasks: Sequence[asyncio.Future[None]]) -> None:
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    message = "an HTTP server ended by itself"
    raise RuntimeError(message)
