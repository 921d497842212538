"""Stale touch: nobody has really been in touch with the account for longer than its cadence allows."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from contracts.alerts import EvidenceFigure, Severity
from contracts.kpis import LastTouch
from contracts.values import Kind
from services.notifier.domain.findings import Finding, Verdict
from services.notifier.domain.thresholds import Cadence, StaleTouch
from services.notifier.domain.view import AccountView, Brief, earliest
from services.notifier.domain.wording import counted, days, describe, item, on_day

ADVICE = "Call or write to them today, or plan a meeting. A message of theirs, a connected call or a meeting ends this."

_REAL = frozenset({"inbound", "two_way", "connected_call", "meeting"})
"""An outbound mail that nobody answered is no touch; one that was answered is `two_way`."""
_NOISE_ON_KEY_ACCOUNTS = frozenset({"support", "billing"})
_KINDS = {"meeting": Kind.MEETING, "connected_call": Kind.CALL}
_DIRECTIONS = {"inbound": "in", "connected_call": "out"}


def evaluate(view: AccountView, thresholds: StaleTouch, now: datetime) -> Verdict:
    """Judge the time since the last real touch, else since the account came."""
    if view.kpis is None:
        return Verdict(waits_for="no KPIs have come for the account")
    if view.stage(now) in thresholds.quiet_stages:
        return Verdict(due=view.next_change(now))
    label, cadence = cadence_of(view, thresholds, now)
    last = last_real_touch(view.kpis.last_touches, key=view.is_key(now))
    start = last.at if last else view.account.created_at
    warn_at = start + timedelta(days=cadence.warn_days)
    alert_at = start + timedelta(days=cadence.alert_days)
    if now <= warn_at:
        return Verdict(due=earliest(warn_at, view.next_change(now)))
    finding = _finding(view, last, label, cadence, now)
    return Verdict((finding,), earliest(alert_at if now <= alert_at else None, view.next_change(now)))


def cadence_of(view: AccountView, thresholds: StaleTouch, now: datetime) -> tuple[str, Cadence]:
    """Return the cadence that holds on the day of `now`, and whose it is."""
    if view.stage(now) == "onboarding":
        return "accounts in onboarding", thresholds.onboarding
    if view.is_key(now):
        return "key accounts", thresholds.key
    if view.account.account_class in {"A", "B"}:
        return f"class {view.account.account_class} accounts", thresholds.class_b
    return "class C accounts", thresholds.class_c


def last_real_touch(touches: Iterable[LastTouch], *, key: bool) -> LastTouch | None:
    """Return the latest touch that resets the clock; on a key account ticket and billing traffic does not."""
    real = [
        touch for touch in touches if touch.sort in _REAL and not (key and touch.touch_class in _NOISE_ON_KEY_ACCOUNTS)
    ]
    return max(real, key=lambda touch: (touch.at, touch.interaction_id), default=None)


def _finding(view: AccountView, last: LastTouch | None, label: str, cadence: Cadence, now: datetime) -> Finding:
    start = last.at if last else view.account.created_at
    alert_at = start + timedelta(days=cadence.alert_days)
    severity: Severity = "alert" if now > alert_at else "warn"
    limit = cadence.alert_days if severity == "alert" else cadence.warn_days
    silent = days(now - start)
    brief = _brief(view, last) if last else None
    since = (
        f"The last real touch was on {on_day(start, view.zone)}: {describe(brief, view)}."
        if brief
        else f"No real touch is known since the account came on {on_day(start, view.zone)}."
    )
    return Finding(
        subject="account",
        severity=severity,
        deadline=start + timedelta(days=limit),
        title=f"No touch with {view.account.name} for {counted(silent, 'day')}",
        explanation=(
            f"{since} That is {counted(silent, 'day')}; for {label} we warn after {cadence.warn_days} days and alert "
            f"after {cadence.alert_days}. Only a message of theirs, a connected call or a meeting counts"
            + ("; support and billing traffic does not on a key account." if view.is_key(now) else ".")
        ),
        items=(item(brief, view),) if brief else (),
        missing=int(last is not None and last.interaction_id not in view.briefs),
        cause=last.interaction_id if last else "",
        figures=(
            EvidenceFigure(
                name="days without a real touch",
                value=Decimal(silent),
                threshold=Decimal(limit),
                unit="days",
                as_of_day=view.day(now),
            ),
        ),
    )


def _brief(view: AccountView, touch: LastTouch) -> Brief:
    known = view.briefs.get(touch.interaction_id)
    if known is not None:
        return known
    direction = _DIRECTIONS.get(touch.sort)
    return Brief(
        touch.interaction_id,
        _KINDS.get(touch.sort, Kind.MAIL),
        touch.at,
        "in" if direction == "in" else "out" if direction == "out" else None,
    )
