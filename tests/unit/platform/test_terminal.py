"""What strangers wrote is shown as it is: it draws nothing, and steers no terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from services.cli import alerts, dead_letters, doubles, terminal
from services.cli.faults import CommandFault
from services.cli.terminal import plain, show_rows

HOSTILE = "[EXT] [bold red]Re:[/] [/b] \x1b]0;owned\x07\x1b[2J \u202egnp.exe\u2066 \ud83d end"


def printed(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> io.StringIO:
    """What commands print from now on, on a terminal of 400 columns or elsewhere."""
    out = io.StringIO()
    monkeypatch.setattr(
        terminal,
        "Console",
        lambda **given: Console(file=out, force_terminal=is_terminal, width=400, color_system=None, **given),
    )
    return out


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_row_shows_markup_as_text_and_no_control_character(
    monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    out = printed(monkeypatch, is_terminal=is_terminal)
    show_rows(("who", "what"), [("[/nobody]", HOSTILE), ("two", "lines\nof it")], styles=["red", None])
    shown = out.getvalue()
    assert "[EXT] [bold red]Re:[/] [/b]" in shown
    assert "[/nobody]" in shown
    assert not set(shown) & set("\x1b\x07\u202e\u2066\ud83d")


def test_what_people_write_in_their_languages_is_left_as_it_is() -> None:
    for name in ("حسین می‌نویسد", "Müller & Söhne", "日本電気", "👩‍🔬 Lab", "שלום"):
        assert plain(name) == name


@pytest.mark.parametrize("is_terminal", [True, False])
def test_lists_of_alerts_letters_and_doubles_show_any_title(
    monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool
) -> None:
    out = printed(monkeypatch, is_terminal=is_terminal)
    alert = {"alert_id": "a", "severity": "alert", "state": "open", "rule": "r", "title": HOSTILE}
    alerts.show_table([{**alert, "opened_at": "2026-03-02T09:00:00Z"}])
    letter = {"id": "1", "service": "accounts", "topic": "t", "partition": 0, "offset": 7, "reason": "bad_data"}
    dead_letters.show_table([{**letter, "detail": HOSTILE}])
    side: dict[str, Any] = {"id": "1", "system": "s", "native_id": HOSTILE, "occurred_at": "then", "imported": True}
    both = {"one": {**side, "title": HOSTILE}, "other": {**side, "title": None}}
    doubles.show_table([{"kind": "mail", **both, "reasons": [HOSTILE]}])
    assert out.getvalue().count("[EXT] [bold red]Re:[/] [/b]") >= 3
    assert not set(out.getvalue()) & set("\x1b\x07\u202e\ud83d")


def test_what_is_done_now_may_have_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    out = printed(monkeypatch, is_terminal=True)
    with terminal.progress() as say:
        say(f"importing {HOSTILE}.mbox")
    assert "\x1b]0;" not in out.getvalue()


def test_an_alert_that_is_shown_steers_no_terminal() -> None:
    found = {
        **dict.fromkeys(("title", "explanation", "advice", "rule"), HOSTILE),
        "severity": "alert",
        "state": "open",
        "opened_at": "2026-03-02T09:00:00Z",
        "rule_version": 1,
        "evidence": {"items": [{"occurred_at": "2026-03-02T09:00:00Z", "summary": HOSTILE}], "unverified": [HOSTILE]},
    }
    assert not set("".join(alerts.told(found))) & set("\x1b\x07\u202e\ud83d")


def test_what_a_service_says_steers_no_terminal() -> None:
    assert str(CommandFault("ingest says: \x1b[2J no\nsecond line")) == "ingest says:  [2J no\nsecond line"
