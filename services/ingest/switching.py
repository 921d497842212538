"""What changes while the service runs: the doors, at once and whole, and components that come and go with sources."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime.faults import Unfinished
from services.runtime.service import Component

C = TypeVar("C", bound=Component)
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Switch:
    """ASGI app: every request goes to the app that is set when it comes, and stays with it to its end."""

    app: ASGIApp

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve one request, when what is returned is awaited."""
        return self.app(scope, receive, send)


class Wanted(NamedTuple, Generic[C]):
    """A component that should run. While `key` stays equal the running one does, too."""

    key: object
    make: Callable[[], C]


class Pieces(Generic[C]):
    """Components by name, as many as are wanted. `running` is always the same list, with those that run."""

    def __init__(self) -> None:
        self.running: list[C] = []
        self._wanted: Mapping[str, Wanted[C]] = {}
        self._known: dict[str, tuple[object, C]] = {}
        self._changing = asyncio.Lock()

    def want(self, wanted: Mapping[str, Wanted[C]]) -> None:
        """Say what `start` shall start."""
        self._wanted = wanted

    async def start(self) -> None:
        """Start what is wanted at first."""
        await self.change(self._wanted)

    async def change(self, wanted: Mapping[str, Wanted[C]]) -> None:
        """Stop what is not wanted any more, or not as it is; then start what is missing. The rest is left alone."""
        async with self._changing:
            gone = [name for name, (key, _) in self._known.items() if name not in wanted or wanted[name].key != key]
            await asyncio.gather(*(self._end(name) for name in gone))
            for name, piece in wanted.items():
                if name not in self._known:
                    component = piece.make()
                    await _begin(component)
                    self._known[name] = (piece.key, component)
                    self.running.append(component)

    async def stop(self) -> None:
        """Stop everything; raises `Unfinished` when something could not be finished."""
        async with self._changing:
            found = await asyncio.gather(*(self._end(name) for name in list(self._known)))
        unfinished = [str(one) for one in found if one is not None]
        if unfinished:
            raise Unfinished("; ".join(unfinished))

    async def _end(self, name: str) -> Unfinished | None:
        _, component = self._known.pop(name)
        self.running.remove(component)
        try:
            await component.stop()
        except Unfinished as unfinished:
            _log.warning("what stopped for a change was not finished", component=name, why=str(unfinished))
            return unfinished
        except Exception as error:  # noqa: BLE001 - what one cannot do must keep no other from beginning
            _log.error("what should stop for a change broke", component=name, exc_info=error)
            return Unfinished(f"{name}: {type(error).__name__}")
        return None


async def _begin(component: Component) -> None:
    """Start it. What cannot start is no part of anything, and is made anew by the next change."""
    try:
        await component.start()
    except BaseException:
        with contextlib.suppress(Exception):
            await component.stop()
        raise
