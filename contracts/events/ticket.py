"""Support tickets and the comments on them."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Automatic, Direction, Kind, Line


class TicketReport(Event):
    """What a report may state about a ticket, whichever event it is."""

    KIND: ClassVar[Kind] = Kind.TICKET

    priority: Literal["low", "normal", "high", "urgent"] | None = None
    severity: Line | None = None
    status: Literal["new", "open", "pending", "on_hold", "resolved", "closed"] | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    """CSAT, 1 to 5."""
    tags: Annotated[tuple[Line, ...], Field(max_length=200)] | None = None


class TicketOpened(TicketReport):
    """A ticket was opened."""

    TYPE: ClassVar[str] = "tenure.ticket.opened.v1"
    ENTRY: ClassVar[str] = "opened"


class TicketUpdated(TicketReport):
    """Something about a ticket changed: priority, tags, people."""

    TYPE: ClassVar[str] = "tenure.ticket.updated.v1"


class TicketResolved(TicketReport):
    """A ticket was resolved (again)."""

    TYPE: ClassVar[str] = "tenure.ticket.resolved.v1"
    ENTRY: ClassVar[str] = "resolved"


class TicketReopened(TicketReport):
    """A resolved ticket was opened again."""

    TYPE: ClassVar[str] = "tenure.ticket.reopened.v1"
    ENTRY: ClassVar[str] = "reopened"


class TicketClosed(TicketReport):
    """A ticket was closed for good."""

    TYPE: ClassVar[str] = "tenure.ticket.closed.v1"
    ENTRY: ClassVar[str] = "closed"


class TicketRated(TicketReport):
    """The customer rated how a ticket was handled."""

    TYPE: ClassVar[str] = "tenure.ticket.rated.v1"
    ENTRY: ClassVar[str] = "rated"


class TicketCommented(Event):
    """A public comment on a ticket, an interaction of its own whose parent is the ticket."""

    TYPE: ClassVar[str] = "tenure.ticket.commented.v1"
    KIND: ClassVar[Kind] = Kind.COMMENT

    direction: Direction
    automatic: Automatic | None = None
