"""Order gap: the account has not ordered for much longer than its own rhythm explains."""

from datetime import datetime, timedelta
from decimal import Decimal

from contracts.alerts import EvidenceFigure
from contracts.kpis import OrderRhythm
from contracts.values import Kind
from services.notifier.domain.findings import Finding, Verdict
from services.notifier.domain.thresholds import OrderGap
from services.notifier.domain.view import AccountView, Brief, earliest
from services.notifier.domain.wording import counted, days, figure, item, on_day

ADVICE = (
    "Ask what has changed: a project that moved, a competitor, a stock that is still full. A new order ends this alert."
)


def evaluate(view: AccountView, thresholds: OrderGap, now: datetime) -> Verdict:
    """Judge the time since the last order against the account's own 90th-percentile gap."""
    if view.kpis is None:
        return Verdict(waits_for="no KPIs have come for the account")
    due = deadline(view.kpis.order_rhythm, thresholds)
    if due is None or view.stage(now) in thresholds.quiet_stages:
        return Verdict(due=view.next_change(now))
    if now <= due:
        return Verdict(due=earliest(due, view.next_change(now)))
    return Verdict((_finding(view, view.kpis.order_rhythm, due, thresholds, now),), view.next_change(now))


def deadline(rhythm: OrderRhythm, thresholds: OrderGap) -> datetime | None:
    """Return the moment until which an order is expected; None where the account has no rhythm."""
    if rhythm.last_order_at is None or rhythm.p90_gap_days is None or rhythm.gaps < thresholds.least_gaps:
        return None
    return rhythm.last_order_at + timedelta(days=float(rhythm.p90_gap_days * thresholds.times_p90))


def _finding(view: AccountView, rhythm: OrderRhythm, due: datetime, thresholds: OrderGap, now: datetime) -> Finding:
    assert rhythm.last_order_at is not None  # noqa: S101 - `deadline` was given
    assert rhythm.p90_gap_days is not None  # noqa: S101 - the same
    gap = days(now - rhythm.last_order_at)
    limit = rhythm.p90_gap_days * thresholds.times_p90
    last = rhythm.last_order_id
    brief = None if last is None else view.briefs.get(last) or Brief(last, Kind.ORDER, rhythm.last_order_at)
    return Finding(
        subject="account",
        severity="warn",
        deadline=due,
        title=f"{view.account.name} has not ordered for {counted(gap, 'day')}",
        explanation=(
            f"The last order was on {on_day(rhythm.last_order_at, view.zone)}, {counted(gap, 'day')} ago. Nine of ten "
            f"gaps between this account's orders were at most {figure(rhythm.p90_gap_days)} days ({rhythm.gaps} gaps "
            f"known); we speak up after {figure(thresholds.times_p90)} times that, {figure(limit)} days."
        ),
        items=() if brief is None else (item(brief, view),),
        missing=int(brief is not None and brief.interaction_id not in view.briefs),
        cause=last or "",
        figures=(
            EvidenceFigure(
                name="days since the last order",
                value=Decimal(gap),
                threshold=limit,
                unit="days",
                as_of_day=view.day(now),
            ),
            EvidenceFigure(name="90th percentile of its own gaps", value=rhythm.p90_gap_days, unit="days"),
        ),
    )
