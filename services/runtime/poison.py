"""Finds the records that make a handler fail, with as few calls as possible.

Eighths find one bad record among n with work for little more than 2 n records; halves would need 3 n. With many bad
ones every part fails for a while. But where Python code failed, the traceback usually says at which record: a local
variable is the record, its event, or one of its identifiers. That is only a hint. It decides how a part is divided,
never what becomes of a record: that is tried alone before it is set aside. A hint that proves wrong ends the trust in
hints for the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic

import asyncpg

from services.runtime.records import Received, T

_PIECES = 8
_FIRST_CHUNK = 64
_GROWTH = 4
# Innermost frames; a recursion that ran away has a thousand, all alike.
_MOST_FRAMES = 100


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """Some records of a batch. `accused`: a hint pointed at them."""

    records: Sequence[Received[T]]
    accused: bool = False


class Search(Generic[T]):
    """The parts of one batch that are still to be tried, in order."""

    def __init__(self, batch: Sequence[Received[T]]) -> None:
        self._pending = [Part(batch)]
        self._most = len(batch)
        self._trusting = True

    def next(self) -> Part[T] | None:
        """Return what is to be tried now; None when all is done."""
        if not self._pending:
            return None
        part = self._pending.pop()
        if len(part.records) > self._most:
            self.again(part.records[self._most :])
            part = Part(part.records[: self._most], part.accused)
        return part

    def passed(self, part: Part[T]) -> None:
        """Say that `part` was handled."""
        if part.accused:
            self._trusting = False
        elif len(part.records) == self._most:
            self._most *= 2

    def failed(self, part: Part[T], error: BaseException) -> None:
        """Divide a part of two or more records, of which at least one made the handler raise `error`."""
        records = part.records
        accused = sorted(suspects(error, records)) if self._trusting and not part.accused else []
        if not 0 < len(accused) <= len(records) // 2:
            size = -(-len(records) // _PIECES)
            self.again(*(records[start : start + size] for start in range(0, len(records), size)))
            return
        first, chosen = accused[0], set(accused)
        after = [one for index, one in enumerate(records[first:], first) if index not in chosen]
        # So many went well before the first; where there is one bad record there are often more, equally far apart.
        self._most = max(_FIRST_CHUNK, _GROWTH * (first + 1))
        self.again(after)
        self._pending.append(Part([records[index] for index in accused], accused=True))
        self.again(records[:first])

    def again(self, *parts: Sequence[Received[T]]) -> None:
        """Try these before all others, in order; empty ones are left out."""
        self._pending.extend(Part(records) for records in reversed(parts) if records)


def suspects(error: BaseException, records: Sequence[Received[Any]]) -> set[int]:
    """Return the places of those `records` that the code was looking at when it raised `error`; may be empty.

    PostgreSQL sees a whole column of values: what Python had in hand when it refused one of them says nothing.
    """
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return set()
    known = _places(records)
    for frame_locals in _frames(error.__traceback__):
        found: set[int] = set()
        for value in frame_locals.values():
            found |= known.get(value if isinstance(value, str) else id(value), set())
        if found:
            return found
    return set()


def _places(records: Sequence[Received[Any]]) -> dict[str | int, set[int]]:
    """Where each record stands, by the identifiers and by the objects that stand for it."""
    places: dict[str | int, set[int]] = {}
    for index, one in enumerate(records):
        marks: set[str | int] = {id(one), id(one.envelope), one.envelope.id, one.envelope.subject}
        if one.record.key is not None:
            marks.add(one.record.key.decode("utf-8", "replace"))
        if not isinstance(one.event, str | bytes | int | float | bool | None):
            marks.add(id(one.event))
        for mark in marks:
            places.setdefault(mark, set()).add(index)
    return places


def _frames(traceback: TracebackType | None) -> Iterator[dict[str, Any]]:
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    for frame in reversed(frames[-_MOST_FRAMES:]):
        yield frame.f_locals
