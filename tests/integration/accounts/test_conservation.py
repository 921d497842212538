"""Every report that was accepted is in exactly one place, by source, and the operator's command says so."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from contracts.envelope import Envelope
from contracts.events import UNMAPPED_TYPE
from contracts.topics import INTERACTIONS
from services.cli.app import build
from tests.integration.accounts.running import Running
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import MONDAY, at, mail, order


async def test_what_was_accepted_is_attributed_unmatched_nobodys_or_a_dead_letter(
    stage: Running, office: Office, tmp_path: Path
) -> None:
    acme = await office.account("acme", domains=["acme.example"])
    ours = [order(f"o{number}", "maria@acme.example", source="shop") for number in range(5)]
    strange = [
        mail(f"<{number}>", "who@unknown.example", "anna@brightwell.example", when=at(hours=number), source="post")
        for number in range(3)
    ]
    token = tmp_path / "token"
    token.write_text(stage.issuer.issue("ops", ["operator"]))

    async def ask() -> tuple[int, dict[str, object]]:
        arguments = ["conservation", "--bootstrap", stage.bootstrap, "--prefix", stage.prefix, "--json"]
        arguments += ["--url", f"http://127.0.0.1:{stage.services[0].http_port}", "--token-file", str(token)]
        result = await asyncio.to_thread(CliRunner().invoke, build(), arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, json.loads(result.stdout)

    async with stage.replica():
        await stage.produce([*ours, *ours[:2], *strange])
        await _unreadable(stage.bootstrap, stage.prefix)
        await stage.drained()
        nobodys = f"/v1/interactions/{strange[0].interaction.id}/attribution"
        assert (await stage.ask("POST", nobodys, {"accounts": []})).status_code == 202
        await stage.drained()
        counted = (await stage.ask("GET", "/v1/conservation")).json()["sources"]
        code, found = await ask()
        assert code == 0
        await office.rows("delete from ledger where event_id = $1", ours[4].id)
        broken, lost = await ask()
    letters = {"waiting": 0, "replayed": 0, "dropped": 0}
    assert counted == {
        "desk": {
            "events": 0,
            "attributed": 0,
            "unmatched": 0,
            "nobodys": 0,
            "repeated": 0,
            "dead_letters": {**letters, "waiting": 1},
        },
        "post": {"events": 3, "attributed": 0, "unmatched": 2, "nobodys": 1, "repeated": 0, "dead_letters": letters},
        "shop": {"events": 5, "attributed": 5, "unmatched": 0, "nobodys": 0, "repeated": 2, "dead_letters": letters},
        "?": {
            "events": 0,
            "attributed": 0,
            "unmatched": 0,
            "nobodys": 0,
            "repeated": 0,
            "dead_letters": {**letters, "waiting": 1},
        },
    }
    nothing = dict.fromkeys(("accepted", "attributed", "unmatched", "nobodys", "dead_letter", "waiting", "missing"), 0)
    assert found["sources"] == {
        "?": {**nothing, "accepted": 1, "dead_letter": 1},
        "desk": {**nothing, "accepted": 1, "dead_letter": 1},
        "post": {**nothing, "accepted": 3, "unmatched": 2, "nobodys": 1},
        "shop": {**nothing, "accepted": 7, "attributed": 7},
    }
    assert broken == 1
    assert [one["id"] for one in lost["missing"]] == [ours[4].id]  # type: ignore[attr-defined]
    assert acme


async def _unreadable(bootstrap: str, prefix: str) -> None:
    """What no mapping understands, and what is no CloudEvent at all."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    raw = Envelope("raw", "/sources/desk", UNMAPPED_TYPE, "digest", MONDAY, datetime.now(UTC))
    await producer.send_and_wait(prefix + INTERACTIONS.name, b"raw bytes", key=b"digest", headers=raw.headers())
    await producer.send_and_wait(prefix + INTERACTIONS.name, b"{", key=b"x", headers=[("ce_id", b"\xff")])
    await producer.stop()
