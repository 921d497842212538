"""Attributions on `tenure.activity`: this interaction concerns this account, read this way, version n.

A whole state, never a delta: a reader keeps the greatest version per (account, interaction) and ignores lower ones.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.details import Detail
from contracts.values import Automatic, Direction, Entry, Id, Instant, Kind, Model, Name, PartyRole, TouchClass

Version = Annotated[int, Field(ge=0, lt=1 << 63)]
"""epoch · 2⁴⁰ + n. A restore from backup raises the epoch."""

Reason = Literal["by_hand", "parent", "organisation", "address", "phone", "person", "domain", "conversation"]
"""Why an interaction concerns an account. `organisation` and `person` are ids that a provider gives."""


class AttributedContact(Model):
    """Somebody at the customer who took part."""

    contact_id: Id
    role: PartyRole


class Attribution(Model):
    """One interaction as one account sees it, without its text and without addresses."""

    TYPE: ClassVar[str] = "tenure.attribution.v1"

    account_id: Id
    interaction_id: Id
    version: Version
    present: bool
    """False: withdrawn, or no longer this account's. Readers keep the tombstone."""
    kind: Kind
    occurred_at: Instant
    imported: bool
    sources: tuple[Name, ...]
    reason: Reason
    direction: Direction | None = None
    """None for kinds that have none (an order)."""
    touch_class: TouchClass | None = None
    """None for kinds that are no touch."""
    automatic: Automatic | None = None
    """Why this is no touch although it looks like one."""
    cc_only: bool = False
    """The account's people were copied only: no touch."""
    reply_expected: bool = True
    """False for thanks, newsletters, invitations and what a manager marked so."""
    contacts: tuple[AttributedContact, ...] = ()
    users: tuple[Id, ...] = ()
    """Ours who took part."""
    conversation_id: Id
    parent_id: Id | None = None
    """The interaction that this one depends on (a refund's order, a comment's ticket)."""
    ticket_id: Id | None = None
    """The ticket, of the same account, whose conversation this belongs to: it counts once, with the ticket."""
    entries: tuple[Entry, ...] = ()
    account_version: Version
    """The account's version under which it was read."""
    detail: Detail
