"""Files that are read while somebody writes them: what is there in the middle is never used, however right it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.ingest.configuration import Examined, examine
from services.ingest.reloading import Reloader
from services.runtime.telemetry import Metrics

DOMAINS = 'own_domains = ["acme.example"]\n'
DESK = '[sources.desk]\nprovider = "import"\nsystem = "a:1"\n'
SHOP = '[sources.shop]\nprovider = "import"\nsystem = "a:2"\n'
RULE = '[[privacy]]\nname = "hr"\naddresses = ["hr@acme.example"]\n'
WHOLE = DOMAINS + DESK + SHOP + RULE


class Writing:
    """Somebody who goes on writing as soon as a reader has waited for longer than a moment."""

    def __init__(self, file: Path, then: Sequence[str]) -> None:
        self.file = file
        self.then = list(then)
        self.used: list[Examined] = []

    async def pause(self, seconds: float) -> None:
        """Let the writer write, where a reader waits long."""
        await asyncio.sleep(0)
        if seconds > 1 and self.then:
            self.file.write_text(self.then.pop(0))

    async def use(self, examined: Examined) -> None:
        """Remember what is used."""
        self.used.append(examined)

    def reloader(self) -> Reloader:
        """Of a service that was started with the whole file."""
        self.file.write_text(WHOLE)
        return Reloader(self.file, None, examine(self.file), self.use, Metrics(), pause=self.pause)


@pytest.mark.parametrize("half", [DOMAINS, DOMAINS + DESK, DOMAINS + DESK + SHOP, DESK + SHOP + RULE])
async def test_what_is_written_in_pieces_is_used_when_it_is_whole(tmp_path: Path, half: str) -> None:
    more = WHOLE + SHOP.replace("shop", "till")
    writing = Writing(tmp_path / "sources.toml", [half + "# more", more])
    reloader = writing.reloader()
    await reloader.look()
    writing.file.write_text(half)

    assert await reloader.look()

    assert [sorted(one.sources) for one in writing.used] == [["desk", "shop", "till"]]
    assert len(writing.used[0].file.privacy.rules) == 1


async def test_what_is_taken_away_and_stays_away_is_gone(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "sources.toml", [])
    reloader = writing.reloader()
    await reloader.look()
    writing.file.write_text(DOMAINS + DESK)

    assert await reloader.look()

    assert [sorted(one.sources) for one in writing.used] == [["desk"]]


async def test_whoever_asks_is_not_kept_waiting(tmp_path: Path) -> None:
    writing = Writing(tmp_path / "sources.toml", [WHOLE])
    reloader = writing.reloader()
    await reloader.look()
    writing.file.write_text(DOMAINS + DESK)

    assert await reloader.look(asked=True)

    assert [sorted(one.sources) for one in writing.used] == [["desk"]]
