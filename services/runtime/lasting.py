"""Tasks that run as long as their service. One that ends by an error nobody expected must not leave it half alive."""

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Fallen(Exception):
    """A task has ended that should have lasted; the message names it."""


fallen: ContextVar["asyncio.Future[None] | None"] = ContextVar(
    "where a service hears of tasks that ended", default=None
)
"""Set by the service before its components start; they, and all that these start later, inherit it."""


def lasting(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Start a task that runs until it is told to end. When it ends by an error instead, its service ends, too.

    A service without one of its parts looks alive and does nothing: started again by whoever supervises it, it works.
    """
    hears = fallen.get()
    task = asyncio.create_task(work, name=name)

    def ended(done: asyncio.Task[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is None:
            return
        _log.error("a part of the service has ended", part=name, exc_info=error)
        if hears is not None and not hears.done():
            hears.set_exception(Fallen(f"{name}: {type(error).__name__}"))

    task.add_done_callback(ended)
    return task
