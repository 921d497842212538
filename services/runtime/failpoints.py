"""Named places before and after each durable effect, where tests can kill, stall or fail a process.

Nothing is armed unless `TENURE_FAILPOINTS` names a directory (refused in production): then every place that is
reached is written to `<directory>/hits.log`, and what `<directory>/<service>.json` orders is done. Without it a place
costs one comparison for each batch, round or delivery, never one for each record.

A service declares its own places as a `StrEnum` in its `failpoints.py`; those of the runtime stand here.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path


class RuntimeFailpoint(StrEnum):
    """The places of the runtime."""

    BATCH_LOCKED = "batch.locked"
    """A batch's transaction is open and holds the rows of its offsets."""
    COMMITTING = "transaction.committing"
    """Any transaction that may write (a batch, job, edit, poller, replay): all is written, COMMIT comes next."""
    COMMITTED = "transaction.committed"
    """The same, committed; nobody has been told: Kafka not of a batch's offsets, nor the caller of an edit."""
    OFFSETS_COMMITTED = "offsets.committed"
    """Kafka knows the offsets of a batch too."""
    RELAY_READ = "relay.read"
    """A round of the outbox is read, nothing of it is sent."""
    RELAY_SENT = "relay.sent"
    """The round is sent and acknowledged; its Kafka transaction is not committed."""
    RELAY_PUBLISHED = "relay.published"
    """The Kafka transaction is committed; the rows are still in the outbox."""
    RELAY_DELETED = "relay.deleted"
    """The rows are deleted."""


class InjectedFault(ConnectionError):
    """What a place that is ordered to fail raises: a fault of the infrastructure, as far as anybody can tell."""


_reached: Callable[[str], None] | None = None


def reach(point: StrEnum) -> None:
    """Say that `point` is reached; while nothing is armed nothing happens."""
    if _reached is not None:
        _reached(point.value)


def arm(service: str, directory: Path) -> None:
    """From now on write down what is reached and obey `<directory>/<service>.json`, read anew whenever it changes.

    The file holds ``{"<place>": {"action": "kill" | "stop" | "stall" | "fail", "on": 1, "seconds": 1.0}}``: what to do
    when the place is reached for the `on`-th time since the file was written, once; with a `pid` only in that process,
    because the replicas of a service read one file. "kill" and "stop" are SIGKILL and
    SIGSTOP to ourselves, "stall" blocks the whole process for `seconds`, "fail" raises `InjectedFault`.
    """
    global _reached  # noqa: PLW0603 - one process, one set of places
    _reached = _Orders(service, directory)


def disarm() -> None:
    """Forget all orders."""
    global _reached  # noqa: PLW0603 - the same
    _reached = None


class _Orders:
    def __init__(self, service: str, directory: Path) -> None:
        self._file = directory / f"{service}.json"
        self._log = os.open(directory / "hits.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._name = service
        self._written = 0
        self._orders: dict[str, dict[str, object]] = {}
        self._counts: dict[str, int] = {}

    def __call__(self, point: str) -> None:
        # One short write to a file opened for appending is whole, whoever else writes.
        os.write(self._log, f"{self._name} {os.getpid()} {point}\n".encode())
        self._read()
        self._counts[point] = self._counts.get(point, 0) + 1
        order = self._orders.get(point)
        if order is None or self._counts[point] != order.get("on", 1):
            return
        if order.get("pid", os.getpid()) != os.getpid():
            return
        action = order["action"]
        os.write(self._log, f"{self._name} {os.getpid()} {point} {action}\n".encode())
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif action == "stall":
            time.sleep(float(str(order.get("seconds", 1.0))))
        elif action == "fail":
            raise InjectedFault(f"the failpoint {point} was ordered to fail")

    def _read(self) -> None:
        try:
            written = self._file.stat().st_mtime_ns
        except FileNotFoundError:
            written, self._orders = 0, {}
        if written != self._written:
            self._written = written
            self._counts = {}
            if written:
                self._orders = json.loads(self._file.read_text())
