"""The commands of `tenure` that concern processes, topics and databases, run as a person runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.topics import TOPICS
from deploy.databases import SERVICES, DatabaseAccess
from deploy.local.instance import Instance, instance_directory
from deploy.topics import delete_topics
from tests.conftest import run_blocking


def tenure(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command without a terminal; `environment` names TENURE_ variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return subprocess.run(
        [sys.executable, "-m", "services.cli.app", *words],
        env=inherited | {f"TENURE_{name}": value for name, value in environment.items()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def unused_instance() -> Iterator[str]:
    """A name under which nothing runs; whatever the test starts there is stopped and deleted."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    instance = Instance(instance_directory(name))
    instance.stop_all()
    instance.remove()


def test_missing_topics_are_created_and_then_found_as_written_down(kafka_bootstrap: str, topic_prefix: str) -> None:
    cluster = {"KAFKA_BOOTSTRAP": kafka_bootstrap, "TOPIC_PREFIX": topic_prefix}
    names = [topic_prefix + topic.name for topic in TOPICS]
    before = tenure("topics", "check", "--embedded", **cluster)
    assert (before.returncode, before.stdout.count("missing")) == (1, len(TOPICS))
    try:
        assert tenure("topics", "create", "--embedded", **cluster).stdout.split() == [
            word for name in names for word in ("created", name)
        ]
        again = tenure("topics", "create", "--embedded", **cluster)
        assert (again.returncode, again.stdout) == (0, "every topic is there\n")
        assert tenure("topics", "check", "--embedded", **cluster).returncode == 0
        listed = tenure("topics", "list", **cluster).stdout
        assert all(name in listed for name in names)
    finally:
        run_blocking(delete_topics(kafka_bootstrap, names))


def test_a_migrated_database_is_up_to_date(database: Callable[[str], DatabaseAccess]) -> None:
    done = tenure("migrate", "accounts", OWNER_DATABASE_URL=database("accounts").owner)
    assert (done.returncode, done.stdout) == (0, "accounts: up to date\n")


@pytest.mark.parametrize(
    ("words", "environment", "sentence"),
    [
        (["topics", "list"], {"KAFKA_BOOTSTRAP": "127.0.0.1:9"}, "No Kafka broker answers at 127.0.0.1:9."),
        (["run", "billing"], {}, "There is no service billing; there are ingest, accounts, metrics, notifier."),
        (["migrate", "billing"], {}, "There is no service billing; there are ingest, accounts, metrics, notifier."),
        (["migrate"], {"OWNER_DATABASE_URL": "postgresql://x"}, "A connection URL belongs to one service"),
        (["status", "--instance", "nowhere"], {}, "Nothing runs under the name nowhere"),
        (["run", "accounts"], {}, "accounts cannot start. TENURE_KAFKA_BOOTSTRAP is not set"),
        (["down", "--purge", "--instance", "nowhere/.."], {}, "is no name for a system"),
        (["down", "--purge", "--instance", ""], {}, "is no name for a system"),
        (["up", "--instance", "unused", "--time-zone", "Europe"], {}, "--time-zone: 'Europe' is no time zone"),
        (["up", "--instance", "unused", "--sources", "pyproject.toml"], {}, "pyproject.toml:"),
        (["token", "--subject", " "], {}, "--subject is empty"),
        (["token", "--subject", "anna", "--role", "king"], {}, "There is no role king; there are admin, operator."),
        (["up", "--instance", "../elsewhere"], {}, "is no name for a system"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    words: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = tenure(*words, **environment)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_what_does_not_run_is_not_said_to_be_stopped(unused_instance: str) -> None:
    down = tenure("down", "--instance", unused_instance)
    assert (down.returncode, down.stdout) == (0, "nothing was running\n")


def test_a_service_that_does_not_answer_is_named_by_status() -> None:
    done = tenure("status", "--service", "metrics=http://127.0.0.1:9", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["obstacles"] == ["metrics does not answer"]


def test_a_system_is_brought_up_flows_is_not_started_twice_and_goes_down(unused_instance: str, tmp_path: Path) -> None:
    here = ("--instance", unused_instance)
    (tmp_path / "sources.toml").write_text('[sources.old]\nprovider = "import"\nsystem = "erp:acme"\n')
    up = tenure("up", *here, "--sources", str(tmp_path / "sources.toml"))
    assert up.returncode == 0, up.stderr
    processes = Instance(instance_directory(unused_instance)).state().processes
    assert set(processes) == {"kafka", "postgres", *SERVICES}
    assert "is up already" in tenure("up", *here).stderr

    status = tenure("status", *here)
    assert (status.returncode, status.stdout.splitlines()[-1].startswith("everything flows")) == (0, True), (
        status.stdout
    )
    assert tenure("topics", "check", *here).returncode == 0
    assert tenure("migrate", *here).stdout.count("up to date") == len(SERVICES)
    # The file is the one that the system was brought up with, not one of our own beside its state.
    tried = tenure("sources", "test", "old", *here)
    assert (tried.returncode, tried.stdout.splitlines()[0]) == (0, "configuration: right (import)"), tried.stderr
    assert tenure("token", "--subject", "somebody", *here).stdout.count(".") == 2

    down = tenure("down", "--purge", *here)
    assert (down.returncode, down.stdout) == (0, f"stopped: {unused_instance}\n")
    assert not any(record.find() for record in processes.values())
    assert not Path(instance_directory(unused_instance)).exists()
