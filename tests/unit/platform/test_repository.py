"""What must not stand in the repository."""

from __future__ import annotations

import re
import subprocess

import pytest

from deploy.environment import CHECKOUT

# Written in pieces, so that this file does not contain what it looks for.
_FORBIDDEN = {
    "the address of a package registry": "|".join(
        re.escape("".join(parts))
        for parts in (
            ("py", "pi.org"),
            ("python", "hosted"),
            ("repo.", "maven"),
            ("repo1.", "maven"),
            ("maven", "central.com"),
            ("registry.", "npmjs"),
            ("crates", ".io/"),
        )
    ),
    "a path of somebody's machine": "|".join(
        "/" + first + "/" + rest for first, rest in (("work", ""), ("root", ""), ("home", "[a-z]+/"))
    ),
}


def _tracked_texts() -> list[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    paths = [CHECKOUT / name for name in listed.stdout.split("\0") if name]
    return [(str(path.relative_to(CHECKOUT)), path.read_text(errors="replace")) for path in paths if path.is_file()]


@pytest.mark.parametrize("what", _FORBIDDEN)
def test_no_file_contains(what: str) -> None:
    pattern = re.compile(_FORBIDDEN[what])
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _tracked_texts()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == []
