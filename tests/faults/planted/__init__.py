"""Bugs that are put into a running service on purpose, to prove that the checker can see them. Never in the product.

`python -m tests.faults.planted <bug> services.accounts.app` starts a service with one of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local.system import Launch


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug: what it is, in which services it is put, how, and under which faults it should come to light."""

    name: str
    what: str
    services: tuple[str, ...]
    plant: Callable[[], None]
    faults: tuple[str, ...]
    seen_as: tuple[str, ...]
    """The invariants that it breaks; whatever else is found does not count as having caught it."""

    @property
    def launches(self) -> dict[str, Launch]:
        """How the services with this bug are started."""
        return {
            service: Launch(("-m", "tests.faults.planted", self.name, f"services.{service}.app"))
            for service in self.services
        }


def put(owner: object, name: str, bug: object) -> None:
    """Put a bug where a service finds it.

    Raises TypeError where it takes other arguments than what it replaces: the service would break in another way.
    """
    place = getattr(owner, name)
    if callable(place) and callable(bug):
        wanted = inspect.signature(place).parameters.values()
        by_name = {each.name: None for each in wanted if each.kind is each.KEYWORD_ONLY}
        by_place = [None for each in wanted if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}]
        inspect.signature(bug).bind(*by_place, **by_name)
    setattr(owner, name, bug)
