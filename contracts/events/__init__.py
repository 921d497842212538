"""Every event that a source can report, by CloudEvents type."""

from contracts.events.base import ENVELOPE_FIELDS, Event
from contracts.events.call import CallLegEnded
from contracts.events.contact import ContactBounced, ContactJoined, ContactLeft
from contracts.events.contract import (
    ContractCancelled,
    ContractExpired,
    ContractExtended,
    ContractRenewed,
    ContractSigned,
)
from contracts.events.email import EmailReceived, EmailSent
from contracts.events.invoice import InvoiceOverdue, InvoicePaid, PaymentFailed
from contracts.events.lifecycle import InteractionRestored, InteractionWithdrawn
from contracts.events.meeting import ChatMessageSent, MeetingHeld, NoteWritten
from contracts.events.order import OrderCancelled, OrderChanged, OrderDelivered, OrderPlaced, OrderRefunded
from contracts.events.promise import PromiseBroken, PromiseKept, PromiseMade
from contracts.events.relationship import (
    LeadReferred,
    PartnershipEnded,
    PartnershipStarted,
    ProgrammeAttended,
    ReferralWon,
    SurveyAnswered,
    UsageReported,
)
from contracts.events.ticket import (
    TicketClosed,
    TicketCommented,
    TicketOpened,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)

EVENTS: tuple[type[Event], ...] = (
    EmailReceived,
    EmailSent,
    CallLegEnded,
    MeetingHeld,
    NoteWritten,
    ChatMessageSent,
    TicketOpened,
    TicketUpdated,
    TicketResolved,
    TicketReopened,
    TicketClosed,
    TicketRated,
    TicketCommented,
    OrderPlaced,
    OrderChanged,
    OrderCancelled,
    OrderRefunded,
    OrderDelivered,
    ContractSigned,
    ContractRenewed,
    ContractExtended,
    ContractExpired,
    ContractCancelled,
    PromiseMade,
    PromiseKept,
    PromiseBroken,
    InvoiceOverdue,
    InvoicePaid,
    PaymentFailed,
    SurveyAnswered,
    UsageReported,
    ProgrammeAttended,
    LeadReferred,
    ReferralWon,
    PartnershipStarted,
    PartnershipEnded,
    ContactJoined,
    ContactLeft,
    ContactBounced,
    InteractionWithdrawn,
    InteractionRestored,
)

BY_TYPE: dict[str, type[Event]] = {event.TYPE: event for event in EVENTS}

UNMAPPED_TYPE = "tenure.unmapped.v1"
"""What is authentic but cannot be mapped: the source's raw bytes, keyed by their digest; a dead letter downstream."""

__all__ = [
    "BY_TYPE",
    "ENVELOPE_FIELDS",
    "EVENTS",
    "UNMAPPED_TYPE",
    "CallLegEnded",
    "ChatMessageSent",
    "ContactBounced",
    "ContactJoined",
    "ContactLeft",
    "ContractCancelled",
    "ContractExpired",
    "ContractExtended",
    "ContractRenewed",
    "ContractSigned",
    "EmailReceived",
    "EmailSent",
    "Event",
    "InteractionRestored",
    "InteractionWithdrawn",
    "InvoiceOverdue",
    "InvoicePaid",
    "LeadReferred",
    "MeetingHeld",
    "NoteWritten",
    "OrderCancelled",
    "OrderChanged",
    "OrderDelivered",
    "OrderPlaced",
    "OrderRefunded",
    "PartnershipEnded",
    "PartnershipStarted",
    "PaymentFailed",
    "ProgrammeAttended",
    "PromiseBroken",
    "PromiseKept",
    "PromiseMade",
    "ReferralWon",
    "SurveyAnswered",
    "TicketClosed",
    "TicketCommented",
    "TicketOpened",
    "TicketRated",
    "TicketReopened",
    "TicketResolved",
    "TicketUpdated",
    "UsageReported",
]
