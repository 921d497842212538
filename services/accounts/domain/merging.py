"""Two accounts become one, and two again. What is dated stays dated; what the one that stays says already, stands."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Protocol, TypeVar

from services.accounts.domain.intervals import Interval

V = TypeVar("V")


class Spell(Protocol):
    """Anything that holds from a day (None: always) until before another (None: still)."""

    @property
    def since(self) -> date | None:
        """The first day."""
        ...

    @property
    def until(self) -> date | None:
        """The day after the last one."""
        ...


def lies_within(inner: Spell, outer: Spell) -> bool:
    """Say whether `inner` holds on no day on which `outer` does not.

    A row that was only shortened is still the one that a merge brought, and goes back with it; one that was prolonged
    is a statement about the account that stayed.
    """
    begins = outer.since is None or (inner.since is not None and outer.since <= inner.since)
    return begins and (outer.until is None or (inner.until is not None and inner.until <= outer.until))


def where_none(own: Sequence[Interval[V]], other: Interval[V]) -> list[Interval[V]]:
    """Return what of `other` falls on days of which `own` says nothing."""
    parts = [other]
    for held in own:
        parts = [left for part in parts for left in _without(part, held)]
    return parts


def _without(part: Interval[V], held: Interval[V]) -> list[Interval[V]]:
    if (held.until is not None and held.until <= part.since) or (part.until is not None and part.until <= held.since):
        return [part]
    left = []
    if part.since < held.since:
        left.append(Interval(part.value, part.since, held.since))
    if held.until is not None and (part.until is None or held.until < part.until):
        left.append(Interval(part.value, held.until, part.until))
    return left


def free_name(name: str, of_account: str, taken: Collection[str]) -> str:
    """Return the name of a buying centre at the account that it comes to: told apart where that one has such a name."""
    if name not in taken:
        return name
    number = 1
    wanted = f"{name} ({of_account})"
    while wanted in taken:
        number += 1
        wanted = f"{name} ({of_account}, {number})"
    return wanted
