"""Each measurement runs in a process of its own: no heap, loop or progress bar of somebody else slows it down.

`python -m tests.bench.apart MODULE:FUNCTION FILE` calls an async function with the keyword arguments that FILE holds
as JSON and writes what it returns beside it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from deploy.local.instance import CHECKOUT, Instance
from deploy.local.processes import LocalFault, ProcessRecord, last_words, spawn, stop
from tests.bench.figures import CheckFailed
from tests.bench.sampling import sampled

_RUNNER = (sys.executable, "-m", "tests.bench.apart")
_PROFILE = "TENURE_BENCH_PROFILE"
_LOOK_EVERY = 0.05  # seconds
_AT_MOST = 900.0  # seconds; a consumer waits for its broker for ever


def run_apart(instance: Instance, job: str, **arguments: Any) -> dict[str, Any]:
    """What `job` ("module:function") returns. Raises CheckFailed as the job did, LocalFault when it could not run."""
    return run_together(instance, job, 1, **arguments)[0]


def run_together(
    instance: Instance, job: str, processes: int, /, *, runner: Sequence[str] = _RUNNER, **arguments: Any
) -> list[dict[str, Any]]:
    """What so many processes of `job` return that run at the same time. Raises as `run_apart` does.

    `runner`: the command before the job and its file, where that is not this module under this Python.
    """
    running = [_begin(instance, job, number, runner, arguments) for number in range(processes)]
    deadline = time.monotonic() + _AT_MOST
    try:
        while any(record.find() is not None for record, *_ in running):
            if time.monotonic() > deadline:
                raise LocalFault(f"{job} did not end within {_AT_MOST:.0f} seconds. {last_words(running[0][2])}")
            time.sleep(_LOOK_EVERY)
    finally:
        for record, *_ in running:
            stop(record, patience=5.0)
    return [_result(job, answer, log) for _, answer, log in running]


def _begin(
    instance: Instance, job: str, number: int, runner: Sequence[str], arguments: dict[str, Any]
) -> tuple[ProcessRecord, Path, Path]:
    directory = instance.directory / "jobs"
    directory.mkdir(exist_ok=True)
    name = f"{job.replace(':', '.')}-{time.time_ns()}-{number}"
    file, answer = directory / f"{name}.json", directory / f"{name}.answer.json"
    file.write_text(json.dumps(arguments))
    log = instance.logs / f"{name}.log"
    command = [*runner, job, str(file)]
    record = spawn(command, mark=str(file), log=log, directory=CHECKOUT)
    instance.add("job", record)
    return record, answer, log


def _result(job: str, answer: Path, log: Path) -> dict[str, Any]:
    if not answer.exists():
        raise LocalFault(f"{job} ended without an answer. {last_words(log)}")
    result: dict[str, Any] = json.loads(answer.read_text())
    if "check_failed" in result:
        raise CheckFailed(result["check_failed"])
    if "fault" in result:
        raise LocalFault(f"{job} failed: {result['fault']} {last_words(log)}")
    return result


def _main(job: str, file: Path) -> None:
    logging.basicConfig(level=logging.WARNING)
    module, _, function = job.partition(":")
    work = getattr(importlib.import_module(module), function)
    report = os.environ.get(_PROFILE)
    try:
        with sampled(Path(report) if report else None):
            result = uvloop.run(work(**json.loads(file.read_text())))
    except CheckFailed as failed:
        result = {"check_failed": str(failed)}
    except Exception as fault:  # noqa: BLE001 - whatever it is, the caller is told
        traceback.print_exc()
        result = {"fault": f"{type(fault).__name__}: {fault}"}
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(result))
    draft.rename(file.with_suffix(".answer.json"))


async def forever() -> None:
    """Waits until somebody ends this process."""
    await asyncio.Event().wait()


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
