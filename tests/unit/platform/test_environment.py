"""The set-up says what is wrong in a sentence, whatever pip said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import environment
from deploy.environment import CHECKOUT, CONTAINS, LOCKS, Progress, SetupFault
from deploy.local import kafka


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError: Failed to establish a new connection", "The first run needs the network"),
        ("Temporary failure in name resolution", "The first run needs the network"),
        (
            "Retrying after: SSLError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed",
            "name its file in PIP_",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "is not the one"),
        ("Collecting x\nERROR: No matching distribution found for x", "ERROR: No matching distribution found for x"),
        ("Traceback\n  something\nKaboom", "Kaboom"),
    ],
)
def test_what_pip_says_becomes_a_sentence(said: str, sentence: str) -> None:
    assert sentence in environment.explain(said)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "name its file in REQUESTS_CA_BUNDLE"),
        (ConnectionResetError("by peer"), "The first start needs the network"),
    ],
)
def test_why_kafka_cannot_be_fetched_is_a_sentence_too(fault: Exception, sentence: str) -> None:
    assert sentence in kafka.explain(fault)


def test_a_disk_without_room_is_reported_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    nearly_full = shutil.disk_usage(CHECKOUT)._replace(free=5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: nearly_full)
    with pytest.raises(SetupFault, match=r"Only 5 MiB are free in .*; the Python packages need \d+ MiB"):
        environment.require_room("local")


def test_a_python_without_ensurepip_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SetupFault, match="install the package python3-venv"):
        environment.create_venv("local", Progress())


def test_everything_of_the_local_lock_is_in_the_development_lock() -> None:
    pinned = {name: _pins(lock) for name, lock in LOCKS.items()}
    assert pinned["local"] <= pinned["dev"]
    assert set(CONTAINS["dev"]) == {"local", "dev"}


def test_every_package_is_locked_with_a_hash() -> None:
    for lock in LOCKS.values():
        entries = [entry for entry in lock.read_text().replace("\\\n", " ").splitlines() if "==" in entry]
        assert entries
        assert [entry for entry in entries if "--hash=sha256:" not in entry and not entry.startswith("#")] == []


def test_the_first_script_can_be_read_by_a_python_of_ten_years_ago() -> None:
    """By its grammar of 3.4, the oldest that this Python's parser knows."""
    check = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 4))"
    subprocess.run([sys.executable, "-c", check, str(CHECKOUT / "deploy" / "bootstrap.py")], check=True)


def test_the_usage_is_shown_for_an_unknown_set_of_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.main(["everything"]) == 2
    assert "usage:" in capsys.readouterr().err


def _pins(lock: Path) -> set[str]:
    return {
        line.split()[0] for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#"))
    }
