"""How alerts speak: dates, durations, people."""

from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from contracts.alerts import EvidenceItem
from contracts.values import Kind
from services.notifier.domain.view import AccountView, Brief

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NOUNS: dict[Kind, str] = {
    Kind.MAIL: "mail",
    Kind.CALL: "call",
    Kind.MEETING: "meeting",
    Kind.CHAT: "chat message",
    Kind.TICKET: "ticket",
    Kind.COMMENT: "comment on a ticket",
    Kind.ORDER: "order",
    Kind.CONTACT: "notice about a contact",
}


def on_day(moment: datetime, zone: ZoneInfo) -> str:
    """Return "12 Feb 2026"."""
    return the_day(moment.astimezone(zone).date())


def the_day(day: date) -> str:
    """Return "12 Feb 2026"."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def at_time(moment: datetime, zone: ZoneInfo) -> str:
    """Return "12 Feb 2026, 09:30 CET"."""
    local = moment.astimezone(zone)
    return f"{on_day(moment, zone)}, {local:%H:%M} {local.tzname()}"


def days(length: timedelta) -> int:
    """Return the whole days of a duration."""
    return length // timedelta(days=1)


def counted(number: int, noun: str) -> str:
    """Return "1 day", "3 days"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def figure(value: Decimal) -> str:
    """Return a number without trailing zeros, never in exponent form."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def describe(brief: Brief, view: AccountView) -> str:
    """Return "mail from Maria Keller", "call to them", "ticket", for a person."""
    noun = _NOUNS.get(brief.kind, brief.kind.value)
    name = view.contact_name(brief.contact_id)
    if brief.kind is Kind.MEETING:
        return f"{noun} with {name}" if name else noun
    if brief.direction == "in":
        return f"{noun} from {name or 'the customer'}"
    if brief.direction == "out":
        return f"{noun} to {name or 'the customer'}"
    return f"{noun} of {name}" if name else noun


def item(brief: Brief, view: AccountView) -> EvidenceItem:
    """Return the evidence that one interaction is."""
    return EvidenceItem(
        interaction_id=brief.interaction_id,
        kind=brief.kind,
        occurred_at=brief.occurred_at,
        summary=describe(brief, view)[:1000],
    )
