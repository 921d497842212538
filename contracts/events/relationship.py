"""Surveys, usage, programmes, referrals, partnerships: signs of how the relationship is doing."""

from datetime import date
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from contracts.events.base import Event
from contracts.values import Kind, Line, Name

Count = Annotated[int, Field(ge=0, lt=1 << 53)]


class SurveyAnswered(Event):
    """A survey was answered; free text is `text`."""

    TYPE: ClassVar[str] = "tenure.survey.answered.v1"
    KIND: ClassVar[Kind] = Kind.SURVEY

    survey: Literal["nps", "csat"]
    score: Annotated[int, Field(ge=0, le=10)]
    """NPS 0 to 10, CSAT 1 to 5."""

    @model_validator(mode="after")
    def _score_fits_the_survey(self) -> Self:
        if self.survey == "csat" and not 1 <= self.score <= 5:  # noqa: PLR2004 - the scale of CSAT
            msg = "score of a csat survey must be 1 to 5"
            raise ValueError(msg)
        return self


class UsageReported(Event):
    """How much a product was used on one day."""

    TYPE: ClassVar[str] = "tenure.usage.reported.v1"
    KIND: ClassVar[Kind] = Kind.USAGE

    product: Name
    on: date
    active_users: Count
    licences: Count
    events: Count = 0


class ProgrammeAttended(Event):
    """Somebody took part in a training, webinar, conference or meeting."""

    TYPE: ClassVar[str] = "tenure.programme.attended.v1"
    KIND: ClassVar[Kind] = Kind.PROGRAMME

    programme: Name
    form: Literal["training", "webinar", "conference", "meeting"]


class ReferralReport(Event):
    """What a report may state about a referral by the customer."""

    KIND: ClassVar[Kind] = Kind.REFERRAL

    referred: Line | None = None


class LeadReferred(ReferralReport):
    """The customer gave us a lead."""

    TYPE: ClassVar[str] = "tenure.referral.lead-given.v1"
    ENTRY: ClassVar[str] = "lead_given"


class ReferralWon(ReferralReport):
    """A referred lead became a customer."""

    TYPE: ClassVar[str] = "tenure.referral.won.v1"
    ENTRY: ClassVar[str] = "won"


class PartnershipReport(Event):
    """What a report may state about a partnership."""

    KIND: ClassVar[Kind] = Kind.PARTNERSHIP

    form: Literal["joint_event", "sponsorship", "campaign", "development", "resale"] | None = None


class PartnershipStarted(PartnershipReport):
    """A partnership began."""

    TYPE: ClassVar[str] = "tenure.partnership.started.v1"
    ENTRY: ClassVar[str] = "started"


class PartnershipEnded(PartnershipReport):
    """A partnership ended."""

    TYPE: ClassVar[str] = "tenure.partnership.ended.v1"
    ENTRY: ClassVar[str] = "ended"
