"""What business users may change about each rule. Version 1 of each is the default that a new database starts with."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from contracts.accounts import GroupRole, Stage
from contracts.alerts import Severity
from contracts.values import Model

Days = Annotated[int, Field(ge=1, le=3650)]
LeadSteps = Annotated[tuple[Days, ...], Field(max_length=10)]


class Thresholds(Model):
    """What every rule has: its hygiene."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    """A rule that is switched off raises nothing; its alerts resolve."""
    cooldown_hours: Annotated[int, Field(ge=0, le=24 * 90)] = 24
    """An alert that was resolved stays quiet so long, even when its cause comes back."""
    reopen_days: Days = 30
    """A cause that comes back within so many days reopens its alert; later it opens a new one."""


class Cadence(Model):
    """Days without a real touch until a warning and until an alert."""

    model_config = ConfigDict(extra="forbid")

    warn_days: Days
    alert_days: Days

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn_days >= self.alert_days:
            msg = "warn_days must be less than alert_days"
            raise ValueError(msg)
        return self


class StaleTouch(Thresholds):
    """The cadence is that of the stage onboarding, else of key accounts, else of the class."""

    onboarding: Cadence = Cadence(warn_days=7, alert_days=14)
    key: Cadence = Cadence(warn_days=14, alert_days=30)
    class_b: Cadence = Cadence(warn_days=30, alert_days=90)
    """Also of class A accounts that nobody named key."""
    class_c: Cadence = Cadence(warn_days=60, alert_days=120)
    quiet_stages: tuple[Stage, ...] = ("lost",)
    """In these stages nobody is expected to keep in touch."""
    lead_after_days: LeadSteps = (5, 10, 14)
    """Days after opening at which the lead is told of an alert that nobody has taken note of."""


class TicketVolume(Thresholds):
    """Tickets opened in 30 days, and how many times the account's own norm they must be."""

    warn_from: Annotated[int, Field(ge=1)] = 5
    alert_above: Annotated[int, Field(ge=1)] = 10
    times_norm: Annotated[Decimal, Field(ge=0, le=100)] = Decimal(2)

    @model_validator(mode="after")
    def _warns_first(self) -> Self:
        if self.warn_from > self.alert_above:
            msg = "warn_from must not exceed alert_above"
            raise ValueError(msg)
        return self


class OrderGap(Thresholds):
    """How many times the account's own 90th-percentile gap may pass without an order."""

    times_p90: Annotated[Decimal, Field(gt=0, le=10)] = Decimal("1.5")
    least_gaps: Annotated[int, Field(ge=2)] = 5
    """With fewer gaps the account has no rhythm to speak of."""
    quiet_stages: tuple[Stage, ...] = ("lost",)
    lead_after_days: LeadSteps = (5, 10, 14)


class ChampionLeft(Thresholds):
    """Whose leaving matters, and how much; a bounce is less certain than a notice that somebody left."""

    left: dict[GroupRole, Severity] = Field(
        default={"champion": "alert", "executive_sponsor": "alert", "decision_maker": "alert"}
    )
    bounced: dict[GroupRole, Severity] = Field(
        default={"champion": "warn", "executive_sponsor": "warn", "decision_maker": "warn"}
    )
    greatest_age_days: Days = 14
    """A report about something longer ago opens no alert."""


class SourceSilent(Thresholds):
    """How long a source may be down, and when that, or its quiet, becomes serious. Its rhythm is ingest's to learn."""

    cooldown_hours: Annotated[int, Field(ge=0, le=24 * 90)] = 1
    broken_after_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 30
    """Since the last good pass; providers have hiccups."""
    alert_after_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 24
    """After the warning."""
    lead_after_days: LeadSteps = (1, 3)
    """Days after opening at which the leads of those who were told hear of an alert that nobody has taken note of."""


class UnansweredMail(Thresholds):
    """Business days of the owner until an inbound mail or missed call must have been answered."""

    key_business_days: Annotated[int, Field(ge=1, le=60)] = 1
    other_business_days: Annotated[int, Field(ge=1, le=60)] = 2
    greatest_age_days: Days = 30
    """What has waited longer opens no alert any more: nobody answers it now, and history is full of it."""
    key_severity: Literal["warn", "alert"] = "alert"
    other_severity: Literal["warn", "alert"] = "warn"
    key_lead_after_business_days: LeadSteps = (1, 2)
    """Business days after opening at which the lead is told; key accounts only."""
