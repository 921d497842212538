"""People at the customer who join, leave, or can no longer be reached. The person is the party with role `subject`."""

from typing import ClassVar

from contracts.events.base import Event
from contracts.values import Kind, Line


class ContactReport(Event):
    """What a report may state about somebody's being at a customer."""

    KIND: ClassVar[Kind] = Kind.CONTACT

    job_title: Line | None = None
    reason: Line | None = None


class ContactJoined(ContactReport):
    """Somebody joined the customer."""

    TYPE: ClassVar[str] = "tenure.contact.joined.v1"
    ENTRY: ClassVar[str] = "joined"


class ContactLeft(ContactReport):
    """Somebody left the customer."""

    TYPE: ClassVar[str] = "tenure.contact.left.v1"
    ENTRY: ClassVar[str] = "left"


class ContactBounced(ContactReport):
    """Mail to somebody came back as undeliverable for good."""

    TYPE: ClassVar[str] = "tenure.contact.bounced.v1"
    ENTRY: ClassVar[str] = "bounced"
