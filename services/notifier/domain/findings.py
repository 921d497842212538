"""What a rule says about an account at one moment."""

from dataclasses import dataclass
from datetime import datetime

from contracts.alerts import AlertEvidence, EvidenceFigure, EvidenceItem, Severity

RANK: dict[Severity, int] = {"info": 0, "warn": 1, "alert": 2}
"""Severities in order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A cause that is present now, with what shows it."""

    subject: str
    """What of the account it is about: "account", or an interaction's id. Part of the dedup key."""
    severity: Severity
    deadline: datetime
    """The moment from which this severity holds. A silence alert fires only when the horizon lies behind it."""
    title: str
    explanation: str
    items: tuple[EvidenceItem, ...] = ()
    figures: tuple[EvidenceFigure, ...] = ()
    missing: int = 0
    """How many interactions it rests on are not known here yet: their activity may still be on its way."""
    cause: str = ""
    """Which occurrence it is where the subject alone does not say: the touch or order after which nothing came."""
    opens_until: datetime | None = None
    """A one-shot signal older than its greatest age opens no alert; None: always."""
    last_delivery: datetime | None = None
    expected_by: datetime | None = None
    """Of the source that it is about, if it is about one: see `AlertEvidence`."""

    @property
    def evidence(self) -> AlertEvidence:
        """What an alert shows of it; what is known up to when is added by whoever asks the horizon."""
        return AlertEvidence(
            items=self.items[:20],
            figures=self.figures,
            last_delivery=self.last_delivery,
            expected_by=self.expected_by,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """All causes that are present now, and when time alone may change that."""

    findings: tuple[Finding, ...] = ()
    due: datetime | None = None
    """The next moment after which the verdict may differ although nothing has come; None: never."""
    waits_for: str | None = None
    """Why nothing can be said yet: neither that a cause is there nor that it is gone."""
