"""A system of one machine: nothing is left behind, nobody else's process is touched, what is killed comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local.instance import Instance, this_process
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.local.processes import LocalFault, ProcessRecord, free_port, spawn, stop
from deploy.local.system import System, SystemPlan, start_system

_GENEROUS = 60.0  # seconds

# A process that starts a sleeper in an instance, says so, and waits to be ended.
_OWNER = """
import signal, sys, time
from pathlib import Path
from deploy.local.instance import Instance, this_process
from deploy.local.processes import spawn

# Who runs the tests in a background without job control makes their children deaf to it.
signal.signal(signal.SIGINT, signal.default_int_handler)
instance = Instance(Path(sys.argv[1]))
instance.begin(this_process())
instance.add("sleeper", spawn([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]],
                              mark=sys.argv[1], log=instance.logs / "sleeper.log"))
print("ready", flush=True)
time.sleep(600)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; fails the test after a generous time."""
    deadline = time.monotonic() + _GENEROUS
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.05)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessRecord]:
    """A process that does nothing."""
    record = spawn(
        [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)], mark=str(tmp_path), log=tmp_path / "log"
    )
    # For a moment after its start a process has no command yet, or still ours.
    wait_for(lambda: str(tmp_path) in psutil.Process(record.pid).cmdline())
    yield record
    stop(record)


def test_a_pid_that_now_belongs_to_a_stranger_is_not_touched(sleeper: ProcessRecord) -> None:
    another_start = ProcessRecord(sleeper.pid, sleeper.started - 3600, sleeper.mark)
    another_command = ProcessRecord(sleeper.pid, sleeper.started, "/somewhere/else")
    for stale in (another_start, another_command):
        assert stale.find() is None
        stop(stale)
    assert sleeper.find() is not None


def test_a_process_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    record = spawn([sys.executable, "-c", code, str(tmp_path)], mark=str(tmp_path), log=log)
    wait_for(lambda: "deaf" in log.read_text())
    stop(record, patience=0.2)
    assert record.find() is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_owner_ends_what_it_started_ends_too(tmp_path: Path, how: signal.Signals) -> None:
    directory = tmp_path / "instance"
    with subprocess.Popen([sys.executable, "-c", _OWNER, str(directory)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        processes = Instance(directory).state().processes
        assert set(processes) == {"guard", "sleeper"}
        owner.send_signal(how)
    wait_for(lambda: not any(record.find() for record in processes.values()))
    assert not Instance(directory).exists()


def test_a_released_instance_outlives_its_owner_until_it_is_stopped(tmp_path: Path) -> None:
    instance = Instance(tmp_path / "instance")
    instance.begin(this_process())
    command = [sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)]
    sleeper = spawn(command, mark=str(tmp_path), log=instance.logs / "sleeper.log")
    instance.add("sleeper", sleeper)
    guard = instance.state().processes["guard"]
    instance.release()
    assert guard.find() is None
    assert sleeper.find() is not None
    Instance(instance.directory).stop_all()
    assert sleeper.find() is None


def test_two_commands_do_not_share_an_instance(tmp_path: Path, sleeper: ProcessRecord) -> None:
    instance = Instance(tmp_path / "instance")
    instance.begin(sleeper)
    with pytest.raises(LocalFault, match="Another command uses instance"):
        Instance(instance.directory).begin(this_process())
    instance.stop_all()


def test_a_system_without_services_starts_and_its_parts_can_be_killed_and_come_back(tmp_path: Path) -> None:
    said: list[str] = []
    # pytest's own directory may be closed to the user as whom root runs PostgreSQL: that is part of the test
    with start_system(
        tmp_path / "system", SystemPlan(services=(), partitions=1, ephemeral=True), report=said.append
    ) as system:
        before = (system.kafka.bootstrap, system.postgres.admin_dsn)
        for part, title in (("kafka", "Kafka"), ("postgres", "PostgreSQL")):
            system.kill(part)
            system.start(part)
            system.check()
            _kill_behind_its_back(system, part)
            with pytest.raises(LocalFault, match=f"{title} has stopped unexpectedly"):
                system.check()
            system.start(part)
        assert (system.kafka.bootstrap, system.postgres.admin_dsn) == before
        processes = system.instance.state().processes
    assert not any(record.find() for record in processes.values())
    assert said[0].startswith("starting Kafka and PostgreSQL")


def _kill_behind_its_back(system: System, part: str) -> None:
    record = system.instance.state().processes[part]
    os.kill(record.pid, signal.SIGKILL)
    wait_for(lambda: record.find() is None)


def test_kafka_that_cannot_start_says_so_with_its_own_words(tmp_path: Path) -> None:
    kafka = LocalKafka(tmp_path)
    kafka.start()
    kafka.stop()
    (tmp_path / "data" / "meta.properties").write_text("nonsense")
    with pytest.raises(LocalFault, match="Kafka ended while it was starting"):
        kafka.start()


def test_a_stale_lock_of_postgres_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    postgres = LocalPostgres(tmp_path / "postgres", durable=False)
    postgres.start()
    try:
        assert postgres.record is not None
        data = Path(postgres.record.mark)
        lock = (data / "postmaster.pid").read_text().split("\n", 1)
        postgres.kill()
        (data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lock[1:]]))
        postgres.start()
        assert psutil.pid_exists(os.getpid())
        with pytest.raises(LocalFault, match=r"runs on .* already"):
            LocalPostgres(tmp_path / "postgres").start()
    finally:
        postgres.stop()
        postgres.remove()


def test_free_ports_are_free_and_outside_the_range_of_outgoing_connections() -> None:
    assert all(20_000 <= free_port() < 32_000 for _ in range(20))
