"""How the demo speaks where there is no terminal, and how the player reads the doors' answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from samples.player import Player, PlayFault
from samples.script import story
from samples.sources import fresh_secrets
from samples.webhooks import TOKEN, Delivery
from services.cli.demo import Talk, _clock, _figure, _signed


def test_moments_are_shown_in_the_companys_time() -> None:
    assert _clock(datetime(2026, 3, 2, 8, 5, tzinfo=UTC)) == "Mon  2 Mar 09:05"
    assert _clock("2025-07-01T08:05:00Z") == "Tue  1 Jul 10:05"


def test_figures_have_no_needless_zeros_and_changes_have_a_sign() -> None:
    assert [_figure(value) for value in ("3", "25.5000", "19356.55", None)] == ["3", "25.50", "19,356.55", "-"]
    assert [_signed(change) for change in ("2", "-11120", "0")] == ["+2", "-11,120", "0"]


def test_tables_are_plain_aligned_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Talk().table(["who", "count"], [["tom@talente.example", "3"], ["+49", "[bold]2"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["  who                  count", "  tom@talente.example  3", "  +49                  [bold]2"]


class Door(BaseHTTPRequestHandler):
    """Answers what it was told to, and remembers what came."""

    answers: list[int]
    bodies: list[bytes]

    def do_POST(self) -> None:
        """One delivery."""
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Doors:
    """A stage with one door."""

    def __init__(self, address: str) -> None:
        self._address = address

    def url(self, _service: str) -> str:
        """The same for every service."""
        return self._address

    operations_url = url

    def token(self, _subject: str, *_: object) -> str:
        """Nobody asks for it here."""
        return "none"

    def set_clock(self, _moment: datetime) -> None:
        """No clock here."""

    def check(self) -> None:
        """Everything runs."""


@pytest.fixture
def door() -> Iterator[tuple[type[Door], Player]]:
    handler = type("OneDoor", (Door,), {"answers": [200], "bodies": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Player(Doors(f"http://127.0.0.1:{server.server_port}"), story(), fresh_secrets()) as player:
        yield handler, player
    server.shutdown()
    server.server_close()
    thread.join()


CALL = Delivery("webhooks", "phone", "/v1/webhooks/phone", b'{"token":"' + TOKEN + b'"}', "token")


def test_what_is_not_acknowledged_is_sent_again(door: tuple[type[Door], Player]) -> None:
    handler, player = door
    handler.answers = [503, 500, 202]
    player.deliver(CALL)
    assert len(handler.bodies) == 3
    assert len(set(handler.bodies)) == 1
    assert TOKEN not in handler.bodies[0]


def test_a_delivery_that_is_refused_ends_the_play_with_a_sentence(door: tuple[type[Door], Player]) -> None:
    handler, player = door
    handler.answers = [401]
    with pytest.raises(PlayFault, match="refused a delivery with 401"):
        player.deliver(CALL)


def test_a_forged_delivery_that_is_taken_ends_the_play(door: tuple[type[Door], Player]) -> None:
    _, player = door
    forged = Delivery(CALL.door, CALL.source, CALL.path, CALL.body, CALL.signature, forged=True)
    with pytest.raises(PlayFault, match="answered 200, not 401"):
        player.deliver(forged)
