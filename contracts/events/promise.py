"""Promises made to, or by, a customer."""

from datetime import date
from typing import ClassVar, Literal

from contracts.events.base import Event
from contracts.values import Kind


class PromiseReport(Event):
    """What a report may state about a promise; what was promised is `title` and `text`."""

    KIND: ClassVar[Kind] = Kind.PROMISE

    made_by: Literal["us", "customer"] | None = None
    due_on: date | None = None


class PromiseMade(PromiseReport):
    """Something was promised."""

    TYPE: ClassVar[str] = "tenure.promise.made.v1"
    ENTRY: ClassVar[str] = "made"


class PromiseKept(PromiseReport):
    """A promise was kept."""

    TYPE: ClassVar[str] = "tenure.promise.kept.v1"
    ENTRY: ClassVar[str] = "kept"


class PromiseBroken(PromiseReport):
    """A promise was broken."""

    TYPE: ClassVar[str] = "tenure.promise.broken.v1"
    ENTRY: ClassVar[str] = "broken"
