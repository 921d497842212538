"""What a dry run says of a file: what is there already, and whom nobody knows; asked of ingest, then of accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import orjson
from typer.testing import CliRunner

from deploy.databases import DatabaseAccess
from services.cli.app import build
from tests.integration.accounts.running import Running
from tests.integration.ingest.conftest import StartIngest
from tests.integration.ingest.test_acceptance import PLACED


def order(number: int, address: str, order_time: str = "2026-03-02T09:00:00Z") -> bytes:
    """One line of a file."""
    customer = {"role": "customer", "identities": [{"kind": "address", "value": address}]}
    data = {"net": {"amount": "10.00", "currency": "EUR"}, "parties": [customer]}
    return orjson.dumps({**PLACED, "id": f"r{number}", "subject": f"o{number}", "time": order_time, "data": data})


async def test_a_dry_run_says_what_is_there_already_and_whom_nobody_knows(
    kafka_bootstrap: str,
    topic_prefix: str,
    database: Callable[[str], DatabaseAccess],
    start_ingest: StartIngest,
    tmp_path: Path,
) -> None:
    stage = Running(kafka_bootstrap, topic_prefix, database("accounts"), tmp_path / "accounts")
    ingest = await start_ingest(auth_jwks_file=str(stage.issuer.jwks_file), auth_issuer="test")
    file, token = tmp_path / "orders.ndjson", tmp_path / "token"
    token.write_text(stage.issuer.issue("olga", ["operator"]))

    async def run(*more: str, lines: list[bytes]) -> str:
        file.write_bytes(b"\n".join(lines))
        arguments = ["import", str(file), "--source", "history", "--url", str(ingest.http.base_url)]
        arguments += ["--token-file", str(token), *more]
        result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
        assert result.exit_code == 0, result.output + str(result.exception)
        return result.output

    known = [order(1, "maria@acme.example"), order(2, "who@unknown.example"), order(3, "someone@gmail.com")]
    async with stage.replica() as service:
        assert (await stage.ask("POST", "/v1/accounts", {"key": "acme", "name": "ACME"})).status_code == 201
        path = "/v1/accounts/key:acme/domains"
        assert (await stage.ask("POST", path, {"domain": "acme.example"})).status_code == 201
        await run(lines=known)
        await ingest.events(3)
        await stage.drained()

        more = [*known, order(4, "other@unknown.example"), order(4, "other@unknown.example"), b'{"specversion": "1.0"}']
        file.write_bytes(b"\n".join(more))
        foretold = ["--dry-run", "--accounts-url", f"http://127.0.0.1:{service.http_port}"]
        arguments = ["import", str(file), "--source", "history", "--url", str(ingest.http.base_url)]
        arguments += ["--token-file", str(token), *foretold]
        result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
        said = result.output
        assert "5 rows would be accepted, 1 rejected" in said
        assert "5 events: 1 new, 0 that correct what is there, 4 that are there already and change nothing" in said
        assert "4 events would match no account" in said
        assert "       3 domain unknown.example, such as who@unknown.example" in said
        assert "       1 address someone@gmail.com" in said
        assert "acme.example" not in said.split("whose they are:")[1].split("{")[0]

        # Whoever is told and adds the domain is told so.
        assert (await stage.ask("POST", path, {"domain": "unknown.example"})).status_code == 201
        said = await run(*foretold, lines=[order(4, "other@unknown.example")])
        assert "every one would match an account" in said
        await ingest.events(3)


async def test_without_accounts_a_dry_run_says_how_to_ask_it(start_ingest: StartIngest, tmp_path: Path) -> None:
    ingest = await start_ingest()
    file, token = tmp_path / "orders.ndjson", tmp_path / "token"
    file.write_bytes(order(1, "maria@acme.example"))
    token.write_text(ingest.bearer("operator")["authorization"].removeprefix("Bearer "))
    arguments = ["import", str(file), "--source", "history", "--url", str(ingest.http.base_url), "--dry-run"]
    result = await asyncio.to_thread(CliRunner().invoke, build(), [*arguments, "--token-file", str(token)])
    assert "1 rows would be accepted" in result.output
    assert "say --accounts-url" in result.output
