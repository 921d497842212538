"""What runs of one instance, written down: `.tenure/<name>/state.json`.

Every command finds ports and processes there. While an instance has an owner (the process that started it), a guard
watches: when the owner ends without having stopped what it started, even by SIGKILL, the guard stops it. An instance
that shall outlive the command that started it is released: it has no owner any more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

from deploy.local.postgres import LocalPostgres
from deploy.local.processes import LocalFault, ProcessRecord, spawn, stop

CHECKOUT = Path(__file__).parents[2]
INSTANCES = CHECKOUT / ".tenure"
"""The systems of this checkout, a directory each."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_GUARD = "guard"


@dataclass(slots=True)
class State:
    """The state file. `processes` in the order in which they were started; `facts` are JSON values by name."""

    owner: ProcessRecord | None = None
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(
            {
                "owner": asdict(self.owner) if self.owner else None,
                "processes": {name: asdict(record) for name, record in self.processes.items()},
                "facts": self.facts,
            },
            indent=2,
        )

    @staticmethod
    def load(text: str) -> State:
        """From JSON."""
        raw = json.loads(text)
        return State(
            owner=ProcessRecord(**raw["owner"]) if raw["owner"] else None,
            processes={name: ProcessRecord(**record) for name, record in raw["processes"].items()},
            facts=raw["facts"],
        )


def instance_directory(name: str) -> Path:
    """Where an instance of this checkout lives. Raises LocalFault when the name would lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise LocalFault(
            f"{name[:60]!r} is no name for a system: up to 40 letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit."
        )
    return INSTANCES / name


def this_process() -> ProcessRecord:
    """The record of the calling process."""
    return ProcessRecord.of(os.getpid(), "")


def in_stopping_order(processes: Mapping[str, ProcessRecord]) -> list[tuple[str, ProcessRecord]]:
    """The last one started first; the guard after everybody else, since we may die while we stop them."""
    newest_first = list(processes.items())[::-1]
    return [item for item in newest_first if item[0] != _GUARD] + [item for item in newest_first if item[0] == _GUARD]


class Instance:
    """Processes and facts of one instance below `directory`; safe to use from several processes at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.secrets = directory / "secrets"
        self._file = directory / "state.json"

    def begin(self, owner: ProcessRecord, *, fresh: bool = True) -> None:
        """Makes the directory, stops what an earlier run left behind, and sets a guard for `owner`.

        `fresh` deletes the earlier run's data as well. Raises LocalFault when another living process owns it.
        """
        present = self.state().owner
        if present is not None and present.pid != owner.pid and present.find() is not None:
            raise LocalFault(f"Another command uses {self.directory.name} of this checkout (process {present.pid}).")
        self.stop_all()
        if fresh:
            self.remove()
        self.directory.mkdir(parents=True, exist_ok=True)
        # root's PostgreSQL runs as another user, who must be able to walk through but not to look around
        self.directory.chmod(0o711)
        self.secrets.mkdir(mode=0o700, exist_ok=True)
        with self._changing() as state:
            state.owner = owner
        command = [sys.executable, "-m", "deploy.local.guard", str(self.directory)]
        self.add(_GUARD, spawn(command, mark=str(self.directory), log=self.logs / "guard.log", directory=CHECKOUT))

    def exists(self) -> bool:
        """Whether something has been started here and not been stopped."""
        return self._file.exists()

    def state(self) -> State:
        """The state now; empty when nothing runs."""
        try:
            return State.load(self._file.read_text())
        except FileNotFoundError:
            return State()
        except (ValueError, KeyError, TypeError):
            raise LocalFault(f"{self._file} is damaged; end the processes it names and remove it.") from None

    def add(self, name: str, record: ProcessRecord) -> None:
        """Writes a started process down. Where everything was stopped meanwhile, so is it, and LocalFault is raised."""
        if not self.exists():
            stop(record)
            raise LocalFault(f"{name} was stopped: its system was stopped while it started.")
        with self._changing() as state:
            state.processes.pop(name, None)
            state.processes[name] = record

    def remember(self, **facts: Any) -> None:
        """Writes facts down: ports, addresses, names; never a secret."""
        with self._changing() as state:
            state.facts.update(facts)

    def release(self) -> None:
        """What runs may outlive its owner; the guard goes home."""
        with self._changing() as state:
            state.owner = None
            guard = state.processes.pop(_GUARD, None)
        if guard is not None:
            stop(guard)

    def stop_all(self, report: Callable[[str], None] = lambda _: None, *, patience: float = 30.0) -> None:
        """Stops everything in the reverse order of its start and forgets it; with its data where it is ephemeral."""
        state = self.state()
        for name, record in in_stopping_order(state.processes):
            if record.pid == os.getpid() or record.find() is None:
                continue
            report(f"stopping {name}")
            # SIGINT is PostgreSQL's fast shutdown: with SIGTERM it waits for its clients
            stop(record, gently=signal.SIGINT if name == "postgres" else signal.SIGTERM, patience=patience)
        self._file.unlink(missing_ok=True)
        if state.facts.get("ephemeral"):
            self.remove()

    def remove(self) -> None:
        """Deletes the data of a stopped instance."""
        LocalPostgres(self.directory / "postgres").remove()
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextmanager
    def exclusively(self, what: str) -> Iterator[None]:
        """One process at a time does `what` in this instance."""
        with (self.directory / f"{what}.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            yield

    @contextmanager
    def _changing(self) -> Iterator[State]:
        with self.exclusively("state"):
            state = self.state()
            yield state
            draft = self._file.with_suffix(".draft")
            draft.touch(mode=0o600)
            draft.write_text(state.dump())
            draft.rename(self._file)
