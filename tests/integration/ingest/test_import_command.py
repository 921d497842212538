"""`tenure import` against the real service: good lines go in, bad ones are named, nothing doubles."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from services.cli.app import build
from services.cli.imports_run import MOST_BYTES, MOST_LINES, chunks
from services.cli.imports_units import Item
from tests.integration.ingest.conftest import Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED


def run(ingest: Ingest, folder: Path, lines: list[bytes], *more: str) -> tuple[int, str]:
    file, token = folder / "history.ndjson", folder / "token"
    file.write_bytes(b"\n".join(lines))
    token.write_text(ingest.bearer("operator")["authorization"].removeprefix("Bearer "))
    url = str(ingest.http.base_url)
    arguments = ["import", str(file), "--source", "history", "--url", url, "--token-file", str(token), *more]
    result = CliRunner().invoke(build(), arguments)
    return result.exit_code, result.output


async def test_a_file_longer_than_one_request_goes_in_with_its_own_line_numbers(ingest: Ingest, tmp_path: Path) -> None:
    lines = [orjson.dumps({**PLACED, "id": str(number), "subject": str(number)}) for number in range(1200)]
    lines[700] = b'{"specversion": "1.0"}'
    code, said = await asyncio.to_thread(run, ingest, tmp_path, lines)
    assert code == 1
    assert "1199 rows accepted, 1 rejected" in said
    assert "line 701" in said

    lines[700] = orjson.dumps({**PLACED, "id": "700", "subject": "700"})
    code, said = await asyncio.to_thread(run, ingest, tmp_path, lines)
    assert code == 0
    events = await ingest.events(2399)
    assert len({event.id for event in events}) == 1200


async def test_a_line_that_no_record_can_hold_is_rejected_and_takes_no_other_with_it(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    """An import that is refused as a whole would be refused again and again, at the same place."""
    ingest = await start_ingest(record_limit="2000")
    lines = [orjson.dumps({**PLACED, "id": str(number), "subject": str(number)}) for number in range(3)]
    lines[1] = orjson.dumps({**PLACED, "data": {"text": "x" * 5000}})
    code, said = await asyncio.to_thread(run, ingest, tmp_path, lines)
    assert (code, "2 rows accepted, 1 rejected" in said, "line 2" in said) == (1, True, True), said
    assert {event.interaction.native_id for event in await ingest.events(2)} == {"0", "2"}

    mail = base64.b64encode(f"From: a@acme.example\nTo: {'b@acme.example, ' * 9}c@acme.example\n\nHi".encode())
    many = ", ".join(f"p{number}@acme.example" for number in range(50))
    large = base64.b64encode(f"From: a@acme.example\nTo: {many}\n\nHi".encode())
    body = b"\n".join(orjson.dumps({"mail": one.decode()}) for one in (large, mail))
    said_of_mails = await ingest.http.post(
        "/v1/imports/mail-anna",
        content=body,
        headers={"content-type": "application/x-ndjson", **ingest.bearer("operator")},
    )
    answer = said_of_mails.json()
    assert (answer["accepted"], [one["line"] for one in answer["rejected"]]) == (1, [1])


async def test_a_token_that_is_refused_is_one_plain_sentence(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "f.ndjson").write_bytes(orjson.dumps(PLACED))
    (tmp_path / "t").write_text("x.y.z")
    url = str(ingest.http.base_url)
    arguments = ["import", str(tmp_path / "f.ndjson"), "--source", "history", "--url", url]
    result = await asyncio.to_thread(CliRunner().invoke, build(), [*arguments, "--token-file", str(tmp_path / "t")])
    assert result.exit_code == 1
    assert str(result.exception).startswith("ingest says: ")


@pytest.mark.parametrize("size", [1, 500, 501, 1200])
def test_chunks_hold_every_line_once_and_keep_the_limits(size: int) -> None:
    lines = [b"x" * (number % 7_000) + b"\n" for number in range(size)]
    seen: list[bytes] = []
    for held in chunks(Item(line, number) for number, line in enumerate(lines, start=1)):
        bodies = [unit.body for unit in held if isinstance(unit, Item)]
        assert len(bodies) == len(held) <= MOST_LINES
        assert sum(map(len, bodies)) + len(bodies) <= MOST_BYTES
        seen += bodies
    assert seen == lines
