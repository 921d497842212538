"""What is delivered to whom, and what became of an attempt."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from contracts.alerts import AlertEvent
from contracts.ids import derive_id
from services.notifier.domain.life import Step
from services.notifier.domain.recipients import Destination, Route

FOLD_FOR = timedelta(seconds=3)
"""Real time for which a folded message waits for more before it goes out."""
STORM_FROM, STORM_WITHIN = 5, timedelta(minutes=10)
"""Who got so many mails within so long (real time) gets the next ones folded."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A step on its way to a destination."""

    destination_id: str
    alert_id: str
    version: int
    folded: bool
    """Goes out together with others, whatever else there is."""
    foldable: bool
    """May be folded when many come at once: mail to people, never what programs read."""

    @property
    def delivery_id(self) -> str:
        """The idempotency key: the same step to the same place is always the same delivery."""
        return derive_id("delivery", self.destination_id, self.alert_id, str(self.version))


@dataclass(frozen=True, slots=True)
class Notice:
    """One step of an alert as a message tells it; `step` is its kind."""

    step: str
    event: AlertEvent
    account_name: str


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that was leased for one attempt."""

    delivery_id: str
    destination: Destination
    notices: tuple[Notice, ...]
    attempts: int
    """How often it was tried before."""
    created_at: datetime
    zone: ZoneInfo
    """Of the person who reads it; the company's where nobody in particular does."""


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed in. Without a password no login is tried."""

    host: str
    port: int
    starttls: bool
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt. `outcome` is a sentence for operators without personal data."""

    delivered: bool
    outcome: str


def enqueue(
    steps: Iterable[tuple[Step, tuple[str, ...]]],
    mailboxes: Mapping[str, Destination],
    routes: Iterable[tuple[Route, Destination]],
    history_complete_at: datetime | None,
) -> list[Enqueued]:
    """Return what is to be delivered of steps that were taken, each with the users told of it.

    What was overdue already when the account's history was declared complete goes out folded.
    """
    routed = list(routes)
    found: dict[str, Enqueued] = {}
    for step, users in steps:
        backlog = step.kind == "opened" and history_complete_at is not None and step.deadline <= history_complete_at
        places = [mailboxes[user] for user in users if user in mailboxes]
        places += [destination for route, destination in routed if route.takes(step)]
        for place in places:
            if place.active:
                mail = place.kind == "mail"
                one = Enqueued(
                    place.destination_id, step.alert.alert_id, step.alert.version, backlog and mail, foldable=mail
                )
                found[one.delivery_id] = one
    return list(found.values())
