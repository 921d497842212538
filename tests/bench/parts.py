"""What the parts of one provider's webhook cost in processor time: reading, proof, mapping, writing the records.

`python -m tests.bench.parts [--every] [--rounds 9] [provider …]` prints microseconds a request, the least of the
rounds, without the door, the event loop and the broker. Each request is about another ticket, order or call.
`--every` maps all golden requests of a provider instead of the one that the bench of the doors sends.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Origin
from services.ingest.domain.provider import BoundProvider, Delivery
from services.ingest.doors import bodies
from services.ingest.reception import written
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.verify import read_key, verify
from tests.bench.providers import asked, chosen, is_json
from tests.unit.ingest.mutations import goldens_once, providers
from tests.unit.ingest.proofs import OLD

PARTS = ("read", "proof", "map", "write")
_DIRECTORY = Directory(["brightwell.example"], "DE")


def least_costs(name: str, rounds: int, count: int) -> dict[str, float]:
    """Microseconds of processor time that each part of a request of `name` takes."""
    found = [_round(name, number * count, count) for number in range(rounds)]
    return {part: min(one[part] for one in found) for part in PARTS}


def _round(name: str, first: int, count: int) -> dict[str, float]:
    provider = WEBHOOKS[name]
    bound, keys = chosen(name).bound, [read_key(provider.scheme, OLD[provider.scheme].shown)]
    requests = list(asked(name, first, count))
    origin = _origin(name)
    costs: dict[str, float] = {}
    read, costs["read"] = _timed(lambda one: bodies.read("application/json", "application/json", one.body), requests)
    proven = [one._replace(payload=body.payload) for one, body in zip(requests, read, strict=True)]
    _, costs["proof"] = _timed(lambda one: verify(provider.scheme, keys, one), proven)
    deliveries = [Delivery(one.payload, one.body, one.headers) for one in proven]
    mapped, costs["map"] = _timed(lambda delivery: bound.read(delivery, origin), deliveries)
    _, costs["write"] = _timed(lambda one: [written(event) for event in one.events], mapped)
    return costs


def _origin(name: str) -> Origin:
    return Origin(f"bench-{name}", f"{name}:bench", _DIRECTORY, datetime.now(UTC))


def _timed(do: Callable[[Any], Any], items: Sequence[Any]) -> tuple[list[Any], float]:
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        done = [do(item) for item in items]
        return done, (time.process_time() - began) / len(items) * 1e6
    finally:
        gc.enable()


def golden_costs(name: str, rounds: int) -> dict[str, float]:
    """The same for mapping and writing, a golden request of `name` on average, all of which are mapped again and again.

    Ids that were derived once are remembered then.
    """
    told = list(_golden_deliveries(name))
    origin = _origin(name)

    def both(one: tuple[BoundProvider, Delivery]) -> None:
        for event in one[0].read(one[1], origin).events:
            written(event)

    def once(one: tuple[BoundProvider, Delivery]) -> None:
        for _ in range(10):
            both(one)

    return {"map + write": min(_timed(once, told)[1] / 10 for _ in range(rounds))}


def _golden_deliveries(name: str) -> Iterator[tuple[BoundProvider, Delivery]]:
    provider = WEBHOOKS[name]
    for golden in goldens_once(name):
        bound = BoundProvider(provider, provider.bind(provider.options.model_validate(golden.get("options", {}))))
        delivery = Delivery(golden["body"], orjson.dumps(golden["body"]), golden["headers"], golden.get("query", {}))
        if isinstance(golden.get("expected"), list):
            yield bound, delivery


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[name for name in providers() if is_json(name)])
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=300)
    given = parser.parse_args()
    for name in given.names:
        costs = golden_costs(name, given.rounds) if given.every else least_costs(name, given.rounds, given.count)
        sys.stdout.write(f"{name:12} " + "  ".join(f"{part} {cost:6.1f}" for part, cost in costs.items()) + "\n")


if __name__ == "__main__":
    main()
