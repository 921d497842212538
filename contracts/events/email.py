"""Mail, as one mailbox saw it. The same mail in several mailboxes is several reports about one interaction."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Automatic, Direction, Instant, Kind, Line, Name, Word


class EmailReport(Event):
    """One mailbox's sight of a mail. `occurred_at` is the receipt by that mailbox's server, else the Date header."""

    KIND: ClassVar[Kind] = Kind.MAIL

    mailbox: Name
    direction: Direction
    sent_at: Instant | None = None
    """The Date header, as the sender's clock had it."""
    automatic: Automatic | None = None
    """Why this is no touch: nobody wrote it by hand. None: a person did."""
    labels: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    private: bool = False
    """Marked private in this mailbox: its content is withheld in all."""
    protection: Word | None = None
    """`signed` or `encrypted`, with S/MIME or PGP. Signatures are not checked, and what is encrypted has no text."""
    away_until: date | None = None
    """The last day of an absence or the day of the return, whichever an out-of-office reply says. Content."""


class EmailReceived(EmailReport):
    """A mail from the customer reached us."""

    TYPE: ClassVar[str] = "tenure.email.received.v1"


class EmailSent(EmailReport):
    """A mail was sent by us."""

    TYPE: ClassVar[str] = "tenure.email.sent.v1"
