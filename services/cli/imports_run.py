"""Sends what a file holds to a door of ingest, a few requests at a time, and keeps how far that has come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from services.cli.faults import CommandFault
from services.cli.imports_rehearsal import Forecast, Rehearsal
from services.cli.imports_report import Report
from services.cli.imports_state import State
from services.cli.imports_units import History, Item, Unit
from services.cli.remote import Uploads
from services.ingest.sources.rows.events import LeftOut
from services.ingest.sources.rows.reading import Rejected

MOST_LINES = 500
MOST_BYTES = 1_000_000
_AT_ONCE = 2
"""One request is read by ingest while the next is written here."""
_MOST_KEPT = 1000
_FIRST = 3
_MEDIA = "application/x-ndjson"


@dataclass(slots=True)
class Outcome:
    """What became of a file, or, in a dry run, what would. `rejections`: the first thousand."""

    accepted: int = 0
    rejected: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    rejections: list[Rejected] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    """Dry run: how many events of each type it holds."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Dry run: what the door would pass over, by reason."""
    first: list[Mapping[str, Any]] = field(default_factory=list)
    """Dry run: what the first of them would be."""
    forecast: Forecast | None = None
    """Dry run: what accounts says of them; None: it was not asked."""

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Add rejections."""
        self.rejected += len(rejected)
        self.rejections += rejected[: max(0, _MOST_KEPT - len(self.rejections))]


@dataclass(frozen=True, slots=True)
class Errand:
    """One import on its way: what, where to, and what is kept of it. `state` None: a dry run."""

    history: History
    uploads: Uploads
    path: str
    report: Report
    state: State | None
    say: Callable[[str], None]
    lines: int = 0
    """How many lines the file has; 0: nobody can say."""
    rehearsal: Rehearsal | None = None
    """Dry run: whom to ask what would become of the events."""


def chunks(units: Iterable[Unit]) -> Iterator[Sequence[Unit]]:
    """Yield what belongs to one request: at most 500 lines and 1 MB of them."""
    held: list[Unit] = []
    size = 0
    for unit in units:
        length = len(unit.body) + 1 if isinstance(unit, Item) else 0
        if len(held) >= MOST_LINES or size + length > MOST_BYTES:
            yield held
            held, size = [], 0
        held.append(unit)
        size += length
    if held:
        yield held


def run(errand: Errand) -> Outcome:
    """Send everything that has not been sent; raise `CommandFault` when the service fails, to be called again."""
    progress = errand.state.progress if errand.state is not None else None
    outcome = Outcome(forecast=errand.rehearsal.forecast if errand.rehearsal is not None else None)
    if progress is not None:
        outcome.accepted, outcome.rejected = progress.accepted, progress.rejected
    units = islice(errand.history.units(), progress.taken if progress is not None else 0, None)
    flying: deque[tuple[Sequence[Unit], Future[Mapping[str, Any]]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        try:
            for chunk in chunks(units):
                flying.append((chunk, threads.submit(_send, errand, chunk)))
                if len(flying) > _AT_ONCE:
                    _land(errand, outcome, *flying.popleft())
            while flying:
                _land(errand, outcome, *flying.popleft())
        finally:
            threads.shutdown(cancel_futures=True)
    return outcome


def _send(errand: Errand, chunk: Sequence[Unit]) -> Mapping[str, Any]:
    body = b"\n".join(unit.body for unit in chunk if isinstance(unit, Item))
    if not body:
        return {"accepted": 0, "rejected": ()}
    query = None
    if errand.state is None:
        query = {"dry_run": "true"} | ({"events": "true"} if errand.rehearsal is not None else {})
    return errand.uploads.send(errand.path, body, _MEDIA, query)


def _land(errand: Errand, outcome: Outcome, chunk: Sequence[Unit], answer: Future[Mapping[str, Any]]) -> None:
    """Take an answer in the order of the file: what is kept then is all that came before."""
    said = answer.result()
    items = [unit for unit in chunk if isinstance(unit, Item)]
    rejected = [unit for unit in chunk if isinstance(unit, Rejected)]
    _check_system(said["rejected"], items)
    for refused in said["rejected"]:
        item = items[int(refused["line"]) - 1]
        rejected.append(_rejected(errand.history, item, refused["errors"]))
    rejected.sort(key=lambda one: one.line)
    errand.report.write(rejected)
    outcome.accepted += int(said["accepted"])
    outcome.reject(rejected)
    outcome.left_out.update(unit.why for unit in chunk if isinstance(unit, LeftOut))
    outcome.types.update(said.get("types", {}))
    outcome.unknown.update(said.get("ignored", {}))
    outcome.first += said.get("first", ())[: max(0, _FIRST - len(outcome.first))]
    if errand.rehearsal is not None:
        errand.rehearsal.take(said.get("events", ()))
    if errand.state is not None:
        progress = errand.state.progress
        progress.taken += len(chunk)
        progress.accepted, progress.rejected = outcome.accepted, outcome.rejected
        progress.report_bytes, progress.report_mark = errand.report.size, errand.report.mark
        errand.state.save()
    counted = f"{outcome.accepted} accepted, {outcome.rejected} rejected"
    errand.say(f"{errand.history.file.name}: {_share(errand, chunk)}{counted}")


def _check_system(rejected: Sequence[Mapping[str, Any]], items: Sequence[Item]) -> None:
    """Stop where every line is refused for the same wrong word of the command line."""
    if items and len(rejected) == len(items) and all(one["errors"][0]["field"] == "system" for one in rejected):
        error = rejected[0]["errors"][0]
        raise CommandFault(f"The system of the rows {error['message']}: {error['remedy']}.")


def _share(errand: Errand, chunk: Sequence[Unit]) -> str:
    last = chunk[-1]
    line = last.rows[-1].line if isinstance(last, LeftOut) else last.line
    return f"{min(line * 100 // errand.lines, 100)} %, " if errand.lines else ""


def _rejected(history: History, item: Item, errors: Sequence[Mapping[str, Any]]) -> Rejected:
    first, more = errors[0], len(errors) - 1
    reason = str(first["message"]) + (f" (and {more} more of its fields are wrong)" if more else "")
    return Rejected(item.line, history.place(str(first["field"])), reason, str(first["remedy"]), item.stood)
