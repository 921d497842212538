"""Last touches by sort, touch class and role, kept up to date one fact at a time."""

from collections.abc import Iterable, Iterator
from datetime import date

from services.metrics.domain.facts import Fact
from services.metrics.domain.state import Touch, TouchKey


def keys(fact: Fact) -> Iterator[TouchKey]:
    """Yield every key under which `fact` may be the last touch."""
    if not fact.present or fact.sort is None or fact.counted_class is None:
        return
    sorts = (fact.sort, "two_way") if fact.two_way else (fact.sort,)
    for sort in sorts:
        yield sort, fact.counted_class, None
        bits, bit = fact.roles, 0
        while bits:
            if bits & 1:
                yield sort, fact.counted_class, bit
            bits >>= 1
            bit += 1


def include(touches: dict[TouchKey, Touch], fact: Fact, as_of: date) -> None:
    """Let `fact` take the places of which it is now the last touch."""
    if fact.sort is None or fact.day is None or fact.day > as_of:
        return
    candidate = Touch(fact.at, fact.interaction_id)
    for key in keys(fact):
        known = touches.get(key)
        if known is None or candidate > known:
            touches[key] = candidate


def withdraw(touches: dict[TouchKey, Touch], fact: Fact) -> set[TouchKey]:
    """Take away the places that `fact` (as it was) holds; return them: they must be read again from the slim rows."""
    lost = {
        key
        for key in keys(fact)
        if (known := touches.get(key)) is not None and known.interaction_id == fact.interaction_id
    }
    for key in lost:
        del touches[key]
    return lost


def latest(facts: Iterable[Fact], as_of: date) -> dict[TouchKey, Touch]:
    """Return the last touches among `facts`."""
    touches: dict[TouchKey, Touch] = {}
    for fact in facts:
        include(touches, fact, as_of)
    return touches
