"""Unanswered mail: an inbound mail or missed call that nobody of ours has answered in business time."""

from datetime import datetime, timedelta
from decimal import Decimal

from contracts.alerts import EvidenceFigure
from contracts.kpis import OpenItem
from services.notifier.domain.calendar import after_business_days
from services.notifier.domain.findings import Finding, Verdict
from services.notifier.domain.thresholds import UnansweredMail
from services.notifier.domain.view import AccountView, Brief, earliest
from services.notifier.domain.wording import at_time, counted, item

ADVICE = "Answer or call back; any mail or connected call of ours to them ends this alert."

_KINDS = frozenset({"unanswered_mail", "missed_call"})


def evaluate(view: AccountView, thresholds: UnansweredMail, now: datetime) -> Verdict:
    """Judge every mail and missed call that waits for us: one finding for each that is overdue."""
    if view.kpis is None:
        return Verdict(waits_for="no KPIs have come for the account")
    waiting = [
        (deadline(entry, view, thresholds, now), entry) for entry in view.kpis.open_items if entry.kind in _KINDS
    ]
    overdue = tuple(_finding(view, entry, due, thresholds, now) for due, entry in waiting if now > due)
    coming = [due for due, _ in waiting if now <= due]
    return Verdict(overdue, earliest(*coming, view.next_change(now) if waiting else None))


def deadline(entry: OpenItem, view: AccountView, thresholds: UnansweredMail, now: datetime) -> datetime:
    """Return until when it should be answered, in the working hours of today's owner."""
    allowed = thresholds.key_business_days if view.is_key(now) else thresholds.other_business_days
    return after_business_days(entry.since, allowed, view.owner_hours(now), view.zone)


def _finding(view: AccountView, entry: OpenItem, due: datetime, thresholds: UnansweredMail, now: datetime) -> Finding:
    key = view.is_key(now)
    allowed = thresholds.key_business_days if key else thresholds.other_business_days
    sender = view.contact_name(entry.contact_id) or "somebody"
    missed = entry.kind == "missed_call"
    what = "Missed call" if missed else "Unanswered mail"
    brief = Brief(entry.interaction_id, entry.source_kind, entry.since, "in", entry.contact_id)
    return Finding(
        subject=entry.interaction_id,
        severity=thresholds.key_severity if key else thresholds.other_severity,
        deadline=due,
        title=f"{what} from {sender} of {view.account.name}",
        explanation=(
            f"{sender} of {view.account.name} {'called' if missed else 'wrote'} on {at_time(entry.since, view.zone)} "
            f"and nobody has {'called back' if missed else 'answered'}. {'A key account' if key else 'An account'} is "
            f"answered within {counted(allowed, 'business day')}: that was {at_time(due, view.zone)}."
        ),
        items=(item(brief, view),),
        figures=(EvidenceFigure(name="business days allowed", threshold=Decimal(allowed), unit="business days"),),
        opens_until=entry.since + timedelta(days=thresholds.greatest_age_days),
    )
