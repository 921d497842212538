"""Files that are read while somebody writes them: what is there in the middle is never used, however right it looks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.ingest.configuration import Examined, examine
from services.ingest.reloading import Reloader
from services.ingest.switching import Pieces, Wanted
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
        self.faults = 0

    async def pause(self, seconds: float) -> None:
        """Let the writer write, where a reader waits long."""
        await asyncio.sleep(0)
        if seconds > 1 and self.then:
            self.file.write_text(self.then.pop(0))

    async def use(self, examined: Examined) -> None:
        """Remember what is used, or fail as often as there are `faults`."""
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a part cannot stop")
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


async def test_what_could_not_be_used_is_tried_again(tmp_path: Path) -> None:
    """A part that cannot stop or start for a moment: what was asked for must not wait for the next change of a file."""
    writing = Writing(tmp_path / "sources.toml", [])
    reloader = writing.reloader()
    await reloader.look()
    writing.faults = 1
    writing.file.write_text(WHOLE + SHOP.replace("shop", "till"))

    with pytest.raises(RuntimeError):
        await reloader.look()
    assert writing.used == []

    assert await reloader.look()
    assert [sorted(one.sources) for one in writing.used] == [["desk", "shop", "till"]]
    assert not await reloader.look()


class Piece:
    """A component whose first start fails, or whose end does."""

    def __init__(self, *, faulty: bool) -> None:
        self.faulty = faulty
        self.started = 0
        self.stopped = 0

    async def start(self) -> None:
        """Begin, if it can."""
        if self.faulty and not self.started:
            self.faulty = False
            raise RuntimeError("can't start new thread")
        self.started += 1

    async def stop(self) -> None:
        """End."""
        self.stopped += 1
        if self.faulty:
            raise RuntimeError("cannot end")


async def test_a_piece_that_did_not_start_is_started_by_the_next_change() -> None:
    pieces, piece = Pieces[Piece](), Piece(faulty=True)
    wanted = {"desk": Wanted[Piece](1, lambda: piece)}
    with pytest.raises(RuntimeError):
        await pieces.change(wanted)
    assert pieces.running == []
    await pieces.change(wanted)
    assert (piece.started, pieces.running) == (1, [piece])


async def test_a_piece_that_cannot_end_keeps_no_other_from_beginning() -> None:
    pieces, old, new = Pieces[Piece](), Piece(faulty=False), Piece(faulty=False)
    await pieces.change({"desk": Wanted[Piece](1, lambda: old)})
    old.faulty = True
    await pieces.change({"desk": Wanted[Piece](2, lambda: new)})
    assert (old.stopped, new.started, pieces.running) == (1, 1, [new])
