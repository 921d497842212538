"""Whatever a mail server does while we read it: what it holds back is said and read later, and nothing is made up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contracts.events import EmailReceived, InteractionRestored, InteractionWithdrawn
from services.runtime.clock import write_moment
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.scripted_imap import ScriptedImap, serving
from tests.integration.ingest.test_mailbox import mail, source, until
from tests.integration.ingest.test_mailbox_gaps import database, eventually


@pytest.fixture
def server() -> Iterator[ScriptedImap]:
    with serving(ScriptedImap({uid: mail(uid) for uid in (1, 2, 3)})) as running:
        yield running


def configured(server: ScriptedImap, folder: Path, more: str = "") -> str:
    (folder / "imap.password").write_text("password")
    return f"""
[sources.anna]
provider = "imap"
mailbox = "anna@brightwell.example"
host = "127.0.0.1"
port = {server.port}
tls = false
username = "anna"
password_file = "imap.password"
poll_seconds = 0.2
{more}
"""


async def passes(server: ScriptedImap, number: int = 3) -> None:
    """Waits until the folder was opened so often after this moment: twice in a pass, to read and to listen."""
    begun = server.count("EXAMINE")
    async with asyncio.timeout(30):
        while server.count("EXAMINE") < begun + number:
            await asyncio.sleep(0.05)


async def value(ingest: Ingest, query: str) -> object:
    connection = await database(ingest)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_mail_that_is_shown_and_not_given_holds_the_horizon_and_is_read_as_soon_as_it_is_given(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    def withheld(command: str) -> bytes | None:
        if not command.startswith("UID FETCH"):
            return None
        return b"".join(server.given(uid, command) for uid in server.named(command) if uid != 2) + b"TAG OK done\r\n"

    server.quirk = withheld
    ingest = await start_ingest(configured(server, tmp_path))
    await until(ingest, accepted=2)
    await passes(server)
    state = await source(ingest)
    assert state["horizon"] is None
    assert state["status"] == "waiting: INBOX shows 1 mail that the server does not give; it is asked for in every pass"
    assert await value(ingest, "select missing from mailbox_cursor") == 1

    server.mails[4] = mail(4)
    await until(ingest, accepted=3)
    server.quirk = lambda _: None
    state = await until(ingest, accepted=4, status="ok")
    assert state["horizon"] is not None
    assert await value(ingest, "select missing from mailbox_cursor") == 0
    assert len({event.id for event in await ingest.events(4)}) == 4


async def test_only_what_is_known_to_be_gone_is_withdrawn_and_it_is_restored_under_its_old_number_too(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    more = 'deleted = "withdraw"\nsince = 2026-01-01\n'
    ingest = await start_ingest(configured(server, tmp_path, more))
    await until(ingest, accepted=3, status="ok")

    # A server that finds nothing for a while, although it says that there are mails.
    server.quirk = lambda command: b"* SEARCH\r\nTAG OK done\r\n" if "SEARCH" in command else None
    await passes(server)
    # One that takes a mail to be older than it was.
    server.quirk = lambda command: b"* SEARCH 2 3\r\nTAG OK done\r\n" if "SINCE" in command else None
    await passes(server)
    server.quirk = lambda _: None
    await passes(server)
    assert await value(ingest, "select count(*) from mailbox_withdrawn") == 0

    gone = server.mails.pop(2)
    await eventually(ingest, "select count(*) from mailbox_withdrawn", 1)
    server.mails[2] = gone
    await eventually(ingest, "select count(*) from mailbox_withdrawn", 0)
    events = await ingest.events(6)
    assert [type(event) for event in events if not isinstance(event, EmailReceived)] == [
        InteractionWithdrawn,
        InteractionRestored,
    ]


async def test_a_server_that_was_set_back_and_gives_numbers_a_second_time_is_read_anew(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    ingest = await start_ingest(configured(server, tmp_path))
    await until(ingest, accepted=3, status="ok")
    # One of several servers that is behind the others for a moment is not one that was set back.
    behind = [server.opened().replace(b"UIDNEXT 4", b"UIDNEXT 3") + b"TAG OK done\r\n"]
    server.quirk = lambda command: behind.pop() if command.startswith("EXAMINE") and behind else None
    server.mails, whole = {1: mail(1), 2: mail(2)}, server.mails
    async with asyncio.timeout(30):
        while behind:
            await asyncio.sleep(0.01)
    server.mails = whole
    await passes(server)
    assert (await source(ingest))["accepted"] == 3

    server.mails = {1: mail(1)}
    await passes(server, 8)
    server.mails |= {2: mail(12), 3: mail(13)}
    async with asyncio.timeout(30):
        while len(await titles(ingest)) < 5:
            await asyncio.sleep(0.2)
    read = (await source(ingest))["accepted"]
    await passes(server)
    assert (await source(ingest))["accepted"] == read


async def titles(ingest: Ingest) -> set[str]:
    """Returns what has been published; nothing where more is published meanwhile."""
    number = (await source(ingest))["accepted"]
    with contextlib.suppress(AssertionError):
        return {str(event.title) for event in await ingest.events(number)}
    return set()


async def test_a_server_that_names_idle_and_refuses_it_is_not_logged_in_to_again_and_again(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    server.quirk = lambda command: b"TAG NO not now\r\n" if command == "IDLE" else None
    slow = configured(server, tmp_path).replace("poll_seconds = 0.2", "poll_seconds = 600")
    ingest = await start_ingest(slow)
    await until(ingest, accepted=3, status="ok")
    await asyncio.sleep(2)
    assert server.count("LOGIN") <= 4


async def test_a_server_that_tells_something_whenever_we_listen_is_not_asked_without_a_pause(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    def chatty(command: str) -> bytes | None:
        return b"+ idling\r\n* 3 EXISTS\r\n" if command == "IDLE" else None

    server.quirk = chatty
    slow = configured(server, tmp_path).replace("poll_seconds = 0.2", "poll_seconds = 600")
    ingest = await start_ingest(slow)
    await until(ingest, accepted=3, status="ok")
    await asyncio.sleep(2)
    assert server.count("UID SEARCH") <= 10


async def test_a_clock_that_was_ahead_for_a_while_leaves_no_promise_behind(
    start_ingest: StartIngest, server: ScriptedImap, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    write_moment(clock, now + timedelta(days=400))
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await until(ingest, accepted=3, status="ok")

    write_moment(clock, now)

    await until(ingest, horizon="2026-03-02T12:00:00Z")
    assert await value(ingest, "select checked_at <= '2026-03-02T12:00:00Z' from mailbox_cursor") is True
