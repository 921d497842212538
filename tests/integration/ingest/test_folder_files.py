"""Old mail in files: every mail comes in once, however files are called and whatever programs do to them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_mailbox import mail, source, until

LINE = b"From bob@acme.example Mon Mar  2 09:00:00 2026\n"


def mbox(*numbers: int, sender: str = "bob@acme.example") -> bytes:
    return b"".join(LINE + mail(number, sender=sender) + b"\n" for number in numbers)


def put(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


async def numbers(ingest: Ingest, accepted: int) -> list[int]:
    await until(ingest, accepted=accepted)
    events = await ingest.events(accepted)
    return sorted({int(str(event.title).removeprefix("Offer ")) for event in events})


async def passes(ingest: Ingest, number: int = 2) -> None:
    for _ in range(number):
        before = (await source(ingest))["horizon"]
        async with asyncio.timeout(30):
            while (await source(ingest))["horizon"] == before:
                await asyncio.sleep(0.05)


async def test_files_of_one_name_in_different_folders_and_files_that_are_written_anew_lose_no_mail(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    for number, who in enumerate(("anna", "max"), start=1):
        put(archive / who / "Inbox" / "1.eml", mail(number))
        put(archive / who / "Sent" / "cur" / "7.host:2,S", mail(10 + number))
    put(archive / "2024" / "01" / "all.mbox", mbox(21, 22, 23))
    put(archive / "2025" / "01" / "all.mbox", mbox(24))
    configuration = (
        f'[sources.anna]\nprovider = "folder"\npath = "{archive}"\nmailbox = "anna@brightwell.example"\n'
        "poll_seconds = 0.2\n"
    )
    ingest = await start_ingest(configuration)
    await until(ingest, accepted=8, status="ok")
    await passes(ingest)
    assert (await source(ingest))["accepted"] == 8

    put(archive / "kim" / "Inbox" / "1.eml", mail(3))
    put(archive / "kim" / "Sent" / "cur" / "7.host:2,S", mail(13))
    assert await numbers(ingest, 10) == [1, 2, 3, 11, 12, 13, 21, 22, 23, 24]

    # As a mail program compacts a file, and then adds to it.
    (archive / "2025" / "01" / "all.mbox").write_bytes(mbox(34, 35, 24, sender="robert@acme.example"))
    assert await numbers(ingest, 13) == [1, 2, 3, 11, 12, 13, 21, 22, 23, 24, 34, 35]


async def test_a_mail_that_was_still_being_written_is_read_when_it_is_whole(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    whole = mbox(1, 2)
    file = tmp_path / "archive" / "all.mbox"
    put(file, whole[:-60])
    configuration = (
        f'[sources.anna]\nprovider = "folder"\npath = "{file}"\nmailbox = "anna@brightwell.example"\n'
        "poll_seconds = 0.2\n"
    )
    ingest = await start_ingest(configuration)
    await until(ingest, accepted=2, status="ok")
    put(file, whole + mbox(3))
    assert await numbers(ingest, 5) == [1, 2, 3]
    texts = {str(event.text).strip() for event in await ingest.events(5)}
    assert {"Mail 1", "Mail 2", "Mail 3"} <= texts
    await passes(ingest)
    assert (await source(ingest))["accepted"] == 5
