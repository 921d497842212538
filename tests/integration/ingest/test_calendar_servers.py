"""Whatever a calendar server leaves out of an answer: no meeting is lost by it, and none is called off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from services.runtime.clock import write_moment
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.scripted_caldav import PATH, ScriptedCaldav, serving, status_of
from tests.integration.ingest.test_mailbox import source
from tests.integration.ingest.test_planned_meetings import NOON, drained, held, invitation

HOUR = timedelta(hours=1)


def entry(uid: str, times: str) -> str:
    return invitation(uid, times).replace("\r\n", "\n")


@pytest.fixture
def server() -> Iterator[ScriptedCaldav]:
    entries = {f"{uid}@acme.ics": entry(uid, "DTSTART:20260301T130000Z") for uid in ("one", "two", "three")}
    with serving(ScriptedCaldav(entries)) as running:
        yield running


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    file = tmp_path / "clock"
    write_moment(file, NOON)
    return file


def configured(server: ScriptedCaldav, folder: Path) -> str:
    (folder / "caldav.password").write_text("password")
    return (
        f'[sources.calendar]\nprovider = "caldav"\nurl = "{server.url}"\nusername = "anna"\n'
        'password_file = "caldav.password"\nmailbox = "anna@brightwell.example"\npoll_seconds = 0.2\n'
        '[[privacy]]\nname = "private"\nsensitivity = ["private"]\n'
    )


async def status(ingest: Ingest, beginning: str) -> None:
    async with asyncio.timeout(30):
        while not (await source(ingest, "calendar"))["status"].startswith(beginning):
            await asyncio.sleep(0.05)


async def test_an_entry_that_is_listed_and_not_given_holds_the_horizon_and_is_read_as_soon_as_it_is_given(
    start_ingest: StartIngest, server: ScriptedCaldav, clock: Path, tmp_path: Path
) -> None:
    server.given = lambda name: {"one@acme.ics": "500 Internal Server Error", "two@acme.ics": ""}.get(name, "200 OK")
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await status(ingest, "waiting: the server lists 2 entries that it does not give")
    assert (await source(ingest, "calendar"))["horizon"] is None

    server.given = lambda _: "200 OK"
    await drained(ingest, planned=3)
    write_moment(clock, NOON + 2 * HOUR)
    await drained(ingest, planned=0)
    assert [title for title, _ in held(await ingest.events(3))] == ["one", "three", "two"]


async def test_no_answer_that_leaves_something_out_calls_a_meeting_off(
    start_ingest: StartIngest, server: ScriptedCaldav, clock: Path, tmp_path: Path
) -> None:
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await drained(ingest, planned=3)

    # A list that ends early, and says so.
    server.listed, server.in_list = lambda name: name == "one@acme.ics", status_of(PATH, "507 Insufficient Storage")
    server.state = "2"
    await status(ingest, "broken")
    # One that does not say so: the rest can be had all the same.
    server.in_list, server.state = "", "3"
    await asyncio.sleep(3)
    await status(ingest, "broken")
    # One that can say nothing of an entry.
    server.listed, server.in_list = (
        lambda name: name == "one@acme.ics",
        "".join(status_of(PATH + quote(f"{name}@acme.ics"), "500 Internal Server Error") for name in ("two", "three")),
    )
    server.state = "4"
    await status(ingest, "ok")
    assert (await drained(ingest))["parts"]["meetings"]["planned"] == 3

    server.listed, server.in_list = lambda _: True, ""
    del server.entries["two@acme.ics"]
    server.state = "5"
    await drained(ingest, planned=2)
    write_moment(clock, NOON + 2 * HOUR)
    await drained(ingest, planned=0)
    assert [title for title, _ in held(await ingest.events(2))] == ["one", "three"]


async def test_servers_without_etags_and_with_their_own_way_of_writing_paths_are_read_as_others(
    start_ingest: StartIngest, server: ScriptedCaldav, clock: Path, tmp_path: Path
) -> None:
    server.etags = False
    server.given_as = lambda name: f"http://127.0.0.1:{server.port}{PATH}{name}"
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await drained(ingest, planned=3)
    server.etags = True
    server.given_as = lambda name: PATH + name
    for state, asked in (("2", 6), ("3", 6)):
        server.state = state
        write_moment(clock, NOON + int(state) * HOUR / 10)
        assert (await drained(ingest))["parts"]["meetings"]["planned"] == 3
        # Read once without an ETag and once with it, and then known by it.
        assert len(server.asked) == asked


async def test_a_source_that_is_given_another_calendar_calls_off_what_only_the_first_one_said(
    start_ingest: StartIngest, server: ScriptedCaldav, clock: Path, tmp_path: Path
) -> None:
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await drained(ingest, planned=3)
    await ingest.stop()
    # The server gives entries of its other calendars, too, when they are asked for by name.
    server.path = "/dav/anna/others/"
    server.given_as = lambda name: (server.path if name in server.entries else PATH) + quote(name)
    server.elsewhere = dict(server.entries)
    server.entries, server.state = {"four.ics": entry("four", "DTSTART:20260301T130000Z")}, "2"
    again = await start_ingest(
        configured(server, tmp_path), clock=f"file:{clock}", database_url=ingest.settings.database_url
    )
    write_moment(clock, NOON + HOUR / 2)
    await drained(again, planned=1)


async def test_an_entry_calls_off_what_it_speaks_of_no_more(
    start_ingest: StartIngest, server: ScriptedCaldav, clock: Path, tmp_path: Path
) -> None:
    server.put("yearly@acme.ics", entry("yearly", "DTSTART:20250601T130000Z\r\nRRULE:FREQ=YEARLY"))
    ingest = await start_ingest(configured(server, tmp_path), clock=f"file:{clock}")
    await drained(ingest, planned=3)

    # One becomes private, one speaks of another meeting, and one is deleted whose next meeting lies far ahead.
    server.put("one@acme.ics", entry("one", "DTSTART:20260301T130000Z\r\nCLASS:PRIVATE"))
    server.put("two@acme.ics", entry("other", "DTSTART:20260301T133000Z"))
    del server.entries["yearly@acme.ics"]
    server.state = "2"
    await drained(ingest, planned=2)
    write_moment(clock, NOON + timedelta(days=100))
    await drained(ingest, planned=0)
    assert [title for title, _ in held(await ingest.events(2))] == ["other", "three"]
