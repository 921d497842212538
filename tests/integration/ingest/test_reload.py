"""sources.toml and secrets change while requests come in: none is lost, none that is right is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign
from tests.integration.ingest.conftest import SECRETS, SOURCES, Ingest, StartIngest
from tests.integration.ingest.test_acceptance import PLACED

OLD, NEW = SECRETS["erp.secret"], "whsec_" + "N" * 40


async def until(found: Callable[[], Awaitable[Any]], what: str) -> Any:
    for _ in range(600):
        if answer := await found():
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(what)


async def configuration(ingest: Ingest) -> dict[str, Any]:
    """What `/flow` says about the configuration and the sources."""
    parts = (await ingest.operations.get("/flow")).json()["parts"]
    return {**parts["configuration"], "sources": set(parts["sources"]) - {"drained"}}


def look_now() -> None:
    """Have the files looked at without waiting for the next second."""
    os.kill(os.getpid(), signal.SIGHUP)


class Traffic:
    """Requests that come in all the time, signed by whichever secret is told, and the answers."""

    def __init__(self, ingest: Ingest, body: bytes) -> None:
        self.secrets = [OLD]
        self.answers: list[int] = []
        self._ingest = ingest
        self._body = body
        self._tasks = [asyncio.create_task(self._knock(number)) for number in range(4)]
        self._stopping = False

    async def _knock(self, lane: int) -> None:
        number = lane
        while not self._stopping:
            number += 1
            secret = self.secrets[number % len(self.secrets)]
            signed = sign(SchemeName.STANDARD_WEBHOOKS, secret, self._body, identifier=f"msg_{number}")
            headers = {"content-type": "application/cloudevents+json", **signed}
            answer = await self._ingest.http.post("/v1/events", content=self._body, headers=headers)
            self.answers.append(answer.status_code)

    async def more(self, count: int = 16) -> None:
        """Wait for so many more answers."""
        goal = len(self.answers) + count

        async def come() -> bool:
            return len(self.answers) >= goal

        await until(come, "answers")

    async def stop(self) -> None:
        """Let no more come."""
        self._stopping = True
        await asyncio.gather(*self._tasks)


async def test_secrets_rotate_and_sources_come_and_go_under_load_and_nothing_is_refused(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    ingest = await start_ingest()
    toml, secret = tmp_path / "sources.toml", tmp_path / "erp.secret"
    traffic = Traffic(ingest, orjson.dumps(PLACED))
    await traffic.more()

    # The new secret beside the old one; then both sign; then the old one goes.
    (tmp_path / "erp-new.secret").write_text(NEW)
    both = SOURCES.replace('["erp.secret"]', '["erp-new.secret", "erp.secret"]')
    toml.write_text(both + '[sources.added]\nprovider = "import"\nsystem = "x:y"\n')

    async def added() -> bool:
        return "added" in (await configuration(ingest))["sources"]

    await until(added, "the new source")
    traffic.secrets = [OLD, NEW]
    await traffic.more()
    traffic.secrets = [NEW]
    await traffic.more(8)
    replaced = tmp_path / "replaced"
    replaced.write_text(both.replace('["erp-new.secret", "erp.secret"]', '["erp-new.secret"]'))
    replaced.rename(toml)
    look_now()

    async def gone() -> bool:
        return "added" not in (await configuration(ingest))["sources"]

    await until(gone, "its end")
    await traffic.more()
    assert set(traffic.answers) == {202}

    # A wrong file changes nothing, and is said with its line.
    toml.write_text(SOURCES.replace('provider = "zendesk"', 'provider = "zendesc"'))
    look_now()

    async def refused() -> Any:
        said = await configuration(ingest)
        return said if said["status"].startswith("refused") else None

    said = await until(refused, "a refusal")
    assert any("sources.toml:5: sources.desk.provider" in line for line in said["wrong"])
    assert "tenure_ingest_configuration_good 0.0" in (await ingest.operations.get("/metrics")).text
    await traffic.more()

    # A secret whose content alone changes is noticed too; a signal has it looked at at once.
    secret.write_text(NEW)
    toml.write_text(SOURCES)
    look_now()

    async def mended() -> bool:
        return str((await configuration(ingest))["status"]) == "ok"

    await until(mended, "the mended file")
    await traffic.more()
    await traffic.stop()
    assert set(traffic.answers) == {202}
    await ingest.published(len(traffic.answers))
    page = (await ingest.http.get("/v1/sources/erp", headers=ingest.bearer("operator"))).json()
    assert page["accepted"] == len(traffic.answers)
    assert page["redelivered"] == len(traffic.answers) - 1
    assert page["rejected"] == {}


async def test_a_mounted_folder_is_swapped_whole_as_kubernetes_does_it(
    start_ingest: StartIngest, tmp_path: Path
) -> None:
    first, second = tmp_path / "..first", tmp_path / "..second"
    for version, sources in (
        (first, SOURCES),
        (second, SOURCES + '[sources.added]\nprovider = "import"\nsystem = "x:y"\n'),
    ):
        version.mkdir()
        (version / "sources.toml").write_text(sources)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "..data").symlink_to(first)
    (mounted / "sources.toml").symlink_to("..data/sources.toml")
    ingest = await start_ingest(sources_file=str(mounted), secrets_dir=str(tmp_path))
    assert "added" not in (await configuration(ingest))["sources"]
    (mounted / "..new").symlink_to(second)
    (mounted / "..new").rename(mounted / "..data")

    async def added() -> bool:
        return "added" in (await configuration(ingest))["sources"]

    await until(added, "the new source")


async def test_only_operators_see_how_sources_stand(ingest: Ingest) -> None:
    assert (await ingest.http.get("/v1/sources")).status_code == 401
    assert (await ingest.http.get("/v1/sources", headers=ingest.bearer())).status_code == 403
    pages = (await ingest.http.get("/v1/sources", headers=ingest.bearer("operator"))).json()["items"]
    assert {page["name"] for page in pages} >= {"desk", "shop", "erp", "history"}
    by_name = {page["name"]: page for page in pages}
    assert by_name["desk"]["rhythm"]["state"] == "not yet"
    assert by_name["history"]["rhythm"]["state"] == "none"
    missing = await ingest.http.get("/v1/sources/nobody", headers=ingest.bearer("operator"))
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"
