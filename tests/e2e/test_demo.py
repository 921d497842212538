"""The demo where there is no terminal: it ends by itself, says everything, and leaves nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator

import psutil
import pytest

from deploy.local.instance import CHECKOUT, Instance, instance_directory
from tests.e2e.scene import expected


@pytest.fixture
def name() -> Iterator[str]:
    """An instance of the checkout that nobody else has."""
    chosen = f"demo-{uuid.uuid4().hex[:8]}"
    yield chosen
    instance = Instance(instance_directory(chosen))
    instance.stop_all()
    instance.remove()


def test_the_demo_shows_every_alert_and_stops_what_it_started(name: str) -> None:
    command = [sys.executable, "-m", "services.cli.app", "demo", "--instance", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    words = {"opened": ("WARN:", "ALERT:"), "escalated": ("(risen):",), "resolved": ("resolved by itself:",)}
    for change, signs in words.items():
        said = sum(any(sign in line for sign in signs) for line in done.stdout.splitlines())
        assert said == sum(line["change"] == change for line in expected()["alerts"]), change
    assert "mails went to managers" in done.stdout
    assert [line for line in _mail_of_the_readme() if line not in done.stdout] == []
    assert "\x1b" not in done.stdout
    assert not [process for process in psutil.process_iter(["cmdline"]) if _is_about(process, name)]


def _mail_of_the_readme() -> list[str]:
    (mail,) = re.findall(r"```\n(Subject: .*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    return [line for line in mail.splitlines() if line]


def _is_about(process: psutil.Process, name: str) -> bool:
    return any(name in word for word in process.info["cmdline"] or ())
