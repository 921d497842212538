"""Which alerts must stand open at a moment, by the default thresholds of the domain page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from tests.faults.directory import ZONE, Directory, day_of
from tests.faults.figures import Seen, open_items, percentile
from tests.faults.history import ExpectedAlert

_REPLIES = timedelta(days=14)
_OPENS, _CLOSES = time(9), time(17)
_CADENCES = {"key": (14, 30), "A": (30, 90), "B": (30, 90), "C": (60, 120)}
_OLDEST_QUESTION = timedelta(days=30)
_NOISE = frozenset({"support", "billing"})


@dataclass(frozen=True, slots=True)
class Alerts:
    """What must stand, and what may: a cause that is too old to open an alert keeps one that stands."""

    standing: frozenset[ExpectedAlert]
    allowed: frozenset[ExpectedAlert]


def alerts_of(
    seen: Mapping[str, Sequence[Seen]], created: Mapping[str, datetime], directory: Directory, now: datetime
) -> Alerts:
    """Judge every account of `created` (when each came). `champion_left` is not derived."""
    standing: set[ExpectedAlert] = set()
    allowed: set[ExpectedAlert] = set()
    for account, came in created.items():
        own = [each for each in seen.get(account, ()) if each.said.present and day_of(each.at) <= day_of(now)]
        key = directory.is_key(account, day_of(now))
        found = [
            *_stale(account, own, came, directory.classes[account], now, key=key),
            *_storm(account, own, now),
            *_gap(account, own, now),
        ]
        standing.update(found)
        allowed.update(found)
        for alert, asked_at in _unanswered(account, own, now, key=key):
            allowed.add(alert)
            if now <= asked_at + _OLDEST_QUESTION:
                standing.add(alert)
    return Alerts(frozenset(standing), frozenset(allowed))


def _stale(
    account: str, seen: Sequence[Seen], came: datetime, letter: str, now: datetime, *, key: bool
) -> Iterator[ExpectedAlert]:
    warn, alert = (timedelta(days=days) for days in _CADENCES["key" if key else letter])
    answers = support_answers(seen)
    real = [
        each.at
        for each in seen
        if _is_real(each, seen) and not (key and (each.said.touch_class in _NOISE or each.thing.id in answers))
    ]
    silent = now - max(real, default=came)
    if silent > warn:
        yield ExpectedAlert(account, "stale_touch", "alert" if silent > alert else "warn")


def _is_real(touch: Seen, seen: Sequence[Seen]) -> bool:
    """From them, spoken, met, or written by us in answer to them."""
    kind = touch.thing.kind
    if not touch.real:
        return False
    if kind == "meeting":
        return True
    if kind == "call":
        return bool(touch.thing.talked)
    if kind not in {"mail", "chat", "comment"}:
        return False
    if touch.thing.direction == "in":
        return True
    return touch.thing.direction == "out" and kind != "comment" and answers_theirs(touch, seen)


def answers_theirs(touch: Seen, seen: Sequence[Seen]) -> bool:
    """Whether it is, for somebody, our first mail or chat after one of theirs, within two weeks."""
    written = [each for each in seen if each.real and each.thing.kind in {"mail", "chat"}]
    ours = [each for each in written if each.thing.direction == "out"]
    for theirs in (each for each in written if each.thing.direction == "in"):
        if not timedelta(0) < touch.at - theirs.at <= _REPLIES:
            continue
        for person in theirs.people or {None}:
            forestalled = any(theirs.at < each.at < touch.at and reaches(each, person) for each in ours)
            if reaches(touch, person) and not forestalled:
                return True
    return False


def reaches(touch: Seen, person: str | None) -> bool:
    """Whether a touch is with somebody; where either is unknown, it is with anybody of the account."""
    return person is None or not touch.people or person in touch.people


def support_answers(seen: Sequence[Seen]) -> frozenset[str]:
    """Routine touches of ours that are the first answer to a call for help."""
    found: set[str] = set()
    for asked in seen:
        if not asked.asks or asked.said.touch_class != "support":
            continue
        who = min(asked.people, default=None)
        later = [each for each in seen if each.ours and each.at > asked.at and reaches(each, who)]
        if later:
            first = min(later, key=lambda each: each.at)
            if first.said.touch_class == "routine":
                found.add(first.thing.id)
    return frozenset(found)


def _storm(account: str, seen: Iterable[Seen], now: datetime) -> Iterator[ExpectedAlert]:
    """Many tickets in a month, and twice as many as usual."""
    things = list(seen)
    today = day_of(now)
    opened = [day_of(each.thing.opened_at) for each in things if each.thing.kind == "ticket" and each.thing.opened_at]
    month = [day for day in opened if 0 <= (today - day).days < 30]
    since = min((day_of(each.at) for each in things), default=today)
    norm = Fraction(0)
    if (today - since).days + 1 >= 90:
        last = today - timedelta(days=30)
        begin = max(today - timedelta(days=394), since)
        usual = [day for day in opened if today - timedelta(days=395) < day <= last]
        norm = Fraction(30 * len(usual), (last - begin).days + 1)
    if len(month) >= 5 and len(month) >= 2 * norm:
        yield ExpectedAlert(account, "ticket_volume", "alert" if len(month) > 10 else "warn")


def _gap(account: str, seen: Iterable[Seen], now: datetime) -> Iterator[ExpectedAlert]:
    """No order for longer than its rhythm explains."""
    placed = sorted(each.thing.placed_at for each in seen if each.thing.kind == "order" and each.thing.placed_at)
    placed = [moment for moment in placed if day_of(moment) <= day_of(now)]
    days = sorted({day_of(moment) for moment in placed})
    gaps = sorted(Fraction((later - earlier).days) for earlier, later in pairwise(days))
    if len(gaps) < 5:
        return
    allowed = (percentile(gaps, Fraction(9, 10)) or Decimal(0)) * Decimal("1.5")
    if now - placed[-1] > timedelta(days=float(allowed)):
        yield ExpectedAlert(account, "order_gap", "warn")


def _unanswered(
    account: str, seen: Sequence[Seen], now: datetime, *, key: bool
) -> Iterator[tuple[ExpectedAlert, datetime]]:
    """Questions whose time in business hours is over, with when they were asked."""
    waiting = {id_ for kind, id_ in open_items(seen, day_of(now)) if kind != "open_ticket"}
    for each in seen:
        if each.thing.id in waiting and now > after_business_days(each.at, 1 if key else 2):
            alert = ExpectedAlert(account, "unanswered_mail", "alert" if key else "warn", each.thing.id)
            yield alert, each.at


def after_business_days(start: datetime, days: int) -> datetime:
    """`start` plus so many times eight hours between nine and five, Monday to Friday."""
    left = timedelta(hours=8 * days)
    moment = start.astimezone(ZONE).replace(tzinfo=None)
    while True:
        opens, closes = (datetime.combine(moment.date(), each) for each in (_OPENS, _CLOSES))
        begins = max(moment, opens)
        if _works(moment.date()) and begins < closes:
            if closes - begins >= left:
                return (begins + left).replace(tzinfo=ZONE)
            left -= closes - begins
        moment = datetime.combine(moment.date() + timedelta(days=1), time())


def _works(day: date) -> bool:
    return day.weekday() < 5
