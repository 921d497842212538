"""Ticket volume: more tickets in 30 days than an account should have, and far more than this one usually has."""

from datetime import datetime
from decimal import Decimal

from contracts.alerts import EvidenceFigure, Severity
from contracts.kpis import AccountKpis, KpiValue
from services.notifier.domain.findings import Finding, Verdict
from services.notifier.domain.thresholds import TicketVolume
from services.notifier.domain.view import AccountView
from services.notifier.domain.wording import figure, item, the_day

ADVICE = (
    "Look for the common cause of the tickets, tell the customer what is being done, and agree on a next step with "
    "support."
)
WINDOW = 30


def evaluate(view: AccountView, thresholds: TicketVolume, now: datetime) -> Verdict:
    """Judge the tickets opened in the last 30 days against fixed counts and the account's own norm."""
    if view.kpis is None:
        return Verdict(waits_for="no KPIs have come for the account")
    opened = _opened(view.kpis)
    count = int(opened.value) if opened and opened.value is not None else 0
    if opened is None or count < thresholds.warn_from or not _exceeds_norm(count, view.kpis, thresholds):
        return Verdict()
    return Verdict((_finding(view, view.kpis, opened, thresholds, now),))


def _opened(kpis: AccountKpis) -> KpiValue | None:
    return next((value for value in kpis.values if value.kpi == "tickets_opened" and value.window == WINDOW), None)


def _exceeds_norm(count: int, kpis: AccountKpis, thresholds: TicketVolume) -> bool:
    # Without 90 days of history there is no norm, and the fixed counts speak alone.
    return kpis.tickets_norm_30d is None or count >= thresholds.times_norm * kpis.tickets_norm_30d


def _finding(
    view: AccountView, kpis: AccountKpis, opened: KpiValue, thresholds: TicketVolume, now: datetime
) -> Finding:
    count = int(opened.value or 0)
    severity: Severity = "alert" if count > thresholds.alert_above else "warn"
    norm = kpis.tickets_norm_30d
    usual = (
        "The account's own norm is not known yet: it has less than 90 days of history."
        if norm is None
        else f"Its own norm is {figure(norm)} in 30 days; we speak up at {figure(thresholds.times_norm)} times that."
    )
    limit = thresholds.alert_above if severity == "alert" else thresholds.warn_from
    figures = [
        EvidenceFigure(
            name="tickets opened in 30 days",
            value=Decimal(count),
            threshold=Decimal(limit),
            unit="tickets",
            as_of_day=kpis.as_of_day,
        )
    ]
    if norm is not None:
        figures.append(
            EvidenceFigure(
                name="own norm of tickets in 30 days",
                value=norm,
                threshold=norm * thresholds.times_norm,
                unit="tickets",
            )
        )
    ids = opened.evidence.interaction_ids if opened.evidence else ()
    return Finding(
        subject="account",
        severity=severity,
        # What was too much already when the history was declared complete is part of the backlog.
        deadline=min(now, kpis.computed_at),
        title=f"{count} tickets from {view.account.name} in 30 days",
        explanation=(
            f"{view.account.name} opened {count} tickets in the 30 days up to {the_day(kpis.as_of_day)}; we warn from "
            f"{thresholds.warn_from} and alert above {thresholds.alert_above}. {usual}"
        ),
        items=tuple(item(view.briefs[ticket], view) for ticket in ids if ticket in view.briefs),
        missing=sum(ticket not in view.briefs for ticket in ids),
        figures=tuple(figures),
    )
