"""Processes that we start, recognise again and stop; never those of a stranger.

A process is remembered as (pid, start time, mark). The mark is a string that stands in its command line, such as its
own data directory: a pid that the system gave to somebody else meanwhile matches neither.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# Outside the range from which systems usually take the ports of outgoing connections, so that a port is still ours
# when what listened there is killed and started again.
_PORTS = range(20_000, 32_000)
_START_TIME_TOLERANCE = 2.0  # seconds; the kernel's start time and the clock drift apart when the clock is set

# Told about a process as soon as there is one, before it is ready: whoever cleans up must know it by then.
Spawned = Callable[["ProcessRecord"], None]

# What this process itself has started, to be waited for when it ends.
_children: dict[int, subprocess.Popen[bytes]] = {}


class LocalFault(Exception):
    """Something on this machine is not as it must be. The text is a sentence for the person at the keyboard."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What lets us recognise a process that we started. `started` is in seconds since the epoch."""

    pid: int
    started: float
    mark: str

    @staticmethod
    def of(pid: int, mark: str) -> ProcessRecord:
        """The record of a process that has just been started. Raises LocalFault when it is already gone."""
        try:
            return ProcessRecord(pid, psutil.Process(pid).create_time(), mark)
        except psutil.NoSuchProcess:
            raise LocalFault(f"The process {pid} ({mark}) ended as soon as it was started.") from None

    def find(self) -> psutil.Process | None:
        """The running process, or None when it has ended or its pid belongs to somebody else now."""
        if child := _children.get(self.pid):
            child.poll()  # a child of ours stays in the process table until it is waited for
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) > _START_TIME_TOLERANCE:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            words = process.cmdline()  # for a moment after the start it is empty
            return process if not words or any(self.mark in word for word in words) else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None


def spawn(
    command: Sequence[str],
    *,
    mark: str,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    user: int | None = None,
    group: int | None = None,
) -> ProcessRecord:
    """Starts a process in a session of its own (Ctrl-C reaches only us, we stop the others in order).

    Output is appended to `log`; `user` and `group` are given when root starts what must not run as root.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if environment is None else dict(environment),
                cwd=directory,
                start_new_session=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
            )
        except OSError as fault:
            raise LocalFault(f"{command[0]} cannot be started: {fault.strerror}.") from fault
    if not _children:
        atexit.register(_let_go)
    _children[process.pid] = process
    try:
        return ProcessRecord.of(process.pid, mark)
    except LocalFault:
        process.wait()
        raise LocalFault(f"{Path(command[0]).name} ended as soon as it was started. {last_words(log)}") from None


def _let_go() -> None:
    """What still runs when we end belongs to its instance, whose state says where it is: no reason to warn."""
    for child in _children.values():
        if child.poll() is None:
            child.returncode = 0


def stop(record: ProcessRecord, *, gently: signal.Signals = signal.SIGTERM, patience: float = 30.0) -> None:
    """Asks the process to end and waits; after `patience` seconds it is killed, with every process of its session."""
    process = record.find()
    if process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(gently)
    if not _ended_within(record, patience):
        kill(record)


def kill(record: ProcessRecord) -> None:
    """SIGKILL to the process, to its group and to everything that it started, then waits until they are gone."""
    process = record.find()
    if process is None:
        return
    family = _family(process)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(record.pid, signal.SIGKILL)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            member.kill()
    deadline = time.monotonic() + 30.0
    while any(_lives(member) for member in family) and time.monotonic() < deadline:
        record.find()  # waits for a child of ours
        time.sleep(0.02)


def pause(record: ProcessRecord) -> None:
    """SIGSTOP to the process and to everything that it started: it answers nobody, and keeps its connections."""
    process = record.find()
    for member in _family(process) if process is not None else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.suspend()


def resume(record: ProcessRecord) -> None:
    """SIGCONT to the same."""
    process = record.find()
    for member in _family(process) if process is not None else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.resume()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that descend from it: PostgreSQL's sessions have process groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _ended_within(record: ProcessRecord, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while record.find() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_until(
    ready: Callable[[], bool], *, record: ProcessRecord, what: str, log: Path, patience: float = 60.0
) -> None:
    """Waits until `ready()`. Raises LocalFault when the process ends before, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not ready():
        if record.find() is None:
            raise LocalFault(f"{what} ended while it was starting. {last_words(log)}")
        if time.monotonic() > deadline:
            raise LocalFault(f"{what} was not ready after {patience:.0f} seconds. {last_words(log)}")
        time.sleep(0.05)


def last_words(log: Path, lines: int = 5) -> str:
    """The end of a log, for a message that says why a process has died."""
    try:
        tail = log.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return "It wrote no log."
    return f"Its log ({log}) ends with:\n  " + "\n  ".join(tail) if tail else f"Its log ({log}) is empty."


def free_port() -> int:
    """A TCP port of 127.0.0.1 on which nobody listens now."""
    for port in random.sample(_PORTS, 500):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise LocalFault(f"No free TCP port was found between {_PORTS.start} and {_PORTS.stop}.")
