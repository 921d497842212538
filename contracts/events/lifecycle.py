"""Withdrawal and restoration, for every kind of interaction."""

from typing import ClassVar

from contracts.events.base import Event
from contracts.values import Kind, Line, Name


class LifecycleReport(Event):
    """Whether an interaction still stands. For mail it speaks for one mailbox; the mail goes when all withdrew it."""

    KIND: ClassVar[Kind | None] = None

    mailbox: Name | None = None
    reason: Line | None = None


class InteractionWithdrawn(LifecycleReport):
    """The source deleted it, or says that it should never have been reported."""

    TYPE: ClassVar[str] = "tenure.interaction.withdrawn.v1"


class InteractionRestored(LifecycleReport):
    """The source took the deletion back."""

    TYPE: ClassVar[str] = "tenure.interaction.restored.v1"
