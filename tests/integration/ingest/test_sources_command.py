"""`tenure sources`: what is wrong, how sources stand, and a delivery that is tried without leaving anything behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from services.cli.app import build
from services.ingest.domain.schemes import SchemeName
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED, SOLVED
from tests.integration.ingest.test_planned_meetings import LOGIN, Calendar

BROKEN_MAILBOX = """
[sources.max]
provider = "imap"
mailbox = "max@brightwell.example"
host = "127.0.0.1"
port = 1
tls = false
username = "max"
password_file = "phone.secret"
"""


async def run(arguments: Sequence[str]) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, build(), ["sources", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout


def last(said: str) -> Any:
    """The command's word: what ingest, which runs beside, has logged stands before it."""
    return json.loads(said.splitlines()[-1])


class Operator:
    """Somebody at a terminal, with a token."""

    def __init__(self, ingest: Ingest, folder: Path) -> None:
        self.folder = folder
        self._token = folder / "token"
        self._token.write_text(ingest.issuer.issue("olga", ["operator"]))
        self._asking = ["--url", str(ingest.http.base_url), "--token-file", str(self._token)]

    async def ask(self, *arguments: str) -> tuple[int, str]:
        """Exit code and words of a command that asks ingest."""
        return await run([*arguments, *self._asking])

    async def try_out(self, name: str, *options: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and steps of `tenure sources test`."""
        file = ["--file", str(self.folder / "sources.toml"), "--json", *options]
        code, said = await self.ask("test", name, *file)
        return code, last(said)["steps"]


async def test_sources_are_tried_step_by_step_and_nothing_is_left_behind(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    ingest = await start_ingest(BROKEN_MAILBOX)
    operator = Operator(ingest, tmp_path)
    for name in ("desk", "shop", "phone", "erp", "mail-anna"):
        code, steps = await operator.try_out(name)
        outcomes = {step["step"]: step["outcome"] for step in steps}
        assert outcomes["configuration"] == "right"
        assert outcomes["proof"] == "accepted", (name, steps)
        assert outcomes["mapping"] in {"understood", "ignored"}, (name, steps)
        assert code == 0
    assert await ingest.published(0) == []
    # A wrong secret is told to the operator with its reason, and counted for nobody.
    (tmp_path / "elsewhere").mkdir()
    for name in ("desk.secret", "desk-old.secret", "shop.secret", "phone.secret", "erp.secret", "mail.secret"):
        (tmp_path / "elsewhere" / name).write_text("whsec_" + "x" * 32)
    code, steps = await operator.try_out("desk", "--secrets-dir", str(tmp_path / "elsewhere"))
    assert code == 1
    assert {"step": "proof", "outcome": "unsigned", "why": "bad_signature"} in steps
    # A mailbox is asked by ingest itself.
    code, steps = await operator.try_out("max")
    assert (code, steps[-1]["outcome"]) == (1, "failed")
    # Only when asked for, and with ids that nobody else has, is anything published.
    code, steps = await operator.try_out("erp", "--deliver")
    assert (code, steps[-2]["outcome"]) == (0, "acknowledged 1 events")
    await ingest.published(1)
    page = (await ingest.http.get("/v1/sources/desk", headers=ingest.bearer("operator"))).json()
    assert (page["accepted"], page["rejected"], page["last_delivery"]) == (0, {}, None)


POLLED = """
[sources.calendar]
provider = "caldav"
mailbox = "anna@brightwell.example"
url = "{url}"
username = "anna"
password_file = "caldav.password"
poll_seconds = 3600
[sources.archive]
provider = "folder"
mailbox = "anna@brightwell.example"
path = "{folder}"
poll_seconds = 3600
[sources.aws]
provider = "ses"
mailbox = "aws@brightwell.example"
topics = ["arn:aws:sns:nowhere-1:111111111111:mail"]
[sources.shop-events]
provider = "inbound"
publisher = "/shop"
secret_files = ["erp.secret"]
[sources.others]
provider = "inbound"
"""


@pytest.fixture
def calendar(tmp_path: Path) -> Iterator[Calendar]:
    server = Calendar(tmp_path / "caldav")
    yield server
    server.stop()


async def test_what_is_no_webhook_is_tried_as_far_as_it_can_be(
    start_ingest: StartIngest, calendar: Calendar, tmp_path: Path
) -> None:
    calendar.put("review", "DTSTART:20260302T080000Z\r\nDTEND:20260302T090000Z")
    (tmp_path / "caldav.password").write_text(LOGIN[1])
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "one.eml").write_bytes(b"From: bob@acme.example\n\nHello\n")
    ingest = await start_ingest(POLLED.format(url=calendar.url, folder=tmp_path / "archive"))
    operator = Operator(ingest, tmp_path)

    code, steps = await operator.try_out("calendar")
    assert (code, steps[1]["step"], steps[2]["outcome"]) == (0, "login", "1 entries are there")
    code, steps = await operator.try_out("archive")
    assert (code, steps[1]["outcome"]) == (0, "readable: 1 mails and 0 mbox files, 0.0 MB")
    code, steps = await operator.try_out("aws")
    assert (code, steps[2]["outcome"]) == (1, "failed")
    assert "sns.nowhere-1.amazonaws.com cannot be reached" in steps[2]["why"]

    code, steps = await operator.try_out("history")
    assert (code, [step["outcome"] for step in steps[1:]]) == (
        0,
        ["read as an import; nothing was taken", "understood"],
    )
    (tmp_path / "own.ndjson").write_bytes(b'{"specversion": "1.0"}')
    code, steps = await operator.try_out("history", "--body", str(tmp_path / "own.ndjson"))
    assert (code, steps[-1]["step"], steps[-1]["outcome"]) == (1, "line 1", "not understood")

    for name in ("shop-events", "others"):
        code, steps = await operator.try_out(name)
        assert (code, steps[-1]["outcome"]) == (0, "understood"), steps
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "erp.secret").write_text("whsec_" + "x" * 32)
    code, steps = await operator.try_out("shop-events", "--secrets-dir", str(tmp_path / "elsewhere"))
    assert (code, steps[-1]["outcome"]) == (1, "unsigned")


async def test_who_is_no_operator_cannot_try_a_door(ingest: Ingest) -> None:
    for authorization, status in (("Bearer nonsense", 401), (ingest.bearer()["authorization"], 403)):
        answer = await ingest.events_door(PLACED, **{"tenure-test": authorization})
        assert answer.status_code == status


async def test_the_list_and_the_page_say_what_came_and_why_what_was_refused(ingest: Ingest, tmp_path: Path) -> None:
    body = orjson.dumps(SOLVED)
    for _ in range(2):
        await ingest.post("/v1/webhooks/desk", body, SchemeName.ZENDESK, "desk.secret")
    await ingest.post("/v1/webhooks/desk", body, SchemeName.ZENDESK, "shop.secret")
    other = orjson.dumps({**SOLVED, "type": "zen:event-type:organization.created"})
    await ingest.post("/v1/webhooks/desk", other, SchemeName.ZENDESK, "desk.secret")
    operator = Operator(ingest, tmp_path)
    code, said = await operator.ask("list", "--json")
    assert code == 0
    desk = next(page for page in last(said)["items"] if page["name"] == "desk")
    assert (desk["accepted"], desk["redelivered"], desk["rejected"]) == (2, 1, {"bad_signature": 1})
    assert list(desk["ignored"]["by_name"].values()) == [1]
    code, said = await operator.ask("show", "desk")
    assert "2, of them 1 that had come shortly before" in said
    assert "not yet: something came in 1 of at least 20 hours" in said
    assert "bad_signature 1" in said
    code, said = await operator.ask("list")
    assert "source=desk provider=zendesk status=ok" in said


async def test_check_names_every_mistake_and_fails(tmp_path: Path) -> None:
    toml = tmp_path / "sources.toml"
    toml.write_text('[sources.desk]\nprovider = "zendesk"\nsystm = "zendesk:a"\n')
    code, said = await run(["check", str(toml)])
    assert code == 1
    assert f"error: {toml}:3: sources.desk.systm: is not known here; did you mean system?" in said
    code, said = await run(["check", str(toml), "--json"])
    assert {remark["line"] for remark in last(said)["remarks"]} == {1, 3}
    toml.write_text('[sources.history]\nprovider = "import"\nsystem = "x"\n')
    code, said = await run(["check", str(toml)])
    assert (code, said.splitlines()[-1]) == (0, "0 errors, 0 warnings; usable sources: history")
