"""What is kept of one account beside its slim rows: running sums, and what was last read from the rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from services.metrics.domain.days import ONE_DAY
from services.metrics.domain.facts import RoleSpans
from services.metrics.domain.numbers import hours, ratio
from services.metrics.domain.windows import NORM_DAYS, TICKETS, WINDOWS, Sums

NORM_WINDOW = 30
HISTORY_NEEDED = 90
"""Days of history below which an account has no norm."""

Hours = tuple[Decimal, Decimal, Decimal]
"""Mean, median and 90th percentile."""

_UNTIL_NORM = timedelta(days=HISTORY_NEEDED - 1)
_NO_TICKETS = Decimal("0.0000")
_NO_HOURS: Sequence[Hours | None] = (None,) * (2 * len(WINDOWS))
_NONE_OPENED: Sequence[Sequence[str]] = ((),) * len(WINDOWS)


class Touch(NamedTuple):
    """A last touch."""

    at: datetime
    interaction_id: str


TouchKey = tuple[str, str, int | None]
"""Sort of last touch, touch class, bit number of the role (None: over all contacts)."""


class Item(NamedTuple):
    """Something that waits for us."""

    kind: str
    interaction_id: str
    source_kind: str
    since: datetime
    contact_id: str | None
    priority: str | None


class Rhythm(NamedTuple):
    """Of the orders that stand, placed on or before the day."""

    orders: int = 0
    last_at: datetime | None = None
    last_id: str | None = None
    gaps: int = 0
    p90_gap_days: Decimal | None = None
    first_day: date | None = None
    spans: tuple[tuple[int, int], ...] = ()
    """Gaps in days, ascending, and how often each occurs."""


class Ticket(NamedTuple):
    """A ticket for the percentiles and the evidence."""

    interaction_id: str
    opened_on: date | None
    resolved_on: date | None
    microseconds: int | None
    """From opening to resolution; None: one of them is not known."""
    began_at: datetime | None


@dataclass(slots=True)
class AccountState:
    """One account's figures as of `sums.as_of`. Whoever changes it holds the lock of its row."""

    account_id: str
    sums: Sums
    version: int = 0
    """Of the last published state."""
    account_version: int = 0
    due: date | None = None
    """The first day on which a figure may change by itself; None: never."""
    future: bool = False
    """Whether some fact lies after `as_of`."""
    since: date | None = None
    """Day of the first interaction, also one after `as_of`."""
    touches: dict[TouchKey, Touch] = field(default_factory=dict)
    items: list[Item] = field(default_factory=list)
    rhythm: Rhythm = field(default_factory=Rhythm)
    hours: Sequence[Hours | None] = _NO_HOURS
    """Per window: of the window, of the one before it."""
    opened: Sequence[Sequence[str]] = _NONE_OPENED
    """Per window: the latest tickets opened in it, at most EVIDENCE_LIMIT."""
    digest: bytes | None = None
    """Of the last published figures."""
    currency: str = "EUR"
    roles: RoleSpans = field(default_factory=dict)

    @property
    def history_since(self) -> date | None:
        """The day of the first interaction up to `as_of`."""
        return self.since if self.since is not None and self.since <= self.sums.as_of else None

    @property
    def tickets_norm(self) -> Decimal | None:
        """Tickets opened per 30 days, averaged over the year (or the history) before the 30-day window."""
        since, as_of = self.history_since, self.sums.as_of
        if since is None or (as_of - since).days + 1 < HISTORY_NEEDED:
            return None
        if not self.sums.count(TICKETS, NORM_WINDOW + NORM_DAYS):
            return _NO_TICKETS
        days = min(NORM_DAYS, (as_of - since).days + 1 - NORM_WINDOW)
        tickets = self.sums.count(TICKETS, NORM_WINDOW + NORM_DAYS) - self.sums.count(TICKETS, NORM_WINDOW)
        return ratio(tickets * NORM_WINDOW, days)

    def norm_due(self) -> date | None:
        """Return the first later day on which the norm may change although no bucket enters or leaves a window."""
        since, as_of = self.since, self.sums.as_of
        if since is None:
            return None
        age = (as_of - since).days
        if age < HISTORY_NEEDED - 1:
            return since + _UNTIL_NORM
        settled = age >= NORM_WINDOW + NORM_DAYS - 1
        return None if settled or not self.sums.count(TICKETS, NORM_WINDOW + NORM_DAYS) else as_of + ONE_DAY


def resolution_hours(tickets: list[Ticket], as_of: date) -> list[Hours | None]:
    """Return mean, median and p90 per window and the one before it, over tickets resolved in them."""
    figures: list[Hours | None] = []
    for window in WINDOWS:
        for end in (as_of, as_of - timedelta(days=window)):
            begin = end - timedelta(days=window)
            spans = [
                ticket.microseconds
                for ticket in tickets
                if ticket.resolved_on is not None
                and ticket.microseconds is not None
                and begin < ticket.resolved_on <= end
            ]
            figures.append(hours(spans) if spans else None)
    return figures


def opened_tickets(tickets: list[Ticket], as_of: date, limit: int) -> list[list[str]]:
    """Return per window the ids of at most `limit` tickets opened in it, the latest first."""
    opened = [ticket for ticket in tickets if ticket.opened_on is not None and ticket.opened_on <= as_of]
    opened.sort(key=lambda ticket: (ticket.began_at, ticket.interaction_id), reverse=True)
    return [
        [ticket.interaction_id for ticket in opened if _after(ticket.opened_on, as_of - timedelta(days=window))][:limit]
        for window in WINDOWS
    ]


def _after(day: date | None, other: date) -> bool:
    return day is not None and day > other
