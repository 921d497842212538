"""History from files through the real service: nothing doubles, nothing is lost, and what is live stands above it."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
import orjson
import pytest
from typer.testing import CliRunner

from contracts.codec import encode
from contracts.events import Event
from deploy.databases import DatabaseAccess
from services.accounts.domain.ports import Report
from services.accounts.handlers.fold import Fold
from services.accounts.store.interactions import InteractionTables
from services.cli.app import build
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources import mail
from services.runtime.postgres import create_pool, transaction
from tests.integration.ingest.conftest import Ingest

SHOPIFY = Path(__file__).parents[2] / "unit" / "ingest" / "examples" / "shopify" / "order_created.json"
EXPORT = (
    "Name,Email,Currency,Subtotal,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,"
    "Lineitem discount,Id\n"
    "#1042,bob@acme.example,EUR,999.00,2026-03-02 10:00:00 +0100,2,Probe,400.00,PR-1,0.00,820982911946154508\n"
    "#1042,,,,,1,Probe,199.00,PR-2,0.00,\n"
)
MAIL = (
    "From: bob@acme.example\nTo: anna@brightwell.example\nMessage-ID: <{number}@acme.example>\n"
    "Date: Mon, 02 Mar 2026 09:3{number}:00 +0000\nSubject: Hello\n\nText {number}\n"
)
CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:review@acme.example
DTSTAMP:20260301T080000Z
DTSTART:20260302T090000Z
DTEND:20260302T100000Z
SUMMARY:Review
ORGANIZER:mailto:anna@brightwell.example
ATTENDEE;PARTSTAT=ACCEPTED:mailto:bob@acme.example
END:VEVENT
END:VCALENDAR
"""


def options(ingest: Ingest, folder: Path) -> list[str]:
    """Where the command finds the service."""
    token = folder / "token"
    token.write_text(ingest.bearer("operator")["authorization"].removeprefix("Bearer "))
    return ["--url", str(ingest.http.base_url), "--token-file", str(token)]


async def run(ingest: Ingest, folder: Path, file: Path, *more: str) -> tuple[int, str]:
    """`tenure import` in this process."""
    arguments = ["import", str(file), *options(ingest, folder), *more]
    result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
    return result.exit_code, result.output + str(result.exception or "")


async def folded(pool: asyncpg.Pool, events: list[Event]) -> asyncpg.Record:
    """The one interaction that accounts makes of events in this order."""
    fold = Fold(InteractionTables, ZoneInfo("Europe/Berlin"))
    for event in events:
        report = Report(event, encode(event), event.occurred_at, None, event.interaction.id, event.id)
        async with transaction(pool) as connection:
            await fold.apply(connection, [report])
    async with pool.acquire() as connection:
        rows = await connection.fetch("select id, occurred_at, state from interaction")
        reports = await connection.fetchval("select count(*) from ledger")
    assert len(rows) == 1
    assert reports == len({event.id for event in events})
    return rows[0]


