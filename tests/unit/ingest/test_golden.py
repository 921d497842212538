"""What providers send becomes the events that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.ingest.golden import expected, mails, map_golden, webhooks


@pytest.mark.parametrize("path", webhooks(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_webhook_becomes_what_its_golden_example_says(path: Path) -> None:
    assert map_golden(path) == expected(path)


@pytest.mark.parametrize("path", mails(), ids=lambda path: path.stem)
def test_a_mail_becomes_what_its_golden_example_says(path: Path) -> None:
    assert map_golden(path) == expected(path)
