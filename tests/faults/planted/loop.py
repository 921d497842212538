"""Bugs in the consumer loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from contracts.envelope import Unreadable
from services.runtime import offsets, processing
from services.runtime.offsets import Partition, Position
from services.runtime.postgres import transaction
from services.runtime.processing import BatchProcessor, Outcome
from services.runtime.records import Received, Record
from tests.faults.planted import put


def commit_offsets_first() -> None:
    """The offsets have a transaction of their own, before that of the batch."""
    usual = BatchProcessor._process  # noqa: SLF001

    async def process(
        self: BatchProcessor[Any],
        records: Sequence[Record],
        ends: Mapping[Partition, int],
        _committed: Mapping[Partition, Position],
        now: datetime,
    ) -> Outcome:
        async with transaction(self._pool) as connection:
            stored = await offsets.lock(connection, self._group, ends)
            done = {partition: Position(max(end, stored[partition]), None) for partition, end in ends.items()}
            await offsets.save(connection, self._group, done)

        async def remembered(*_: object) -> dict[Partition, int]:
            return stored

        put(
            processing,
            "offsets",
            SimpleNamespace(lock=remembered, save=offsets.save, check_kept=lambda *_: None),
        )
        return await usual(self, records, ends, {}, now)

    put(BatchProcessor, "_process", process)


def swallow_exceptions() -> None:
    """Whatever goes wrong with a record is caught, and nobody hears of it."""
    attempt = processing._Attempt  # noqa: SLF001

    def decode(_: Any, records: Sequence[Record], one: Callable[[Record], Received[Any]]) -> list[Received[Any]]:
        received = []
        for record in records:
            try:
                received.append(one(record))
            except Unreadable:
                continue
        return received

    async def apply(self: Any, batch: Sequence[Received[Any]]) -> None:
        try:
            async with self._connection.transaction():
                await self._handler.handle(self._connection, batch, self._now)
        except Exception:  # noqa: BLE001 - the bug
            return

    put(attempt, "decode", decode)
    put(attempt, "apply", apply)
