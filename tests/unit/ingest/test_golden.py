"""What providers send becomes the events that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest.golden import FOLDER, expected, mails, map_golden, webhooks


@pytest.mark.parametrize("path", webhooks(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_webhook_becomes_what_its_golden_example_says(path: Path) -> None:
    assert map_golden(path) == expected(path)


def test_every_provider_has_golden_examples_and_every_folder_a_provider() -> None:
    folders = {folder.name for folder in FOLDER.iterdir() if folder.is_dir() and any(folder.glob("*.json"))}
    assert folders - {"mail"} == set(WEBHOOKS)


@pytest.mark.parametrize("path", mails(), ids=lambda path: path.stem)
def test_a_mail_becomes_what_its_golden_example_says(path: Path) -> None:
    assert map_golden(path) == expected(path)
