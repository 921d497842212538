"""What accounts says would become of the events of a dry run: which it has, and whose parties nobody knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from services.cli.remote import Uploads

_MOST_EVENTS = 1000
_MOST_BYTES = 3_000_000
_MOST_STRANGERS = 10_000
_MOST_REMEMBERED = 250_000
_SHOWN = 20


@dataclass(slots=True)
class Forecast:
    """What would become of a file's events, added up."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unmatched: int = 0
    """Events whose interaction would concern no account."""
    strangers: Counter[str] = field(default_factory=Counter)
    """How many events name whom: the first ten thousand, by company domain where there is one."""
    others: int = 0
    """How often others were named."""
    examples: dict[str, str] = field(default_factory=dict)
    """By domain the first address of it."""

    def said(self) -> Iterator[str]:
        """Yield what a person wants to know, line by line."""
        number = self.outcomes.total()
        yield (
            f"{number} events: {self.outcomes['new']} new, {self.outcomes['changed']} that correct what is there,"
            f" {self.outcomes['repeated']} that are there already and change nothing"
        )
        if not self.unmatched and not self.strangers:
            yield "every one would match an account"
            return
        yield f"{self.unmatched} events would match no account; of whom nobody knows whose they are:"
        ranked = sorted(self.strangers.items(), key=lambda one: (-one[1], one[0]))
        for name, times in ranked[:_SHOWN]:
            example = self.examples.get(name)
            yield f"{times:>8} {name}{f', such as {example}' if example else ''}"
        if len(ranked) > _SHOWN:
            yield f"{len(ranked) - _SHOWN:>8} more{' and others' if self.others else ''}"

    def add(self, item: Mapping[str, Any], *, repeated: bool) -> None:
        """Add what is said of one event; `repeated`: it came in this file before."""
        self.outcomes["repeated" if repeated else item["outcome"]] += 1
        self.unmatched += not item["matched"]
        for name in {self._name(stranger) for stranger in item["strangers"]}:
            if name in self.strangers or len(self.strangers) < _MOST_STRANGERS:
                self.strangers[name] += 1
            else:
                self.others += 1

    def _name(self, stranger: Mapping[str, Any]) -> str:
        known_as = f"{stranger['kind']} {stranger['value']}"
        if stranger["domain"] is None:
            return known_as
        name = f"domain {stranger['domain']}"
        if stranger["kind"] == "address" and len(self.examples) < _MOST_STRANGERS:
            self.examples.setdefault(name, stranger["value"])
        return name


class Rehearsal:
    """Asks accounts about the events of one file, a bounded number at a time."""

    def __init__(self, accounts: Uploads) -> None:
        self._accounts = accounts
        self._seen: set[bytes] = set()
        self.forecast = Forecast()

    def take(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Add what would become of `events`; raise `CommandFault` where accounts does not answer."""
        for asked in _chunks(events):
            body = b'{"events":[' + b",".join(asked) + b"]}"
            for item in self._accounts.send("/v1/rehearsals", body, "application/json")["items"]:
                self.forecast.add(item, repeated=self._again(item))

    def _again(self, item: Mapping[str, Any]) -> bool:
        """Say whether the file had this report before, as far as is remembered."""
        id_ = UUID(item["id"]).bytes
        if id_ in self._seen:
            return True
        if len(self._seen) < _MOST_REMEMBERED:
            self._seen.add(id_)
        return False


def _chunks(events: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[bytes]]:
    held: list[bytes] = []
    size = 0
    for event in events:
        body = orjson.dumps(event)
        if held and (len(held) >= _MOST_EVENTS or size + len(body) > _MOST_BYTES):
            yield held
            held, size = [], 0
        held.append(body)
        size += len(body) + 1
    if held:
        yield held
