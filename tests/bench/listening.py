"""Who waits at the other end: notes when the alerts of some accounts can be read."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection
from typing import Self

from aiokafka import AIOKafkaConsumer

from contracts.alerts import AlertOpened

_PATIENCE = 30.0  # seconds without a further alert


class Listening:
    """Notes when the first alert of each of `accounts` can be read."""

    def __init__(self, bootstrap: str, topic: str, accounts: Collection[str]) -> None:
        self._consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="latest"
        )
        self._accounts = accounts
        self.heard: dict[str, float] = {}
        self.times: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._consumer.seek_to_end()
        for partition in self._consumer.assignment():
            await self._consumer.position(partition)
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def _listen(self) -> None:
        async for record in self._consumer:
            now = time.perf_counter()
            account = record.key.decode()
            if account in self._accounts and ("ce_type", AlertOpened.TYPE.encode()) in record.headers:
                self.heard.setdefault(account, now)
                self.times[account] += 1

    async def until_quiet(self, wanted: int) -> None:
        """Returns when all alerts have come, or none has for a long while."""
        progress, heard = time.monotonic(), -1
        while len(self.heard) < wanted and time.monotonic() - progress < _PATIENCE:
            if len(self.heard) > heard:
                progress, heard = time.monotonic(), len(self.heard)
            await asyncio.sleep(0.05)
