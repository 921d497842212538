"""Connections go back to their pool as they came: nobody resets them (ADR 160), so nobody may leave anything behind."""

from __future__ import annotations

import re

import pytest

from deploy.local.instance import CHECKOUT

_LASTS = re.compile(
    r"set_config\([^)]*,\s*false\s*\)|[\"';](?:set\s+(?!local\b|role\b|log)\w+\s*(?:=|to)\s|listen\s+\w)"
    r"|add_listener|pg_(?:try_)?advisory_lock\(",
    re.IGNORECASE,
)
_CLEANS_UP = {"services/runtime/session_locks.py"}
_OWN_CONNECTION = {"services/runtime/outbox.py"}


def leaves_behind(text: str) -> list[str]:
    """What in the source of a module would outlive a transaction."""
    return [found.group() for found in _LASTS.finditer(text)]


def test_no_service_leaves_settings_locks_or_listeners_in_a_session_of_a_pool() -> None:
    sources = (CHECKOUT / "services").rglob("*.py")
    found = {
        str(source.relative_to(CHECKOUT)): lasting
        for source in sources
        if (lasting := leaves_behind(source.read_text(encoding="utf-8")))
    }
    assert found.keys() == _CLEANS_UP | _OWN_CONNECTION, found


@pytest.mark.parametrize(
    "statement",
    [
        "\"select set_config('tenure.subject', $1, false)\"",
        '"set statement_timeout = 0"',
        '"listen outbox"',
        '"select pg_advisory_lock(1)"',
    ],
)
def test_what_outlives_a_transaction_is_seen(statement: str) -> None:
    assert leaves_behind(f"await connection.execute({statement})")


@pytest.mark.parametrize("statement", ["\"set local lock_timeout = '2s'\"", "\"select set_config('a', $1, true)\""])
def test_what_ends_with_its_transaction_is_allowed(statement: str) -> None:
    assert leaves_behind(f"await connection.execute({statement})") == []
