"""Migrations only go forward and are safe beside the version before: what squawk (in `make lint`) does not look at.

A release expands (new tables, nullable columns, columns with a default), the next one migrates, a later one contracts.
So nothing that the version before reads or writes may vanish, unless the file says since when it is unused:
`-- contract: unused since <version>`. The files of deploy/released-migrations.txt are those that databases have.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from deploy.databases import migration_directories
from deploy.environment import CHECKOUT

_RELEASED = CHECKOUT / "deploy" / "released-migrations.txt"
_FILES = sorted((CHECKOUT / "services").glob("*/migrations/*.sql"))
_NEW = [path for path in _FILES if str(path.relative_to(CHECKOUT)) not in _RELEASED.read_text()]
_CONTRACT = re.compile(r"^-- contract: unused since \d+\.\d+", re.MULTILINE)
_VANISHES = {
    "drops what is read": r"\bdrop\s+(table|column|view|function|schema|type|policy)\b",
    "renames": r"\brename\b",
    "changes the type of a column": r"\balter\s+column\s+\w+\s+(set\s+data\s+)?type\b",
    "demands a value where the version before may write none": r"\balter\s+column\s+\w+\s+set\s+not\s+null\b",
    "takes rights away from a role of ours": r"\brevoke\b(?!.*\bfrom\s+public\b)",
}
_LOCKS = {
    "locks a table by name": r"\block\s+table\b",
    "touches every row of a table": r"^\s*(update|delete\s+from)\s+\w+(?![^;]*\bwhere\b)[^;]*;",
    "validates a constraint while it locks the table": (
        r"\badd\s+constraint\b(?![^;]*\bnot\s+valid\b)(?![^;]*\busing\s+index\b)[^;]*;"
    ),
    "sets its own lock timeout, which deploy/databases.py sets for all": r"\block_timeout\b",
}


def _statements(path: Path) -> str:
    """What runs when it is applied: without comments and without the bodies of functions."""
    up = path.read_text().partition("-- migrate:down")[0]
    without_bodies = re.sub(r"(\$\w*\$).*?\1", "''", up, flags=re.DOTALL)
    without_comments = re.sub(r"--[^\n]*", "", without_bodies)
    return re.sub(r"'[^']*'", "''", without_comments)


def _name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def test_what_was_released_is_never_edited() -> None:
    for line in _RELEASED.read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((CHECKOUT / name).read_bytes()).hexdigest() == digest, f"{name}: write a new migration"


def test_new_migrations_come_after_those_that_were_released() -> None:
    released = [Path(line.split()[1]) for line in _RELEASED.read_text().splitlines()]
    for path in _FILES:
        before = [one.name for one in released if one.parent == path.relative_to(CHECKOUT).parent]
        if path.relative_to(CHECKOUT) not in released and before:
            assert path.name > max(before), _name(path)


@pytest.mark.parametrize("path", _FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_migration_leaves_the_version_before_what_it_needs(path: Path) -> None:
    if not _CONTRACT.search(path.read_text()):
        for what, pattern in _VANISHES.items():
            assert re.search(pattern, _statements(path), re.IGNORECASE) is None, f"{_name(path)} {what}"


@pytest.mark.parametrize("path", _NEW, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_migration_holds_no_lock_for_long(path: Path) -> None:
    for what, pattern in _LOCKS.items():
        assert re.search(pattern, _statements(path), re.IGNORECASE | re.MULTILINE) is None, f"{_name(path)} {what}"


@pytest.mark.parametrize("path", _FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_migration_only_goes_forward_and_gives_a_reason_for_each_exemption(path: Path) -> None:
    text = path.read_text()
    assert "raise exception 'migrations only go forward" in text.partition("-- migrate:down")[2]
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("-- squawk-ignore"):
            reasons = [one for one in lines[max(number - 4, 0) : number] if re.match(r"-- (?!squawk)\w", one)]
            assert reasons, f"{_name(path)}:{number + 1} gives no reason"


def test_every_directory_with_migrations_is_applied() -> None:
    applied = {
        directory
        for service in ("ingest", "accounts", "metrics", "notifier")
        for directory, _ in migration_directories(service)
    }
    assert applied == {path.parent for path in _FILES}
