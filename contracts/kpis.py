"""KPI states on `tenure.kpis`: all values of an account at once, coalesced per batch, compacted by account."""

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.accounts import GroupRole
from contracts.activity import Version
from contracts.values import Currency, Id, Instant, Kind, Model, TouchClass, Word

Kpi = Literal[
    "touches_out",
    "touches_in",
    "support_requests",
    "tickets_opened",
    "resolution_hours_mean",
    "resolution_hours_median",
    "resolution_hours_p90",
    "tickets_resolved",
    "orders",
    "net_revenue",
    "repeat_purchase_rate",
]
Window = Literal[7, 30, 90, 365]
"""Days, the day itself included."""

EVIDENCE_LIMIT = 20


class Evidence(Model):
    """What a value rests on: how many interactions, some of their ids, and where the rest can be read."""

    count: int
    interaction_ids: Annotated[tuple[Id, ...], Field(max_length=EVIDENCE_LIMIT)] = ()
    """The latest first."""
    query: str
    """Path and query on the metrics API that lists all of them."""


class KpiValue(Model):
    """One KPI over one window, and over the window of the same length before it."""

    kpi: Word
    """One of `Kpi`; later ones may come."""
    window: Annotated[int, Field(ge=1)]
    """Days; one of `Window`."""
    currency: Currency | None = None
    value: Decimal | None = None
    """None: not defined (no order to take a rate of, no resolution to take a mean of)."""
    previous: Decimal | None = None
    change: Decimal | None = None
    """value minus previous; None where either is not defined."""
    evidence: Evidence | None = None


TouchSort = Literal["inbound", "outbound", "connected_call", "meeting", "two_way"]
"""inbound: mail, chat, comment or connected call from the customer. outbound: mail, chat or comment of ours.
connected_call: a call of ours that a person answered. meeting: a meeting or visit. two_way: a mail or chat, of either
side, that answers one from the other side within 14 days.
"""
OpenItemKind = Literal["unanswered_mail", "missed_call", "open_ticket"]


class LastTouch(Model):
    """The latest touch of one sort."""

    sort: Word
    """One of `TouchSort`; later ones may come."""
    touch_class: TouchClass
    role: GroupRole | None = None
    """Of a contact who took part, on that day; None: over all contacts."""
    at: Instant
    interaction_id: Id


class OpenItem(Model):
    """Something that waits for us."""

    kind: Word
    """One of `OpenItemKind`; later ones may come."""
    interaction_id: Id
    source_kind: Kind
    since: Instant
    contact_id: Id | None = None
    priority: Literal["low", "normal", "high", "urgent"] | None = None


class OrderRhythm(Model):
    """The account's own rhythm of ordering, over all orders that stand."""

    orders: int
    last_order_at: Instant | None = None
    last_order_id: Id | None = None
    gaps: int = 0
    """Number of gaps between consecutive order days."""
    p90_gap_days: Decimal | None = None
    """90th percentile of the gaps, by linear interpolation."""


class AccountKpis(Model):
    """Everything that metrics knows of an account at the end of `as_of_day`, with everything known at `computed_at`."""

    TYPE: ClassVar[str] = "tenure.kpis.v1"

    account_id: Id
    version: Version
    account_version: Version
    """The account's version that it was computed under; 0: not seen yet."""
    as_of_day: date
    computed_at: Instant
    values: tuple[KpiValue, ...] = ()
    last_touches: tuple[LastTouch, ...] = ()
    open_items: tuple[OpenItem, ...] = ()
    order_rhythm: OrderRhythm
    tickets_norm_30d: Decimal | None = None
    """The account's own norm: tickets opened per 30 days, averaged over the year before the window.

    None under 90 days of history.
    """
    history_since: date | None = None
    """The day of its first interaction."""
