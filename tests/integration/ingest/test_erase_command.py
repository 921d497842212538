"""`tenure erase`: what an operator types forgets people in planned meetings, and says how far it reaches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from typer.testing import CliRunner, Result

from services.cli.app import build
from services.ingest.domain.schemes import SchemeName
from services.runtime.clock import write_moment
from tests.integration.ingest.conftest import StartIngest
from tests.integration.ingest.test_planned_meetings import NOON, PEOPLE, invitation


async def run(arguments: Sequence[str]) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, build(), ["erase", *arguments])


async def test_whoever_is_to_be_forgotten_is_forgotten_once_and_what_is_left_is_said(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    write_moment(clock, NOON)
    ingest = await start_ingest(clock=f"file:{clock}", time_zone="Europe/Berlin")
    begins = f"{NOON + timedelta(days=1):DTSTART:%Y%m%dT%H%M%SZ}"
    part = invitation("lunch", begins, more=PEOPLE, method="REQUEST")
    mail = (
        "From: Kim <kim@acme.example>\r\nTo: anna@brightwell.example\r\nMessage-ID: <lunch@acme>\r\n"
        f"Date: Sun, 1 Mar 2026 11:00:00 +0000\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\n{part}"
    ).encode()
    taken = await ingest.post(
        "/v1/mail/mail-anna", mail, SchemeName.STANDARD_WEBHOOKS, "mail.secret", content_type="message/rfc822"
    )
    assert taken.status_code == 202, taken.text
    (tmp_path / "token").write_text(ingest.issuer.issue("olga", ["operator"]))
    asking = ["--url", str(ingest.http.base_url), "--token-file", str(tmp_path / "token")]
    nobodys = [f"nobody-{number}@acme.example" for number in range(120)]

    first = await run(["--json", *asking, *nobodys, "Bob@Acme.example"])
    again = await run([*asking, "bob@acme.example"])
    wrong = await run([*asking, "bob"])

    assert json.loads(first.stdout.splitlines()[-1]) == {"meetings": 1}
    assert "forgotten in 0 meetings\nAccounts' ledger and contacts" in again.stdout
    assert (first.exit_code, again.exit_code, wrong.exit_code) == (0, 0, 1)
    assert "addresses.0: is no mail address" in str(wrong.exception)
