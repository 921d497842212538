"""What must not stand in the repository."""

from __future__ import annotations

import re
import subprocess

import pytest

from deploy.environment import CHECKOUT

_SLASH = "/"
# Written in pieces, so that this file does not contain what it looks for.
_FORBIDDEN = {
    "the address of a package registry": re.compile(
        "|".join((r"pypi\." + "org", "pythonhosted", r"repo1?\.maven", r"registry\.npm" + "js", r"crates\.io" + _SLASH))
    ),
    "a path of somebody's machine": re.compile(
        "|".join((_SLASH + "work" + _SLASH, _SLASH + "root" + _SLASH, _SLASH + "home" + _SLASH + r"[a-z]+" + _SLASH))
    ),
}


def _tracked_texts() -> list[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    paths = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    return [(str(path.relative_to(CHECKOUT)), path.read_text(errors="replace")) for path in paths if path.is_file()]


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_contains(what: str) -> None:
    pattern = _FORBIDDEN[what]
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
