"""What the documents say is there is there."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from services.cli.app import build
from tests.unit.docs.tables import OPERATIONS, ROOT, TABLES, with_tables

DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "samples/*.md", "tests/**/*.md") for path in ROOT.glob(pattern)
)
COMMANDS = get_command(build())


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_tables_of_settings_and_metrics_say_what_the_code_says() -> None:
    text = OPERATIONS.read_text()
    assert all(f"<!-- {name} -->" in text for name in TABLES)
    assert with_tables(text) == text, "run `make docs`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_links_lead_to_files_that_exist(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    missing = [
        target for target in targets if "://" not in target and not (document.parent / target).resolve().exists()
    ]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"(?:^|`)make ([a-z]+)", document.read_text(), re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_commands_of_tenure_exist(document: Path) -> None:
    missing = []
    for line in re.findall(r"(?:^|`)tenure ([a-z][a-z -]*)", document.read_text(), re.MULTILINE):
        command = COMMANDS
        for word in line.split():
            if not hasattr(command, "commands"):
                break
            if word.startswith("-") or word not in command.commands:
                missing.append(f"tenure {line}")
                break
            command = command.commands[word]
    assert missing == []


def test_the_tests_that_the_guarantees_name_exist() -> None:
    rows = (ROOT / "docs" / "guarantees.md").read_text()
    named_tests = re.findall(r"\[([a-z0-9 ]+)\]\(\.\./(tests/[^)]+)\)", rows)
    assert named_tests
    missing = [
        name for name, file in named_tests if f"def test_{name.replace(' ', '_')}(" not in (ROOT / file).read_text()
    ]
    assert missing == []


def test_the_changelog_has_each_version_once_and_begins_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert len(headings) == len(set(headings))
