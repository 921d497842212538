"""One played scene for all tests that only look; scenes of their own for those that break something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import Scene, scene


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The story, played once as it is told."""
    with scene(_directory(tmp_path_factory, "played")) as ready:
        ready.begin()
        ready.play_all()
        yield ready


def _directory(factory: pytest.TempPathFactory, name: str) -> Path:
    directory = factory.mktemp("e2e") / name
    # root's PostgreSQL runs as another user, who must be able to walk through
    for parent in (directory.parent, directory.parent.parent, directory.parent.parent.parent):
        parent.chmod(parent.stat().st_mode | 0o011)
    return directory
