"""What a dry run says of a file: what is there already, and whom nobody knows; asked of ingest, then of accounts."""

from __future__ import annotations

from pathlib import Path

import orjson

from tests.integration.ingest.conftest import Operator
from tests.integration.ingest.test_acceptance import PLACED


def order(number: int, address: str, order_time: str = "2026-03-02T09:00:00Z") -> bytes:
    """One line of a file."""
    customer = {"role": "customer", "identities": [{"kind": "address", "value": address}]}
    data = {"net": {"amount": "10.00", "currency": "EUR"}, "parties": [customer]}
    return orjson.dumps({**PLACED, "id": f"r{number}", "subject": f"o{number}", "time": order_time, "data": data})


async def test_a_dry_run_says_what_is_there_already_and_whom_nobody_knows(operator: Operator, tmp_path: Path) -> None:
    stage = operator.stage
    ingest = await operator.ingest()
    file = tmp_path / "orders.ndjson"
    loading = ["import", str(file), "--source", "history"]

    known = [order(1, "maria@acme.example"), order(2, "who@unknown.example"), order(3, "someone@gmail.com")]
    async with stage.replica() as service:
        assert (await stage.ask("POST", "/v1/accounts", {"key": "acme", "name": "ACME"})).status_code == 201
        path = "/v1/accounts/key:acme/domains"
        assert (await stage.ask("POST", path, {"domain": "acme.example"})).status_code == 201
        file.write_bytes(b"\n".join(known))
        code, said = await operator.run(ingest, *loading)
        assert code == 0, said
        await ingest.events(3)
        await stage.drained()

        more = [*known, order(4, "other@unknown.example"), order(4, "other@unknown.example"), b'{"specversion": "1.0"}']
        file.write_bytes(b"\n".join(more))
        _, said = await operator.run(ingest, *loading, "--dry-run", accounts=service)
        assert "5 rows would be accepted, 1 rejected" in said
        assert "5 events: 1 new, 0 that correct what is there, 4 that are there already and change nothing" in said
        assert "4 events would match no account" in said
        assert "       3 domain unknown.example, such as who@unknown.example" in said
        assert "       1 address someone@gmail.com" in said
        assert "acme.example" not in said.split("whose they are:")[1].split("{")[0]

        # Whoever is told and adds the domain is told so.
        assert (await stage.ask("POST", path, {"domain": "unknown.example"})).status_code == 201
        file.write_bytes(order(4, "other@unknown.example"))
        code, said = await operator.run(ingest, *loading, "--dry-run", accounts=service)
        assert code == 0, said
        assert "every one would match an account" in said
        await ingest.events(3)


async def test_without_accounts_a_dry_run_says_how_to_ask_it(operator: Operator, tmp_path: Path) -> None:
    ingest = await operator.ingest()
    file = tmp_path / "orders.ndjson"
    file.write_bytes(order(1, "maria@acme.example"))
    _, said = await operator.run(ingest, "import", str(file), "--source", "history", "--dry-run")
    assert "1 rows would be accepted" in said
    assert "say --accounts-url" in said
