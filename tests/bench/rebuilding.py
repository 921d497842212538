"""A rebuild of metrics beside the running system, against its own live consumer as it catches up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import asyncpg

from deploy.local.system import System
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, compare, expect
from tests.bench.ground import blocking

REBUILD = Figure(
    "rebuild", "rebuild of metrics, all said again by accounts", "its live consumer, catching up", first=1.0, goal=3.0
)
_LOOK_EVERY = 0.1  # seconds
_PATIENCE = 300.0  # seconds


class Stage(Protocol):
    """The running system with what was sent to it; see `chain`."""

    system: System
    orders: int

    def call(self, service: str, path: str, body: bytes | None = None, media: str = ..., *, method: str = ...) -> Any:
        """Asks as an operator."""
        ...

    def drained(self) -> None:
        """Returns when every service has come to rest."""
        ...


def measure(plan: Plan, stage: Stage, send: Callable[[int], object], step: Step) -> Measured:
    """`send` imports so many orders. One round: a rebuild is long, and does nothing but its work."""
    records = _records(plan)
    step("metrics catches up")
    live = _catch_up(stage, records, send)
    step("metrics is rebuilt")
    facts = blocking(_count(stage))
    began = time.perf_counter()
    found = _rebuild(stage)
    rebuilt = facts / (time.perf_counter() - began)
    expect("phase of the rebuild", found["phase"], "swapped")
    report = found["found"]
    expect("interactions rebuilt", report["interactions"], facts)
    expect("accounts whose figures differ", report["different_accounts"], 0)
    return compare(REBUILD, [rebuilt], [live])


def _records(plan: Plan) -> int:
    return plan.share(2, at_least=1000)


def batch(plan: Plan) -> int:
    """The greatest batch of metrics: of few records there must be several, or there is no pace."""
    return min(plan.batch, _records(plan) // 4)


def _catch_up(stage: Stage, records: int, send: Callable[[int], object]) -> float:
    """Records a second of the live consumer over what gathered while it was away, after its first batch."""
    system = stage.system
    before = blocking(_count(stage))
    system.stop_part("metrics")
    send(records)
    _accounts_drained(stage)
    system.start("metrics", wait=False)
    marks: list[tuple[float, int]] = []
    deadline = time.monotonic() + _PATIENCE
    while not marks or marks[-1][1] < before + records:
        count = blocking(_count(stage))
        if count > (marks[-1][1] if marks else before):
            marks.append((time.perf_counter(), count))
        if time.monotonic() > deadline:
            raise CheckFailed(f"metrics stands still with {count} of {before + records} interactions")
        time.sleep(_LOOK_EVERY)
    stage.drained()
    (began, first), (ended, last) = marks[0], marks[-1]
    if last == first:
        raise CheckFailed("metrics took everything in one batch: a pace needs at least two")
    return (last - first) / (ended - began)


def _accounts_drained(stage: Stage) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not stage.call("accounts operations", "/flow", method="GET")["drained"]:
        if time.monotonic() > deadline:
            raise CheckFailed("accounts does not come to rest")
        time.sleep(_LOOK_EVERY)


async def _count(stage: Stage) -> int:
    connection = await asyncpg.connect(stage.system.databases["metrics"].worker)
    try:
        # slim rows of those tables that are in use
        return int(await connection.fetchval("select count(*) from fact"))
    finally:
        await connection.close()


def _rebuild(stage: Stage) -> Mapping[str, Any]:
    """The three steps of `tenure rebuild metrics`; returns what it says at the end."""
    deadline = time.monotonic() + _PATIENCE
    stage.call("metrics", "/v1/rebuild", b"")
    run = stage.call("accounts", "/v1/republish", b"")
    while not run["published"]:
        _pause(deadline)
        run = stage.call("accounts", f"/v1/republish/{run['id']}", method="GET")
    found = stage.call("metrics", "/v1/rebuild/republished", b"")
    while found["phase"] == "filling":
        _pause(deadline)
        found = stage.call("metrics", "/v1/rebuild", method="GET")
    return dict(found)


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise CheckFailed("the rebuild does not come to an end")
    time.sleep(_LOOK_EVERY)
