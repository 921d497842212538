"""The meetings of a series: recurrences with exceptions, in the zones that their calendars meant.

Rules come from outside: one that would keep the expansion busy (every second, the 31st of February) is refused.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import recurring_ical_events
from icalendar import Calendar
from icalendar.error import BrokenCalendarProperty
from icalendar.timezone import tzp

from contracts.ids import digest
from contracts.values import EARLIEST, LATEST
from services.ingest.domain.identities import normalise_address, one_line
from services.ingest.domain.mapping import Unmapped, storable_text
from services.ingest.domain.meetings import SINGLE, Guest, Occurrence, Series, Word

FORM = "X-TENURE-FORM"
"""How they meet; written into what is kept, because what it is read from may not be."""
_MOST_INSTANCES = 2_000
_MOST_DAILY = 4
_MOST_ZONES = 500
_LONGEST_MINUTES = 14 * 24 * 60
Event = Any
"""A component of the library, whose types say of a property only that it is any of thirty."""
_FAULTS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError, BrokenCalendarProperty)
_WEEKDAY = re.compile(r"^[+-]?\d{0,2}(MO|TU|WE|TH|FR|SA|SU)$")
_LONGEST_CYCLE = 4 * 366 + 1
"""Days in which every day of a year comes at least once, the 29th of February included."""


def moment_name(written: str, zone: str | None) -> str | None:
    """Return a RECURRENCE-ID in its one form, UTC where it has a zone; None when it cannot be read."""
    try:
        event = _events([f"BEGIN:VEVENT\r\n{written}\r\nEND:VEVENT"], [zone] if zone else [])[0]
        return _name(event["RECURRENCE-ID"].dt)
    except _FAULTS:
        return None


def _name(moment: date) -> str:
    if not isinstance(moment, datetime):
        return f"{moment:%Y%m%d}"
    if moment.tzinfo is None:
        return f"{moment:%Y%m%dT%H%M%S}"
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _events(bodies: Iterable[str], zones: Iterable[str]) -> list[Event]:
    return list(_calendar(bodies, zones).walk("VEVENT"))


def _calendar(bodies: Iterable[str], zones: Iterable[str]) -> Calendar:
    named = dict.fromkeys(zones)
    _ZONES_SEEN.update(named)
    if len(_ZONES_SEEN) > _MOST_ZONES:
        # The library remembers every zone that it has ever read.
        tzp.use_default()
        _ZONES_SEEN.clear()
    text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Tenure//EN", *named, *bodies, "END:VCALENDAR", ""])
    with warnings.catch_warnings():
        # Guesses about zones: ours are named already.
        warnings.simplefilter("ignore")
        return Calendar.from_ical(text)


_ZONES_SEEN: dict[str, None] = {}


def occurrences(series: Series, since: datetime, until: datetime, zone: tzinfo) -> list[Occurrence]:
    """Return the meetings of a series that stand and start from `since` to before `until`, in order.

    `zone` is the company's: for times without one, and for whole days. A single meeting is returned whenever it starts.
    Raises `Unmapped` for what cannot be read or expanded.
    """
    whole = series.words.get(SINGLE)
    words = {name: word for name, word in series.words.items() if name != SINGLE}
    try:
        if whole is not None and not whole.recurs and not whole.cancelled:
            words[SINGLE] = whole
        elif whole is not None and whole.recurs and not whole.cancelled:
            return _expanded(series, whole, (since, until), zone)
        standing = [
            (name, word)
            for name, word in words.items()
            if not word.cancelled and (whole is None or not whole.cancelled or word.order > whole.order)
        ]
        found = [_occurrence(_single(word), name, series, zone) for name, word in standing]
    except _FAULTS as wrong:
        raise Unmapped("bad_event") from wrong
    return sorted(found, key=lambda each: (each.starts_at, each.instance))


def _single(word: Word) -> Event:
    return _events([word.body], word.zones)[0]


def _expanded(series: Series, whole: Word, span: tuple[datetime, datetime], zone: tzinfo) -> list[Occurrence]:
    since, until = span
    words = {name: word for name, word in series.words.items() if name != SINGLE}
    bodies = [whole.body, *(word.body for word in words.values() if not word.cancelled)]
    zones = [each for word in (whole, *words.values()) for each in word.zones]
    calendar = _calendar(bodies, zones)
    most_a_day = max([_check(event) for event in calendar.walk("VEVENT")])
    # Of a series that has gone on for long only the newest: the past is cut off, not what lies ahead.
    since = max(since, until - timedelta(days=_MOST_INSTANCES / most_a_day))
    # A day more on both sides: floating times and whole days are placed by the library, and cut by us.
    day = timedelta(days=1)
    query = recurring_ical_events.of(calendar)
    invited = tuple(_guests(_single(whole), whole.order, series.answers.get(SINGLE, {})))
    found = []
    for event in query.between((since - day).replace(tzinfo=UTC), (until + day).replace(tzinfo=UTC)):
        name = _name(event["RECURRENCE-ID"].dt if "RECURRENCE-ID" in event else event["DTSTART"].dt)
        if not _is_called_off(name, words):
            occurrence = _occurrence(event, name, series, zone)
            if not occurrence.guests:
                # An exception that names nobody is for all who were invited to the series.
                occurrence = replace(occurrence, guests=invited)
            if since <= occurrence.starts_at < until:
                found.append(occurrence)
    return sorted(found, key=lambda each: (each.starts_at, each.instance))


def _is_called_off(name: str, words: Mapping[str, Word]) -> bool:
    own = words.get(name)
    if own is not None and (own.cancelled or not own.onwards):
        return own.cancelled
    return any(word.cancelled and word.onwards and each <= name for each, word in words.items())


def _occurrence(event: Event, name: str, series: Series, zone: tzinfo) -> Occurrence:
    word = series.words.get(name) or series.words[SINGLE]
    whole = series.words.get(SINGLE, word)
    starts_at = _moment(event["DTSTART"].dt, zone)
    own_answers = series.answers.get(name, {}) if name != SINGLE else {}
    answers = {**series.answers.get(SINGLE, {}), **own_answers}
    own = [word.order] if name in series.words else []
    own += [order for order, _ in own_answers.values()]
    return Occurrence(
        instance=name,
        starts_at=starts_at,
        minutes=_minutes(event, starts_at, zone),
        order=max([whole.order, word.order, *(order for order, _ in answers.values())]),
        own_order=max(own, default=0),
        source=word.source,
        body_digest=digest(word.body.encode()),
        guests=tuple(_guests(event, word.order, answers)),
        title=one_line(_text(event, "SUMMARY"), 1000),
        text=storable_text(_text(event, "DESCRIPTION")),
        form=str(event.get(FORM, "remote")),
        authority=word.authority,
    )


def _text(event: Event, name: str) -> str | None:
    value = event.get(name)
    return str(value) if value is not None and not isinstance(value, list) else None


def _moment(value: date, zone: tzinfo) -> datetime:
    """Return when something starts: whole days at midnight of the company's zone, floating times in it."""
    moment = value if isinstance(value, datetime) else datetime.combine(value, time())
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    start = aware.astimezone(UTC)
    if not EARLIEST <= start < LATEST:
        raise ValueError("a start outside of the years that we know")
    return start


