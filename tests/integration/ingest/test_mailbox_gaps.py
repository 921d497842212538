"""A mailbox on a real server is complete: what was missed is found, what moved is one, what is broken says so."""

from __future__ import annotations

import asyncio
import imaplib
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from contracts.events import EmailReceived, InteractionRestored, InteractionWithdrawn
from deploy.local.imap import LocalImap
from services.ingest.domain.options import ImapOptions
from services.ingest.imap import FetchedMail, ImapSession
from services.runtime.postgres import register_codecs
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_mailbox import PASSWORD, configured, mail, source, until


@pytest.fixture
def imap(tmp_path: Path) -> Iterator[LocalImap]:
    server = LocalImap(tmp_path / "imap", "anna", PASSWORD)
    server.start()
    yield server
    server.stop()


def client(imap: LocalImap) -> imaplib.IMAP4:
    opened = imaplib.IMAP4("127.0.0.1", imap.port, timeout=10)
    opened.login("anna", PASSWORD)
    return opened


def move(imap: LocalImap, number: str, folder: str | None, *, out_of: str = "INBOX") -> None:
    with client(imap) as opened:
        opened.select(out_of)
        if folder is not None:
            opened.create(folder)
            opened.copy(number, folder)
        opened.store(number, "+FLAGS", r"(\Deleted)")
        opened.expunge()


async def database(ingest: Ingest) -> asyncpg.Connection:
    connection = await asyncpg.connect(ingest.settings.database_url)
    await register_codecs(connection)
    return connection


