"""Alerts on `tenure.alerts`, for CRM, BI and anyone else."""

from datetime import date
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.activity import Version
from contracts.values import Id, Instant, Kind, Line, Model, Name, Text, Word

Severity = Literal["info", "warn", "alert"]
AlertState = Literal["open", "acknowledged", "snoozed", "resolved"]
RuleName = Literal["stale_touch", "ticket_volume", "order_gap", "champion_left", "unanswered_mail", "source_silent"]


class EvidenceItem(Model):
    """One interaction that an alert rests on, described without its text."""

    interaction_id: Id
    kind: Kind
    occurred_at: Instant
    summary: Line
    """For a person: "mail from Maria Keller"."""


class EvidenceFigure(Model):
    """One number that an alert rests on, and the threshold that it met."""

    name: Line
    value: Decimal | None = None
    threshold: Decimal | None = None
    unit: Line | None = None
    as_of_day: date | None = None


class AlertEvidence(Model):
    """Exactly what fired an alert."""

    items: Annotated[tuple[EvidenceItem, ...], Field(max_length=20)] = ()
    figures: tuple[EvidenceFigure, ...] = ()
    horizon: Instant | None = None
    """The alert speaks only of time before this."""
    unverified: tuple[Line, ...] = ()
    """Sources that cannot be polled, with their last delivery: what they have not delivered is not known."""
    last_delivery: Instant | None = None
    """Of the source that an alert is about."""
    expected_by: Instant | None = None
    """Until when something should have come from that source, by its own rhythm."""


class AlertEvent(Model):
    """One step in an alert's life: the whole alert as it is after the step."""

    TYPE: ClassVar[str]

    alert_id: Id
    account_id: Id
    """The account that it is about; of an alert about a source an id derived from its name, which no account has."""
    version: Version
    rule: Word
    """One of `RuleName`; later ones may come."""
    rule_version: int
    severity: Severity
    state: AlertState
    dedup_key: Line
    title: Line
    explanation: Text
    evidence: AlertEvidence
    opened_at: Instant
    changed_at: Instant
    owner_id: Id | None = None
    changed_by: Id | None = None
    """The user who took the step; None: the system."""
    snoozed_until: Instant | None = None
    resolution: Literal["by_person", "cause_gone"] | None = None
    source: Name | None = None
    """The configured source that it is about; None: it is about an account."""
    lead_steps: int | None = None
    """How many steps to the lead were taken since it was last opened; None: written before this was said."""


class AlertOpened(AlertEvent):
    """An alert opened."""

    TYPE: ClassVar[str] = "tenure.alert.opened.v1"


class AlertEscalated(AlertEvent):
    """The severity rose, or the lead was told."""

    TYPE: ClassVar[str] = "tenure.alert.escalated.v1"


class AlertAcknowledged(AlertEvent):
    """A person took note."""

    TYPE: ClassVar[str] = "tenure.alert.acknowledged.v1"


class AlertSnoozed(AlertEvent):
    """A person put it off until `snoozed_until`."""

    TYPE: ClassVar[str] = "tenure.alert.snoozed.v1"


class AlertResolved(AlertEvent):
    """Its cause is gone, or a person says so."""

    TYPE: ClassVar[str] = "tenure.alert.resolved.v1"


class AlertReopened(AlertEvent):
    """Its cause came back."""

    TYPE: ClassVar[str] = "tenure.alert.reopened.v1"
