"""What an assembled interaction is, kind by kind, without its text and its people.

Amounts are exact; times are aware UTC; entries that can repeat (a ticket is resolved, reopened, resolved) live in
`Interaction.entries`, what they add up to lives here.
"""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from contracts.events.order import OrderLine
from contracts.values import Automatic, Direction, Instant, Line, Model, Money, Name, Word


class MailDetail(Model):
    """A mail, over all mailboxes that saw it."""

    kind: Literal["mail"] = "mail"
    direction: Direction
    automatic: Automatic | None = None
    labels: tuple[str, ...] = ()
    mailboxes: tuple[str, ...] = ()
    private: bool = False
    protection: Word | None = None
    """`signed` or `encrypted`."""
    away_until: date | None = None
    """Until when its writer is away, where an out-of-office reply says so."""


class CallDetail(Model):
    """A call, over all of its legs."""

    kind: Literal["call"] = "call"
    direction: Literal["in", "out"]
    outcome: Literal["completed", "missed", "running"]
    """`completed`: a person answered; `missed`: the root ended and nobody did; `running`: legs are still open."""
    talk_seconds: int = 0
    tags: tuple[str, ...] = ()


class MeetingDetail(Model):
    """A meeting or visit."""

    kind: Literal["meeting"] = "meeting"
    form: Literal["on_site", "remote", "business_review"]
    minutes: int | None = None


class NoteDetail(Model):
    """A note of ours."""

    kind: Literal["note"] = "note"


class ChatDetail(Model):
    """A chat message."""

    kind: Literal["chat"] = "chat"
    direction: Direction


class TicketDetail(Model):
    """A ticket: resolved at the last resolution known now, not while reopened."""

    kind: Literal["ticket"] = "ticket"
    opened_at: Instant | None = None
    """The first opening; None while only later reports have come."""
    resolved_at: Instant | None = None
    closed_at: Instant | None = None
    reopenings: int = 0
    priority: Literal["low", "normal", "high", "urgent"] | None = None
    severity: Line | None = None
    status: Literal["new", "open", "pending", "on_hold", "resolved", "closed"] | None = None
    rating: int | None = None


class CommentDetail(Model):
    """A public comment on a ticket."""

    kind: Literal["comment"] = "comment"
    direction: Direction
    automatic: Automatic | None = None


class OrderDetail(Model):
    """An order as placed and changed, before returns."""

    kind: Literal["order"] = "order"
    placed_at: Instant | None = None
    cancelled_at: Instant | None = None
    net: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    order_kind: Literal["new", "repeat", "upsell", "cross_sell"] | None = None
    buying_centre: str | None = None


class RefundDetail(Model):
    """Money given back; counts on the interaction's own date."""

    kind: Literal["refund"] = "refund"
    refunded: Money


class DeliveryDetail(Model):
    """A delivery of an order."""

    kind: Literal["delivery"] = "delivery"
    promised_on: date | None = None
    delivered_on: date


class ContractDetail(Model):
    """A contract as its reports add up now."""

    kind: Literal["contract"] = "contract"
    state: Literal["in_force", "expired", "cancelled"] | None = None
    """By the latest dated entry; None while none has come."""
    effective_on: date | None = None
    value: Money | None = None
    recurring: Money | None = None
    starts_on: date | None = None
    due_on: date | None = None
    notice_on: date | None = None
    auto_renewal: bool | None = None
    products: tuple[str, ...] = ()


class PromiseDetail(Model):
    """A promise; `state` by the latest dated entry."""

    kind: Literal["promise"] = "promise"
    state: Literal["made", "kept", "broken"] | None = None
    made_by: Literal["us", "customer"] | None = None
    due_on: date | None = None


class InvoiceDetail(Model):
    """An invoice; `state` by the latest dated entry."""

    kind: Literal["invoice"] = "invoice"
    state: Literal["overdue", "paid", "payment_failed"] | None = None
    owed: Money | None = None
    due_on: date | None = None


class SurveyDetail(Model):
    """An answered survey."""

    kind: Literal["survey"] = "survey"
    survey: Literal["nps", "csat"]
    score: int


class UsageDetail(Model):
    """A day's use of a product."""

    kind: Literal["usage"] = "usage"
    product: Name
    on: date
    active_users: int
    licences: int
    events: int = 0


class ProgrammeDetail(Model):
    """Attendance."""

    kind: Literal["programme"] = "programme"
    programme: Name
    form: Literal["training", "webinar", "conference", "meeting"]


class ReferralDetail(Model):
    """A referral; `state` by the latest dated entry."""

    kind: Literal["referral"] = "referral"
    state: Literal["lead_given", "won"] | None = None


class PartnershipDetail(Model):
    """A partnership; `state` by the latest dated entry."""

    kind: Literal["partnership"] = "partnership"
    state: Literal["started", "ended"] | None = None
    form: Literal["joint_event", "sponsorship", "campaign", "development", "resale"] | None = None


class ContactDetail(Model):
    """Somebody's being at the customer; `state` by the latest dated entry."""

    kind: Literal["contact"] = "contact"
    state: Literal["joined", "left", "bounced"] | None = None
    reason: str | None = None


class UnknownDetail(Model):
    """Only a withdrawal or restoration has come so far: nothing is known but that the interaction exists."""

    kind: Literal["unknown"] = "unknown"


Detail = Annotated[
    MailDetail
    | CallDetail
    | MeetingDetail
    | NoteDetail
    | ChatDetail
    | TicketDetail
    | CommentDetail
    | OrderDetail
    | RefundDetail
    | DeliveryDetail
    | ContractDetail
    | PromiseDetail
    | InvoiceDetail
    | SurveyDetail
    | UsageDetail
    | ProgrammeDetail
    | ReferralDetail
    | PartnershipDetail
    | ContactDetail
    | UnknownDetail,
    Field(discriminator="kind"),
]