async def eventually(ingest: Ingest, query: str, wanted: object) -> None:
    connection = await database(ingest)
    try:
        async with asyncio.timeout(30):
            while await connection.fetchval(query) != wanted:
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def test_a_mail_that_was_missed_is_found_when_the_folder_is_compared_whole(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    for number in range(1, 5):
        imap.deliver(mail(number))
    imap.deliver(mail(9), "Privat")
    more = 'compare_seconds = 1\nfolder = ["INBOX", "Privat"]\n[[privacy]]\nname = "private"\nfolders = ["Privat"]\n'
    ingest = await start_ingest(configured(imap, tmp_path) + more)
    await until(ingest, accepted=4, status="ok")
    connection = await database(ingest)
    compared = await connection.fetchrow("select compared, missing from mailbox_cursor where folder = 'INBOX'")
    assert compared is not None
    assert dict(compared) == {"compared": 4, "missing": 0}

    # As if two had been passed over: a server that was rolled back, a mail that was refused for a while.
    await connection.execute(
        """
        update mailbox_cursor
        set read_uids = read_uids - int8multirange(
            int8range(lower(range_merge(read_uids)) + 1, lower(range_merge(read_uids)) + 3)
        )
        where folder = 'INBOX'
        """
    )
    await connection.close()

    await until(ingest, accepted=6)
    events = await ingest.events(6)
    assert len({event.id for event in events}) == 4


async def test_a_mail_that_moves_is_one_and_a_deleted_one_is_withdrawn_and_comes_back_where_that_is_asked_for(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    imap.deliver(mail(2))
    more = 'deleted = "withdraw"\nfolder = ["INBOX", "Projects"]\n'
    imap.deliver(mail(3), "Projects")
    ingest = await start_ingest(configured(imap, tmp_path) + more)
    await until(ingest, accepted=3, status="ok")

    move(imap, "1", "Projects")
    await until(ingest, accepted=4)
    move(imap, "1", None)
    await eventually(ingest, "select count(*) from mailbox_withdrawn", 1)
    imap.deliver(mail(2))
    await eventually(ingest, "select count(*) from mailbox_withdrawn", 0)

    events = await ingest.events(7)
    assert len({event.interaction.id for event in events}) == 3
    (withdrawn,) = [event for event in events if isinstance(event, InteractionWithdrawn)]
    (restored,) = [event for event in events if isinstance(event, InteractionRestored)]
    second = next(event for event in events if isinstance(event, EmailReceived) and event.title == "Offer 2")
    assert withdrawn.interaction == restored.interaction == second.interaction
    assert withdrawn.mailbox == "anna@brightwell.example"
    assert restored.revision.sort_key > withdrawn.revision.sort_key > second.revision.sort_key


async def test_deletions_are_kept_unless_asked_for_and_what_comes_is_heard_of_at_once(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    # The server's word, not the next poll, brings the second one within this test's patience.
    slow = configured(imap, tmp_path).replace("poll_seconds = 0.2", "poll_seconds = 600")
    ingest = await start_ingest(slow)
    await until(ingest, accepted=1, status="ok")
    await asyncio.sleep(0.5)
    move(imap, "1", None)
    imap.deliver(b"Subject: large\r\n" + mail(2) + b"x" * 76 + b"\r\n" * 600_000)

    await until(ingest, accepted=2)

    assert all(isinstance(event, EmailReceived) for event in await ingest.events(2))


async def test_a_refused_password_is_said_with_its_remedy_and_is_not_tried_again_soon(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    configuration = configured(imap, tmp_path)
    (tmp_path / "imap.password").write_text("expired")
    ingest = await start_ingest(configuration)

    async with asyncio.timeout(30):
        while not (state := await source(ingest))["status"].startswith("broken"):
            await asyncio.sleep(0.1)
    assert "imap.password" in state["status"]
    assert state["horizon"] is None
    await asyncio.sleep(1)
    assert imap.log.read_text(errors="replace").count("LOGIN") <= 2


async def test_a_folder_that_is_not_there_is_named_with_those_that_are(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    ingest = await start_ingest(configured(imap, tmp_path) + 'folder = ["Gesendet"]\n')
    async with asyncio.timeout(30):
        while not (state := await source(ingest))["status"].startswith("broken"):
            await asyncio.sleep(0.1)
    assert "'Gesendet'" in state["status"]
    assert "INBOX" in state["status"]


async def test_one_of_two_replicas_reads_a_mailbox_and_the_other_takes_over(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    first = await start_ingest(configured(imap, tmp_path))
    await until(first, status="ok")
    second = await start_ingest(configured(imap, tmp_path), database_url=first.settings.database_url)
    imap.deliver(mail(1))
    await until(second, accepted=1, status="ok")
    await first.stop()
    imap.deliver(mail(2))

    await until(second, accepted=2)

    assert len(await second.events(2)) == 2


async def test_old_mail_in_files_comes_in_once_below_what_a_mailbox_says_and_goes_on_where_it_was(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    (archive / "2025" / "cur").mkdir(parents=True)
    (archive / "2025" / "new").mkdir()
    (archive / "2025" / "cur" / "1.a:2,S").write_bytes(mail(1))
    box = archive / "old.mbox"
    box.write_bytes(b"".join(b"From bob@acme.example Mon Mar  2 09:00:00 2026\n" + mail(n) + b"\n" for n in (2, 3)))
    (archive / "one.eml").write_bytes(mail(4))
    configuration = (
        f'[sources.anna]\nprovider = "folder"\npath = "{archive}"\nmailbox = "anna@brightwell.example"\n'
        "poll_seconds = 0.2\n"
    )
    ingest = await start_ingest(configuration)
    await until(ingest, accepted=4, status="ok")

    (archive / "2025" / "cur" / "1.a:2,S").rename(archive / "2025" / "cur" / "1.a:2,RS")
    with box.open("ab") as stream:
        stream.write(b"From bob@acme.example Mon Mar  2 09:00:00 2026\n" + mail(5) + b"\n")
    await until(ingest, accepted=5)

    events = await ingest.events(5)
    assert sorted(str(event.title) for event in events) == [f"Offer {number}" for number in range(1, 6)]
    assert all(event.imported for event in events)


async def test_a_mail_in_several_mailboxes_is_one_and_many_that_listen_leave_threads_for_others(
    start_ingest: StartIngest, imap: LocalImap, tmp_path: Path
) -> None:
    imap.deliver(mail(1))
    one = configured(imap, tmp_path).replace("poll_seconds = 0.2", "poll_seconds = 600")
    others = "".join(
        one.replace("[sources.anna]", f"[sources.max{number}]").replace("anna@", f"max{number}@")
        for number in range(12)
    )
    ingest = await start_ingest(one + others)
    for name in ("anna", *(f"max{number}" for number in range(12))):
        async with asyncio.timeout(30):
            while (await source(ingest, name))["accepted"] != 1:
                await asyncio.sleep(0.1)
    imap.deliver(mail(2))
    await until(ingest, accepted=2)

    async with asyncio.timeout(30):
        while (await source(ingest, "max11"))["accepted"] != 2:
            await asyncio.sleep(0.1)
    events = await ingest.events(26)
    assert len({event.interaction.id for event in events}) == 2
    assert len({event.id for event in events}) == 26


def options(imap: LocalImap) -> ImapOptions:
    return ImapOptions(
        mailbox="anna@brightwell.example",
        host="127.0.0.1",
        port=imap.port,
        tls=False,
        username="anna",
        password_file="imap.password",
    )


def marked_as_read(imap: LocalImap, number: str) -> None:
    with client(imap) as opened:
        opened.select("INBOX")
        opened.store(number, "+FLAGS", r"(\Seen)")


@pytest.mark.parametrize("read", [[], ["2"], ["1", "2", "3"], ["3", "1"]])
def test_what_happens_to_the_folder_while_we_fetch_takes_no_mail_away_and_adds_none(
    imap: LocalImap, read: list[str]
) -> None:
    for number in range(1, 4):
        imap.deliver(mail(number))
    with client(imap) as opened:
        opened.select("INBOX")
        opened.store("1", "+FLAGS", r"(\Draft)")
    session = ImapSession(options(imap), PASSWORD)
    try:
        session.open().look("INBOX")
        uids = session.uids(0, None)
        fetching = session.fetch(uids)
        # The draft is known by its head; the others are asked for afterwards, and the server tells of these with them.
        assert next(fetching) == uids[0]
        imap.deliver(mail(4))
        for place in read:
            marked_as_read(imap, place)

        fetched = [each for each in fetching if isinstance(each, FetchedMail)]
    finally:
        session.close()

    assert [(each.uid, each.raw) for each in fetched] == [(uids[1], mail(2)), (uids[2], mail(3))]
