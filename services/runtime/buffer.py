"""What aiokafka has fetched and nobody has taken yet: taken evenly, and fetched ahead only where it pays.

aiokafka empties one partition after the other. Of a backlog a batch would then hold a few partitions as far as they
go, and what happened at the same time elsewhere would come long afterwards: right in the end, but out of order, and
much would be read again.

It also asks for more as soon as something is taken. Of a backlog that is right: the broker works while we do. Of live
traffic it brings what comes within a millisecond, and asks for nothing more before that is taken: what happens during
a batch would wait for the batch after the next. So during a small batch nothing is asked for.
"""

# ruff: noqa: SLF001 - aiokafka offers neither

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult

from services.runtime.fetch_sessions import FetchSession
from services.runtime.lookahead import SMALL, Parsed
from services.runtime.records import Record


class Buffer:
    """The records that `fetcher` has. `names`: logical topics by physical ones."""

    def __init__(self, fetcher: Fetcher, names: Mapping[str, str]) -> None:
        self._fetcher = fetcher
        self._names = names
        self._resting = False
        self._sessions: defaultdict[Any, FetchSession] = defaultdict(FetchSession)
        """By the broker's number."""
        self._actions: Callable[..., tuple[Any, ...]] = fetcher._get_actions_per_node
        fetcher._get_actions_per_node = self._next_actions

    def wake(self) -> None:
        """Have it fetch again, after a batch."""
        if self._resting:
            self._resting = False
            self._fetcher._notify(self._fetcher._wait_consume_future)

    async def wait(self, seconds: float) -> None:
        """Return when something has come, or after `seconds`; raises what authorisation or the group have refused."""
        waiter = self._fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait([waiter], timeout=seconds)
        if done:
            waiter.result()
        else:
            waiter.cancel()

    def take(self, most: int) -> dict[TopicPartition, list[Record]]:
        """Return the next records, at most `most`, from each partition about equally many.

        Raises what a fetch ended with, once nothing that came before it is left. Does not yield to the event loop.
        """
        found: dict[TopicPartition, list[Record]] = {}
        left, waiting = most, list(self._fetcher._records)
        while waiting and left:
            share, more = max(left // len(waiting), 1), []
            for partition in waiting:
                if not left:
                    break
                some = self._some(partition, min(share, left), found)
                left -= len(some)
                if some:
                    found.setdefault(partition, []).extend(some)
                    more.append(partition)
            waiting = [partition for partition in more if partition in self._fetcher._records]
        self._resting = bool(found) and not self._fetcher._records and (most - left) * SMALL <= most
        return found

    def _some(self, partition: TopicPartition, most: int, found: Mapping[Any, Any]) -> list[Record]:
        fetcher = self._fetcher
        result = fetcher._records.get(partition)
        if not isinstance(result, FetchResult):
            if result is not None and not found:
                self._forget(partition)
                result.check_raise()
            return []
        self._parsed(result)
        some: list[Record] = result.getall(most)
        if not result.has_more():
            self._forget(partition)
        return some

    def look(self, at_once: int, most: int) -> list[Record]:
        """Parse about `at_once` more of what `take` will return, up to `most` records in all; take nothing."""
        found = [
            (parsed.waiting, place, parsed)
            for place, result in enumerate(self._fetcher._records.values())
            if isinstance(result, FetchResult) and (parsed := self._parsed(result)) is not None and not parsed.ended
        ]
        if not found:
            return []
        waiting, _, parsed = min(found)
        return parsed.look(at_once) if waiting < most // len(found) else []

    def _parsed(self, result: Any) -> Parsed | None:
        records = result._partition_records
        if records is None or isinstance(records, Parsed):
            return records
        records._consumer_record = self._record
        parsed = result._partition_records = Parsed(records)
        return parsed

    def _forget(self, partition: TopicPartition) -> None:
        del self._fetcher._records[partition]
        self._fetcher._notify(self._fetcher._wait_consume_future)

    def _record(self, partition: TopicPartition, one: Any) -> Record:
        """In the place of aiokafka's own, with eleven fields."""
        topic, number = partition
        return Record(self._names[topic], number, one.offset, one.key, one.value, one.headers)

    def _next_actions(self, assignment: Any) -> tuple[Any, ...]:
        if self._resting:
            return [], {}, self._fetcher._fetcher_timeout, False, []
        requests, *others = self._actions(assignment)
        return ([(node, self._sessions[node].asking(request)) for node, request in requests], *others)