def _minutes(event: Event, start: datetime, zone: tzinfo) -> int | None:
    if not isinstance(event["DTSTART"].dt, datetime):
        return None
    if "DTEND" in event:
        length = _moment(event["DTEND"].dt, zone) - start
    elif "DURATION" in event and isinstance(event["DURATION"].dt, timedelta):
        length = event["DURATION"].dt
    else:
        return None
    minutes = int(length.total_seconds() // 60)
    return minutes if 0 <= minutes <= _LONGEST_MINUTES else None


def _guests(event: Event, order: int, answers: Mapping[str, tuple[int, str]]) -> Iterator[Guest]:
    """Yield people; rooms, projectors and groups do not meet anybody."""
    seen = set()
    for role in ("ORGANIZER", "ATTENDEE"):
        written = event.get(role, [])
        for value in written if isinstance(written, list) else [written]:
            parameters: Mapping[str, Any] = getattr(value, "params", {})
            address = _address(str(value), parameters)
            kind = str(parameters.get("CUTYPE", "INDIVIDUAL")).upper()
            if address is None or address in seen or kind in {"ROOM", "RESOURCE"}:
                continue
            if str(parameters.get("ROLE", "")).upper() == "NON-PARTICIPANT":
                continue
            answered, state = answers.get(address, (0, ""))
            written_state = str(parameters.get("PARTSTAT", "NEEDS-ACTION")).lower()
            seen.add(address)
            yield Guest(
                address=address,
                name=one_line(str(parameters["CN"])) if "CN" in parameters else None,
                state=state if answered > order else written_state,
                organises=role == "ORGANIZER",
            )


def _address(value: str, parameters: Mapping[str, Any]) -> str | None:
    written = value[7:] if value[:7].lower() == "mailto:" else str(parameters.get("EMAIL", value))
    return normalise_address(written)


def _check(event: Event) -> int:
    """Return how many meetings a day it has at most; raise `Unmapped` for a rule that no meeting follows."""
    rules = event.get("RRULE", [])
    most = 1
    for rule in rules if isinstance(rules, list) else [rules]:
        values = {str(name).upper(): value if isinstance(value, list) else [value] for name, value in rule.items()}
        frequency = str(next(iter(values.get("FREQ", [""])), "")).upper()
        often = 1
        for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
            often *= max(1, len(values.get(part, [])))
        if frequency not in {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"} or often > _MOST_DAILY:
            raise Unmapped("too_frequent")
        if any(int(each) < 1 for each in values.get("INTERVAL", [])) or not _ever(frequency, values):
            raise Unmapped("impossible_rule")
        most = max(most, often)
    return most


def _ever(frequency: str, values: Mapping[str, Sequence[Any]]) -> bool:
    """Say whether any day of four years fits the parts of a rule that name days. Positions are left to the library."""
    months = {int(each) for each in values.get("BYMONTH", [])}
    days = {int(each) for each in values.get("BYMONTHDAY", [])}
    weekdays = {match[1] for each in values.get("BYDAY", []) if (match := _WEEKDAY.match(str(each).upper()))}
    if "BYSETPOS" in values and frequency == "DAILY":
        return False
    if {"BYYEARDAY", "BYWEEKNO"} & values.keys() and frequency != "YEARLY":
        return False
    if not months and not days:
        return True
    first = date(2024, 1, 1)
    for number in range(_LONGEST_CYCLE if not (weekdays and days) else 7 * _LONGEST_CYCLE):
        day = first + timedelta(days=number)
        last = (day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        if months and day.month not in months:
            continue
        if days and day.day not in days and day.day - last.day - 1 not in days:
            continue
        if weekdays and ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[day.weekday()] not in weekdays:
            continue
        return True
    return False