async def test_a_table_and_a_webhook_in_either_order_are_one_order_with_the_live_values(
    ingest: Ingest, tmp_path: Path, database: Callable[[str], DatabaseAccess]
) -> None:
    file = tmp_path / "shop.csv"
    file.write_text(EXPORT)
    how: tuple[str, ...] = (
        "--source",
        "history",
        "--as",
        "shopify-orders",
        "--system",
        "shopify:brightwell",
        "--exported",
        "2026-04-01",
    )
    code, said = await run(ingest, tmp_path, file, *how)
    assert code == 1
    assert "--set shop=" in said
    code, said = await run(ingest, tmp_path, file, *how, "--set", "shop=x.myshopify.com", "--system", "shopify:other")
    assert (code, "is no configured system" in said, "shopify:brightwell" in said) == (1, True, True)
    how += ("--set", "shop=Brightwell.MyShopify.com")
    code, said = await run(ingest, tmp_path, file, *how, "--dry-run")
    assert (code, "1 rows would be accepted, 0 rejected" in said) == (0, True)
    assert "1 tenure.order.placed.v1" in said
    assert await ingest.published(0) == []

    golden = json.loads(SHOPIFY.read_text())
    headers = {name.replace("-", "_"): value for name, value in golden["headers"].items()}
    body = orjson.dumps(golden["body"])
    code, said = await run(ingest, tmp_path, file, *how)
    assert (code, said.count("accepted")) == (0, 2), said
    live = await ingest.post("/v1/webhooks/shop", body, SchemeName.SHOPIFY, "shop.secret", **headers)
    assert live.status_code == 200
    await run(ingest, tmp_path, file, *how)
    events = await ingest.events(3)
    assert len({event.interaction.id for event in events}) == 1
    assert len({event.id for event in events}) == 2
    webhook = next(event for event in events if not event.imported)
    for ordered in (sorted(events, key=lambda one: one.imported), sorted(events, key=lambda one: not one.imported)):
        pool = await create_pool(database("accounts").worker, max_size=2)
        try:
            row = await folded(pool, ordered)
        finally:
            await pool.close()
        assert row["state"]["detail"]["net"]["amount"] == "230.00"
        assert row["state"]["detail"]["lines"] == golden["expected"][0]["lines"]
        assert row["state"]["imported"] is False
        assert row["occurred_at"] == webhook.occurred_at


async def test_a_killed_import_goes_on_where_it_was_and_rejected_rows_can_be_mended(
    ingest: Ingest, tmp_path: Path
) -> None:
    file = tmp_path / "surveys.csv"
    rows = [f"s-{n},nps,{n % 11},2026-03-02T09:30:00Z,p{n}@acme.example\n" for n in range(4000)]
    rows[5] = "s-5,nps,eleven,2026-03-02T09:30:00Z,p5@acme.example\n"
    rows[3700] = "s-3700,csat,9,2026-03-02T09:30:00Z,p3700@acme.example\n"
    file.write_text("id,survey,score,answered_at,email\n" + "".join(rows))
    how = ["--source", "history", "--as", "surveys", "--system", "erp:brightwell", "--exported", "2026-04-01"]
    command = [sys.executable, "-m", "services.cli.app", "import", str(file), *options(ingest, tmp_path), *how]
    state = tmp_path / "surveys.csv.progress"

    def kill_when_it_has_begun() -> None:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while not state.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()

    await asyncio.to_thread(kill_when_it_has_begun)
    taken = json.loads(state.read_text())["progress"]["taken"]
    assert 0 < taken < 4000

    code, said = await run(ingest, tmp_path, file, *how)
    assert code == 1
    assert f"goes on after {taken} rows" in said
    assert "3998 rows accepted, 2 rejected" in said
    assert not state.exists()
    report = tmp_path / "surveys.csv.rejected.csv"
    kept = list(csv.DictReader(report.read_text().splitlines()))
    assert [(row["tenure_line"], row["tenure_field"], row["id"]) for row in kept] == [
        ("7", "score", "s-5"),
        ("3702", "data", "s-3700"),
    ]
    assert all(row["tenure_reason"] and row["tenure_remedy"] for row in kept)

    report.write_text(report.read_text().replace("eleven", "10").replace("csat,9", "csat,4"))
    code, said = await run(ingest, tmp_path, report, *how)
    assert (code, "2 rows accepted, 0 rejected" in said) == (0, True)
    async with asyncio.timeout(60):
        ends = await _count(ingest)
        while (again := await _count(ingest)) != ends:
            ends = again
    events = await ingest.events(ends)
    assert len({event.id for event in events}) == 4000
    # What was on its way when it was killed came twice, and nothing else did.
    assert 4000 <= len(events) <= 4000 + 4 * 500


