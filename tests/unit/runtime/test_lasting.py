"""A part of a service that ends although it should have lasted takes the service along, so that it is started again."""

from __future__ import annotations

import asyncio

import pytest
from starlette.applications import Starlette

from services.runtime.lasting import Fallen, lasting
from services.runtime.service import Service
from services.runtime.settings import RuntimeSettings, load

GIVEN = {
    "TENURE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "TENURE_DATABASE_URL": "postgresql://worker@127.0.0.1/tenure",
    "TENURE_OPERATIONS_PORT": "0",
}


class Part:
    """Ends as it is told: by an error, by itself, or when it is stopped; or one that it starts later does."""

    def __init__(self, how: str) -> None:
        self._how = how
        self._task: asyncio.Task[None] | None = None
        self.ran = asyncio.Event()

    async def start(self) -> None:
        """Begin."""
        self._task = lasting(self._run(), name="the part")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        self.ran.set()
        if self._how == "started later":
            await lasting(self._fail(), name="what it started")
        if self._how == "fails":
            await self._fail()
        if self._how != "ends":
            await asyncio.Event().wait()

    async def _fail(self) -> None:
        await asyncio.sleep(0)
        raise KeyError("UIDNEXT")


def service(part: Part) -> Service:
    return Service("ingest", load(RuntimeSettings, GIVEN), Starlette(), components=[part])


@pytest.mark.parametrize(("how", "who"), [("fails", "the part"), ("started later", "what it started")])
async def test_a_part_that_fails_ends_the_service_which_names_it(how: str, who: str) -> None:
    async with service(Part(how)).running() as watch:
        with pytest.raises(Fallen, match=f"{who}: KeyError"):
            await asyncio.wait_for(watch, 30)


@pytest.mark.parametrize("how", ["ends", "lasts"])
async def test_a_part_that_ends_as_it_should_or_is_stopped_does_not(how: str) -> None:
    part = Part(how)
    async with service(part).running() as watch:
        await part.ran.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not watch.done()


async def test_outside_a_service_a_part_that_fails_concerns_nobody_else() -> None:
    part = Part("fails")
    await part.start()
    await part.ran.wait()
    await part.stop()
