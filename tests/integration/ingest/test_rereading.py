"""What was not understood is a dead letter of accounts, whole, and is read again when the mapping has been mended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson

from services.ingest.domain.schemes import SchemeName
from tests.integration.ingest.conftest import SOURCES, Operator

ROWS = """
[sources.answers]
provider = "rows"
system = "survey:brightwell"
mapping = "usage"
secret_files = ["erp.secret"]
"""


async def test_what_was_kept_in_parts_is_taken_once_the_mapping_is_mended(operator: Operator, tmp_path: Path) -> None:
    stage = operator.stage
    ingest = await operator.ingest(ROWS)
    answers = [
        {"id": f"s-{n}", "survey": "nps", "score": n % 10, "answered_at": "2026-03-02T09:30:00Z", "comment": "x" * 1800}
        for n in range(490)
    ]
    async with stage.replica() as service:

        async def reread() -> tuple[int, str]:
            return await operator.run(ingest, "dead-letters", "reread", accounts=service)

        body = orjson.dumps(answers)
        taken = await ingest.post("/v1/webhooks/answers", body, SchemeName.STANDARD_WEBHOOKS, "erp.secret")
        assert taken.json()["accepted"] == 0, taken.text
        await ingest.published(2)
        await stage.drained()
        code, said = await reread()
        assert code == 1
        assert "0 deliveries are understood now, 1 are not" in said
        assert "Still not understood" in said or "does not understand" in said

        (tmp_path / "sources.toml").write_text(SOURCES + ROWS.replace('"usage"', '"surveys"'))
        async with asyncio.timeout(60):
            while code:
                code, said = await reread()
        assert "1 deliveries are understood now, 0 are not" in said
        await ingest.published(2 + 490)
        await stage.drained()
        letters = (await stage.ask("GET", "/v1/dead-letters?state=dropped")).json()["items"]
        assert [letter["settled_why"] for letter in letters] == ["read again: 490 events"] * 2
        assert "0 deliveries are understood now" in (await reread())[1]