async def test_an_import_whose_report_has_gone_meanwhile_begins_anew(ingest: Ingest, tmp_path: Path) -> None:
    file = tmp_path / "surveys.csv"
    rows = [f"s-{n},nps,{n % 11},2026-03-02T09:30:00Z,p{n}@acme.example\n" for n in range(2500)]
    rows[5] = "s-5,nps,eleven,2026-03-02T09:30:00Z,p5@acme.example\n"
    file.write_bytes(("id,survey,score,answered_at,email\n" + "".join(rows)).encode() + b"\xff\xff\n")
    how = ["--source", "history", "--as", "surveys", "--system", "erp:brightwell", "--exported", "2026-04-01"]
    code, said = await run(ingest, tmp_path, file, *how)
    assert (code, "is not written in utf-8" in said) == (1, True)
    assert json.loads((tmp_path / "surveys.csv.progress").read_text())["progress"]["rejected"] == 1

    # It takes nothing, but writes a report of its own.
    code, said = await run(ingest, tmp_path, file, *how, "--dry-run")
    (tmp_path / "surveys.csv.rejected.csv").unlink()
    code, said = await run(ingest, tmp_path, file, *how)
    assert (code, "is not written in utf-8" in said, "begins anew" in said) == (1, True, True), said
    assert "s-5" in (tmp_path / "surveys.csv.rejected.csv").read_text()


async def test_a_mail_over_which_its_reading_breaks_is_told_and_stops_no_other(
    ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours: whoever sends it again would meet it again, and what stands behind it would never come in."""

    def broken(text: str) -> str:
        if "Text 1" in text:
            raise RuntimeError("a fault of ours")
        return text

    monkeypatch.setattr(mail, "newest_reply", broken)
    letters = [MAIL.format(number=number) for number in range(3)]
    box = tmp_path / "anna.mbox"
    box.write_text("".join(f"From bob@acme.example Mon Mar  2 09:30:00 2026\n{letter}\n" for letter in letters))
    code, said = await run(ingest, tmp_path, box, "--source", "mail-anna")
    assert (code, "2 rows accepted, 1 rejected" in said, "mapping_broke" in said) == (1, True, True), said

    live = letters[1].replace("\n", "\r\n").encode()
    media = {"content_type": "message/rfc822"}
    answer = await ingest.post("/v1/mail/mail-anna", live, SchemeName.STANDARD_WEBHOOKS, "mail.secret", **media)
    assert (answer.status_code, answer.json()["unmapped"]) == (200, "mapping_broke")
    kept = await ingest.published(3)
    assert live in {one.value for one in kept}


async def _count(ingest: Ingest) -> int:
    flow = (await ingest.operations.get("/flow")).json()
    return int(flow["parts"]["sources"]["history"]["accepted"])


async def test_old_mail_and_calendars_are_read_as_their_mailbox_reads_its_own(ingest: Ingest, tmp_path: Path) -> None:
    letters = [MAIL.format(number=number) for number in range(3)]
    box = tmp_path / "anna.mbox"
    box.write_text("".join(f"From bob@acme.example Mon Mar  2 09:30:00 2026\n{letter}\n" for letter in letters))
    code, said = await run(ingest, tmp_path, box, "--source", "mail-anna")
    assert (code, "3 rows accepted, 0 rejected" in said) == (0, True), said
    live = letters[0].replace("\n", "\r\n").encode()
    media = {"content_type": "message/rfc822"}
    answer = await ingest.post("/v1/mail/mail-anna", live, SchemeName.STANDARD_WEBHOOKS, "mail.secret", **media)
    assert answer.status_code == 202
    events = await ingest.events(4)
    assert len({event.id for event in events}) == 3
    assert [event.imported for event in events].count(False) == 1
    assert {event.source for event in events} == {"mail-anna"}

    calendar = tmp_path / "anna.ics"
    calendar.write_text(CALENDAR)
    code, said = await run(ingest, tmp_path, calendar, "--source", "mail-anna", "--dry-run")
    assert (code, "1 meetings planned" in said) == (0, True), said
    code, said = await run(ingest, tmp_path, calendar, "--source", "mail-anna")
    assert (code, "1 rows accepted" in said) == (0, True), said
    [meeting] = [event for event in await ingest.events(5) if event.TYPE == "tenure.meeting.held.v1"]
    assert meeting.imported
