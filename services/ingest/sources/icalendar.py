"""iCalendar (RFC 5545, RFC 5546): what invitations, calendar files and calendar folders say about meetings.

Only what we read is kept of a component, so that what must not be kept is never stored. Its recurrence is expanded in
`icalendar_series`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from zoneinfo import available_timezones

from icalendar.parser import unescape_backslash
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from contracts.ids import digest
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.meetings import SINGLE, UNINVITED, Answer, Method, Notice, order_of
from services.ingest.domain.privacy import Looked
from services.ingest.sources.icalendar_lines import TEXTS, Line, address_of, components, moment_of, read_lines, whole_of
from services.ingest.sources.icalendar_series import FORM, moment_name

LARGEST_CALENDAR = 1024 * 1024
"""Bytes. A larger calendar part of a mail is left alone."""
_MOST_ATTENDEES = 2_000
_LONGEST_TEXT = 4_000
_LONGEST_UID = 900
"""Bytes: it is a key of the database, which takes 2,700 with all that belongs to it."""
_KEPT = frozenset(
    {
        "UID",
        "DTSTAMP",
        "DTSTART",
        "DTEND",
        "DURATION",
        "RRULE",
        "RDATE",
        "EXDATE",
        "RECURRENCE-ID",
        "SEQUENCE",
        "STATUS",
        "CLASS",
        "ORGANIZER",
        "ATTENDEE",
        "SUMMARY",
        "DESCRIPTION",
        "LOCATION",
        "CATEGORIES",
    }
)
_REMOTE = re.compile(
    r"https?://|\bteams\b|\bzoom\b|\bwebex\b|google meet|\bmeet\.|gotomeeting|skype|jitsi|whereby|bluejeans|"
    r"\b(?:video|telefon|phone|conference|conf\.?) ?(?:call|konferenz|conference)\b|^\+?[\d ()/.-]{7,}",
    re.IGNORECASE,
)
_CONFERENCE = frozenset(
    {
        "CONFERENCE",
        "X-GOOGLE-CONFERENCE",
        "X-MICROSOFT-SKYPETEAMSMEETINGURL",
        "X-MICROSOFT-ONLINEMEETINGEXTERNALLINK",
        "X-MICROSOFT-ONLINEMEETINGCONFLINK",
    }
)
_REVIEW = re.compile(
    r"\bQBRs?\b|\b(?:quarterly|business|account|executive) (?:business )?review\b|quartals(?:gespräch|review)|"
    r"jahresgespräch|revisión (?:trimestral|de negocio)|revisão (?:trimestral|de negócios)|revue (?:d'affaires|"
    r"trimestrielle)",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"^\(?(?:UTC|GMT)\s?(?P<sign>[+-])(?P<hours>\d{1,2}):?(?P<minutes>\d{2})?\)?$", re.IGNORECASE)
_METHODS = {
    "": Method.STATE,
    "REQUEST": Method.STATE,
    "PUBLISH": Method.STATE,
    "CANCEL": Method.CANCEL,
    "REPLY": Method.ANSWER,
}
"""What else there is proposes (COUNTER), asks (REFRESH) or declines a proposal: the plan stays as it was."""


def mail_notices(
    calendars: Iterable[bytes | str], *, content: bool, since: datetime, sender: str | None = None
) -> tuple[Notice, ...]:
    """Return what the calendar parts of a mail, decoded, say; () where there is none that can be read.

    `content`: whether texts may be kept. Instances of a series before `since`, the mail's own date, are none of ours.
    `sender`, normalised: an answer counts for whoever sent it only.
    """
    found: dict[tuple[str, str, Method], Notice] = {}
    for calendar in calendars:
        raw = calendar.encode("utf-8", "replace") if isinstance(calendar, str) else calendar
        if not 0 < len(raw) <= LARGEST_CALENDAR:
            continue
        try:
            notices = read_notices(raw, content=content, invited=True, since=since)
        except Unmapped:
            # The mail itself is an interaction, and says that somebody sent it.
            continue
        # Invitations carry the same calendar twice: in the alternative and as an attachment.
        own = [notice for notice in notices if _is_of(notice, sender)]
        found |= {(notice.uid, notice.instance, notice.method): notice for notice in own}
    return tuple(found.values())


def _is_of(notice: Notice, sender: str | None) -> bool:
    if notice.method is not Method.ANSWER or sender is None:
        return True
    return all(answer.state == UNINVITED or answer.address == sender for answer in notice.answers)


def read_notices(
    raw: bytes, *, content: bool = True, invited: bool = False, since: datetime | None = None
) -> list[Notice]:
    """Return what a calendar object says, an entry for each component.

    `invited`: it came to somebody, so entries that invite nobody (a flight, a webinar to note down) are left out.
    Raises `Unmapped` for what is no calendar at all; a component that cannot be read is left out.
    """
    lines = read_lines(raw)
    method = next((line.value.strip().upper() for line in lines if line.name == "METHOD"), "")
    if method not in _METHODS:
        return []
    zones = _zones(lines)
    found = []
    for event in components(lines, "VEVENT"):
        notice = _notice(event, _METHODS[method], zones, content=content, since=since)
        if notice is not None and not (invited and method != "CANCEL" and not _invites(event)):
            found.append(notice)
    return found


def looked_at(raw: bytes, folder: str | None) -> list[Looked]:
    """Return what privacy rules look at in each meeting of a calendar; raises `Unmapped` for what is none."""
    return [_looked_at(event, folder) for event in components(read_lines(raw), "VEVENT")]


def _looked_at(event: Sequence[Line], folder: str | None) -> Looked:
    values: dict[str, str] = {}
    for line in event:
        values.setdefault(line.name, line.value)
    classes = {"PRIVATE": "private", "CONFIDENTIAL": "company-confidential"}
    people = (address_of(line) for line in event if line.name in {"ORGANIZER", "ATTENDEE"})
    return Looked(
        addresses=frozenset(address for address in people if address is not None),
        subject=unescape_backslash(values.get("SUMMARY", "")),
        sensitivity=classes.get(values.get("CLASS", "").strip().upper(), ""),
        labels=unescape_backslash(values.get("CATEGORIES", "")).split(","),
        folder=folder,
    )


def _invites(event: Sequence[Line]) -> bool:
    return any(line.name == "ATTENDEE" for line in event)


def _zones(lines: Sequence[Line]) -> dict[str, tuple[str, str]]:
    """Return (the name under which we keep it, its VTIMEZONE) of each zone that the calendar defines itself."""
    found: dict[str, tuple[str, str]] = {}
    open_: list[str] | None = None
    name = ""
    for line in lines:
        word = line.value.strip().upper()
        if line.name == "BEGIN" and word == "VTIMEZONE":
            open_, name = [], ""
        elif line.name == "END" and word == "VTIMEZONE" and open_ is not None:
            # Every Outlook calls a zone of its own "Customized Time Zone": they need names that tell them apart.
            kept = f"T-{digest(chr(10).join(open_).encode())}"
            body = "\r\n".join(["BEGIN:VTIMEZONE", f"TZID:{kept}", *open_, "END:VTIMEZONE"])
            if name and any(each.startswith("DTSTART") for each in open_):
                found[name] = (kept, body)
            open_ = None
        elif open_ is not None and line.name == "TZID":
            name = line.value
        elif open_ is not None and not line.name.startswith("X-"):
            open_.append(line.written)
    return found


def known_zone(name: str) -> str | None:
    """Return the IANA name of a zone that is called `name`: by that name, by Windows' or behind a vendor's prefix."""
    plain = name.strip().strip('"')
    parts = plain.strip("/").split("/")
    candidates = ["/".join(parts[start:]) for start in range(len(parts))]
    known = next((each for each in candidates if each in _known_zones()), None)
    return known or WINDOWS_TO_OLSON.get(plain) or _fixed(plain)


def _fixed(name: str) -> str | None:
    offset = _OFFSET.match(name)
    if offset is None or int(offset["minutes"] or 0):
        return "UTC" if name.upper() in {"GMT", "UTC", "Z"} else None
    # The signs of these zones are the other way round.
    zone = f"Etc/GMT{'-' if offset['sign'] == '+' else '+'}{int(offset['hours'])}"
    return zone if zone in _known_zones() else None


def _known_zones() -> frozenset[str]:
    if not _ZONES:
        _ZONES.append(frozenset(available_timezones()))
    return _ZONES[0]


_ZONES: list[frozenset[str]] = []


def _notice(
    event: Sequence[Line],
    method: Method,
    zones: dict[str, tuple[str, str]],
    *,
    content: bool,
    since: datetime | None,
) -> Notice | None:
    named: dict[str, Line] = {}
    for line in event:
        named.setdefault(line.name, line)
    uid = named["UID"].value.strip() if "UID" in named else ""
    if len(uid.encode()) > _LONGEST_UID:
        uid = digest(uid.encode())
    if not uid:
        return None
    instance = _instance(named.get("RECURRENCE-ID"), zones)
    if instance is None:
        return None
    order = order_of(whole_of(named.get("SEQUENCE")), moment_of(named.get("DTSTAMP") or named.get("LAST-MODIFIED")))
    status = named["STATUS"].value.strip().upper() if "STATUS" in named else ""
    answers = tuple(_answers(event))
    if method is Method.CANCEL and status != "CANCELLED" and answers:
        # Those named are uninvited; the meeting takes place (RFC 5546, 3.2.5).
        uninvited = tuple(Answer(answer.address, UNINVITED) for answer in answers)
        return Notice(uid, instance, Method.ANSWER, order, answers=uninvited)
    if method is Method.ANSWER:
        return Notice(uid, instance, method, order, answers=answers) if answers else None
    if method is Method.STATE and status == "CANCELLED":
        method = Method.CANCEL
    if method is Method.STATE and "DTSTART" not in named:
        return None
    private = "CLASS" in named and named["CLASS"].value.strip().upper() in {"PRIVATE", "CONFIDENTIAL"}
    body, used = _body(event, named, zones, content=content and not private)
    recurrence = named.get("RECURRENCE-ID")
    return Notice(
        uid=uid,
        instance=instance,
        method=method,
        order=order,
        body=body,
        zones=used,
        recurs=instance == SINGLE and ("RRULE" in named or "RDATE" in named),
        onwards=recurrence is not None and recurrence.parameters.get("RANGE", "").upper() == "THISANDFUTURE",
        organiser=address_of(named.get("ORGANIZER")),
        since=since,
    )


def _answers(event: Iterable[Line]) -> Iterator[Answer]:
    for line in event:
        address = address_of(line) if line.name == "ATTENDEE" else None
        if address is not None:
            yield Answer(address, line.parameters.get("PARTSTAT", "NEEDS-ACTION").lower())


def _instance(line: Line | None, zones: dict[str, tuple[str, str]]) -> str | None:
    """Return the name of an instance: "20260302", "20260302T080000Z", without Z where it floats; None: unreadable."""
    return SINGLE if line is None else moment_name(*_rewritten(line, zones))


def _rewritten(line: Line, zones: dict[str, tuple[str, str]]) -> tuple[str, str | None]:
    """Return a property whose time zone everybody knows, or needs the VTIMEZONE beside it; else its times float."""
    name = line.parameters.get("TZID")
    if name is None:
        return line.written, None
    known = known_zone(name)
    given = zones.get(name)
    replacement = f"TZID={known}" if known else f"TZID={given[0]}" if given else ""
    others = [f"{key}={value}" for key, value in line.parameters.items() if key in {"VALUE", "RANGE"}]
    head = ";".join([line.name, *others, *([replacement] if replacement else [])])
    return f"{head}:{line.value}", given[1] if given and not known else None


def _body(
    event: Sequence[Line], named: dict[str, Line], zones: dict[str, tuple[str, str]], *, content: bool
) -> tuple[str, tuple[str, ...]]:
    """Return a component with what we read of it, and the zones that it needs."""
    kept = ["BEGIN:VEVENT"]
    used: dict[str, None] = {}
    attendees = 0
    for line in event:
        if line.name not in _KEPT or (line.name in TEXTS and not content):
            continue
        attendees += line.name == "ATTENDEE"
        if attendees > _MOST_ATTENDEES and line.name == "ATTENDEE":
            continue
        written, zone = _rewritten(line, zones)
        if zone is not None:
            used.setdefault(zone)
        kept.append(written[:_LONGEST_TEXT] if line.name in TEXTS else written)
    kept += [f"{FORM}:{_form(event, named)}", "END:VEVENT"]
    return "\r\n".join(kept), tuple(used)


def _form(event: Sequence[Line], named: dict[str, Line]) -> str:
    """Return how they meet. Where neither a place nor a conference is named, nobody travels."""
    if "SUMMARY" in named and _REVIEW.search(named["SUMMARY"].value):
        return "business_review"
    if any(line.name in _CONFERENCE for line in event):
        return "remote"
    place = named["LOCATION"].value.strip() if "LOCATION" in named else ""
    return "on_site" if place and not _REMOTE.search(place) else "remote"
