"""Mailboxes over IMAP, on a real server: nothing is lost, nothing doubles, and we know up to when we have looked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.events import EmailReceived
from deploy.local.imap import LocalImap
from tests.integration.ingest.conftest import Ingest, StartIngest

PASSWORD = "imap-password"


def mail(number: int, *, sender: str = "bob@acme.example") -> bytes:
    return (
        f"Received: from mx.acme.example by mx.brightwell.example; Mon, 2 Mar 2026 09:{number:02}:05 +0100\r\n"
        f"From: Bob <{sender}>\r\nTo: anna@brightwell.example\r\nSubject: Offer {number}\r\n"
        f"Date: Mon, 2 Mar 2026 09:{number:02}:00 +0100\r\nMessage-ID: <{number}@acme.example>\r\n\r\nMail {number}\r\n"
    ).encode()


@pytest.fixture
def imap(tmp_path: Path) -> Iterator[LocalImap]:
    server = LocalImap(tmp_path / "imap", "anna", PASSWORD)
    server.start()
    yield server
    server.stop()


def configured(imap: LocalImap, folder: Path) -> str:
    (folder / "imap.password").write_text(PASSWORD)
    return f"""
[sources.anna]
provider = "imap"
mailbox = "anna@brightwell.example"
host = "127.0.0.1"
port = {imap.port}
tls = false
username = "anna"
password_file = "imap.password"
poll_seconds = 0.2
"""


async def source(ingest: Ingest, name: str = "anna") -> dict[str, Any]:
    body = (await ingest.operations.get("/flow")).json()
    return dict(body["parts"]["sources"][name])


async def until(ingest: Ingest, **wanted: object) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            state = await source(ingest)
            if all(state[name] == value for name, value in wanted.items()):
                return state
            await asyncio.sleep(0.1)


async def test_new_mail_is_published_once_and_the_horizon_moves(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    imap.deliver(mail(2))
    ingest = await start_ingest(configured(imap, tmp_path))
    await until(ingest, accepted=2, status="ok")
    imap.deliver(mail(3))

    state = await until(ingest, accepted=3)

    events = await ingest.events(3)
    assert {event.title for event in events} == {"Offer 1", "Offer 2", "Offer 3"}
    assert all(isinstance(event, EmailReceived) and event.mailbox == "anna@brightwell.example" for event in events)
    assert state["polled"] is True
    before = state["horizon"]
    async with asyncio.timeout(30):
        while (await source(ingest))["horizon"] == before:
            await asyncio.sleep(0.1)


async def test_a_mailbox_made_anew_is_read_again_under_the_same_ids(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    ingest = await start_ingest(configured(imap, tmp_path))
    await until(ingest, accepted=1)

    imap.stop()
    imap.start()
    imap.deliver(mail(1))
    await until(ingest, accepted=2, status="ok")

    first, second = await ingest.events(2)
    assert first.id == second.id
    assert first.revision == second.revision


async def test_a_mailbox_that_is_away_is_reported_as_itself_and_read_when_it_comes_back(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    ingest = await start_ingest(configured(imap, tmp_path))
    good = await until(ingest, status="ok")
    imap.stop()
    async with asyncio.timeout(30):
        while not (broken := await source(ingest))["status"].startswith("broken"):
            await asyncio.sleep(0.1)
    assert broken["horizon"] >= good["horizon"]

    imap.start()
    imap.deliver(mail(7))
    await until(ingest, accepted=1, status="ok")


async def test_a_mail_that_nobody_sent_is_kept_raw_and_does_not_stop_the_next(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(b"Subject: who?\r\n\r\nnobody\r\n")
    imap.deliver(mail(2))
    ingest = await start_ingest(configured(imap, tmp_path))

    await until(ingest, accepted=1, unmapped=1)

    values = [record.value for record in await ingest.published(2)]
    assert b"Subject: who?\r\n\r\nnobody\r\n" in values


async def test_a_service_started_again_goes_on_where_the_cursor_stands(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    before = await start_ingest(configured(imap, tmp_path))
    await until(before, accepted=1, status="ok")
    await before.stop()
    imap.deliver(mail(2))

    after = await start_ingest(configured(imap, tmp_path), database_url=before.settings.database_url)

    await until(after, accepted=2)
    assert sorted(str(event.title) for event in await after.events(2)) == ["Offer 1", "Offer 2"]
