"""Statements that run while we compute: one at a time, in order, and no error is lost."""

import asyncio

import pytest

from services.runtime.overlap import Ahead


class Server:
    """Notes what runs on it; `gate` holds a statement up."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.gate = asyncio.Event()

    async def run(self, name: str, error: Exception | None = None) -> None:
        """One statement."""
        self.seen.append(f"{name} begins")
        await self.gate.wait()
        self.seen.append(f"{name} ends")
        if error is not None:
            raise error


async def test_a_statement_runs_while_the_caller_goes_on_and_the_next_one_waits_for_it() -> None:
    server = Server()
    async with Ahead() as ahead:
        await ahead.send(server.run("first"))
        server.seen.append("computed")
        server.gate.set()
        await ahead.send(server.run("second"))
    assert server.seen == ["first begins", "computed", "first ends", "second begins", "second ends"]


async def test_an_error_comes_with_the_next_statement_which_does_not_run() -> None:
    server = Server()
    server.gate.set()

    async def work() -> None:
        async with Ahead() as ahead:
            await ahead.send(server.run("first", ValueError("no")))
            await ahead.send(server.run("second"))

    with pytest.raises(ValueError, match="no"):
        await work()
    assert server.seen == ["first begins", "first ends"]


async def test_the_last_statements_error_comes_at_the_end() -> None:
    server = Server()
    server.gate.set()
    with pytest.raises(ValueError, match="no"):
        async with Ahead() as ahead:
            await ahead.send(server.run("only", ValueError("no")))


async def test_an_error_of_the_caller_cancels_what_runs_and_stays_the_one_that_is_told() -> None:
    server = Server()

    async def work() -> None:
        async with Ahead() as ahead:
            await ahead.send(server.run("first", ValueError("theirs")))
            raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await work()
    assert server.seen == ["first begins"]


async def test_who_is_cancelled_cancels_what_runs() -> None:
    server = Server()

    async def work() -> None:
        async with Ahead() as ahead:
            await ahead.send(server.run("first"))
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    while not server.seen:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.seen == ["first begins"]
