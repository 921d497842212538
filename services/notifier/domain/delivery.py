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
"""Real time for which a folded message waits for more before it goes out, each time that more comes."""
FOLD_AT_MOST = timedelta(seconds=30)
"""Real time after which it goes out although more keeps coming."""
STORM_FROM, STORM_WITHIN = 5, timedelta(minutes=10)
"""Who got so many mails within so long (real time) gets the next ones folded."""

OVER = "not sent: the alert was resolved before anybody could be told"
"""Why a mail is withdrawn whose alerts are all over."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """A step on its way to a destination."""

    destination_id: str
    alert_id: str
    version: int
    occasion: str
    """What the step says, with the number of such steps before it."""
    folded: bool
    """Goes out together with others, whatever else there is."""
    foldable: bool
    """May be folded when many come at once: mail to people, never what programs read."""
    held: bool = False
    """Waits until what was missed is caught up, to be gathered into one message or dropped."""

    @property
    def delivery_id(self) -> str:
        """The idempotency key: the same step to the same place is always the same delivery.

        Also after a restore from a backup, where the step is taken again under a greater version.
        """
        return derive_id("delivery", self.destination_id, self.alert_id, self.occasion)


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
    first_tried_at: datetime
    """Real time; the 72 hours count from here."""
    leased_at: datetime
    """The database's time: clocks of processes may be wrong by days, and times are compared with its own."""
    lease: str
    """Drawn for this attempt: who comes back after the lease ran out changes nothing that somebody else does now."""
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
    leave_alone: timedelta | None = None
    """For how long the destination asks to be left alone."""


def gathered_id(destination_id: str, delivery_ids: Iterable[str]) -> str:
    """Return the idempotency key of one message that tells what these deliveries would have told."""
    return derive_id("gathered", destination_id, *sorted(set(delivery_ids)))


def enqueue(
    steps: Iterable[tuple[Step, tuple[str, ...]]],
    mailboxes: Mapping[str, Destination],
    routes: Iterable[tuple[Route, Destination]],
    history_complete_at: datetime | None,
    *,
    gathering: bool = False,
) -> list[Enqueued]:
    """Return what is to be delivered of steps that were taken, each with the users told of it.

    What was overdue already when the account's history was declared complete goes out folded. `gathering`: something is
    being caught up, and mails wait until that is done.
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
                    place.destination_id,
                    step.alert.alert_id,
                    step.alert.version,
                    f"{step.occasion}.{step.number}",
                    folded=backlog and mail and not gathering,
                    foldable=mail,
                    held=gathering and mail,
                )
                found[one.delivery_id] = one
    return list(found.values())
