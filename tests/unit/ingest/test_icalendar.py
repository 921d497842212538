"""What calendars say: which meetings there are, when, and with whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.meetings import Method, Occurrence, Series, learn
from services.ingest.sources.icalendar import known_zone, mail_notices, read_notices
from services.ingest.sources.icalendar_series import occurrences

BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2026, 12, 31, tzinfo=UTC)
PEOPLE = (
    "ORGANIZER;CN=Anna:mailto:anna@brightwell.example\r\n"
    'ATTENDEE;CN="Bob, Acme";PARTSTAT=ACCEPTED:MAILTO:Bob@Acme.example\r\n'
)
# As Outlook writes a zone that it does not know by name.
OUTLOOK_ZONE = (
    "BEGIN:VTIMEZONE\r\nTZID:Customized Time Zone\r\nBEGIN:STANDARD\r\nDTSTART:16010101T000000\r\n"
    "TZOFFSETFROM:{offset}\r\nTZOFFSETTO:{offset}\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def calendar(*events: str, method: str = "REQUEST", zones: str = "") -> bytes:
    head = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{f'METHOD:{method}' if method else 'X-NONE:1'}\r\n"
    return (head + zones + "".join(events) + "END:VCALENDAR\r\n").encode()


def event(times: str, *, uid: str = "m1", stamp: str = "20260101T080000Z", more: str = PEOPLE) -> str:
    return f"BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:{stamp}\r\n{times}\r\n{more}END:VEVENT\r\n"


def planned(*calendars: bytes) -> list[Occurrence]:
    series = Series("m1")
    for each in calendars:
        for notice in read_notices(each):
            series = learn(series, notice, "anna") or series
    return occurrences(series, SINCE, UNTIL, BERLIN)


def starts(*calendars: bytes) -> list[str]:
    return [f"{each.starts_at:%m-%d %H:%M}" for each in planned(*calendars)]


@pytest.mark.parametrize(
    ("times", "start", "minutes"),
    [
        ("DTSTART:20260302T080000Z\r\nDTEND:20260302T090000Z", "03-02 08:00", 60),
        ("DTSTART;TZID=Europe/Berlin:20260302T090000\r\nDURATION:PT45M", "03-02 08:00", 45),
        ("DTSTART;TZID=W. Europe Standard Time:20260702T090000\r\nDURATION:PT45M", "07-02 07:00", 45),
        ('DTSTART;TZID="(UTC+01:00) Amsterdam, Berlin":20260302T090000', "03-02 08:00", None),
        ("DTSTART;TZID=/mozilla.org/20050126_1/America/New_York:20260302T090000", "03-02 14:00", None),
        ("DTSTART;TZID=GMT+0200:20260302T090000", "03-02 07:00", None),
        ("DTSTART;TZID=Nowhere/Land:20260302T090000", "03-02 08:00", None),
        ("DTSTART:20260302T090000", "03-02 08:00", None),
        ("DTSTART;VALUE=DATE:20260302\r\nDTEND;VALUE=DATE:20260304", "03-01 23:00", None),
    ],
)
def test_a_start_is_understood_in_its_zone_and_without_one_in_the_companys(
    times: str, start: str, minutes: int | None
) -> None:
    (meeting,) = planned(calendar(event(times)))
    assert (f"{meeting.starts_at:%m-%d %H:%M}", meeting.minutes) == (start, minutes)


def test_zones_of_the_same_name_in_two_calendars_are_two_zones() -> None:
    times = "DTSTART;TZID=Customized Time Zone:20260302T090000"
    for offset, start in (("+0100", "03-02 08:00"), ("+0530", "03-02 03:30"), ("+0100", "03-02 08:00")):
        assert starts(calendar(event(times), zones=OUTLOOK_ZONE.format(offset=offset))) == [start]


def test_people_are_those_who_organise_and_are_invited_not_rooms() -> None:
    room = "ATTENDEE;CUTYPE=ROOM;CN=Room 1:mailto:room1@brightwell.example\r\n"
    (meeting,) = planned(calendar(event("DTSTART:20260302T080000Z", more=PEOPLE + room)))
    assert [(guest.address, guest.name, guest.state, guest.organises) for guest in meeting.guests] == [
        ("anna@brightwell.example", "Anna", "needs-action", True),
        ("bob@acme.example", "Bob, Acme", "accepted", False),
    ]


WEEKLY = event("DTSTART;TZID=Europe/Berlin:20260316T090000\r\nRRULE:FREQ=WEEKLY;COUNT=4")


def test_a_series_keeps_its_local_hour_when_clocks_change() -> None:
    assert starts(calendar(WEEKLY)) == ["03-16 08:00", "03-23 08:00", "03-30 07:00", "04-06 07:00"]


def test_exceptions_move_add_and_remove_single_meetings_whatever_comes_first() -> None:
    moved = event(
        "RECURRENCE-ID;TZID=Europe/Berlin:20260323T090000\r\nDTSTART;TZID=Europe/Berlin:20260324T150000",
        stamp="20260310T080000Z",
    )
    gone = event("RECURRENCE-ID:20260330T070000Z\r\nSTATUS:CANCELLED", stamp="20260311T080000Z")
    expected = ["03-16 08:00", "03-24 14:00", "04-06 07:00"]
    assert starts(calendar(WEEKLY), calendar(moved), calendar(gone, method="CANCEL")) == expected
    assert starts(calendar(gone, method="CANCEL"), calendar(moved), calendar(WEEKLY)) == expected
    instances = [each.instance for each in planned(calendar(WEEKLY, moved))]
    assert instances == ["20260316T080000Z", "20260323T080000Z", "20260330T070000Z", "20260406T070000Z"]


def test_a_cancellation_of_this_and_what_follows_ends_the_series() -> None:
    ended = event(
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20260330T090000\r\nSTATUS:CANCELLED",
        stamp="20260311T080000Z",
    )
    assert starts(calendar(WEEKLY), calendar(ended, method="CANCEL")) == ["03-16 08:00", "03-23 08:00"]


def test_an_older_word_never_overrules_a_newer_one() -> None:
    old = event("SEQUENCE:1\r\nDTSTART:20260302T080000Z", stamp="20260201T080000Z")
    new = event("SEQUENCE:2\r\nDTSTART:20260303T080000Z", stamp="20260120T080000Z")
    assert starts(calendar(old), calendar(new)) == starts(calendar(new), calendar(old)) == ["03-03 08:00"]


def test_nobody_but_its_organiser_changes_a_meeting() -> None:
    first = event("DTSTART:20260302T080000Z")
    forged = event(
        "SEQUENCE:9\r\nSTATUS:CANCELLED", more="ORGANIZER:mailto:eve@evil.example\r\n", stamp="20260202T080000Z"
    )
    assert starts(calendar(first), calendar(forged, method="CANCEL")) == ["03-02 08:00"]


def test_who_is_uninvited_does_not_call_the_meeting_off() -> None:
    first = calendar(event("DTSTART:20260302T080000Z"))
    without_bob = event("SEQUENCE:1", stamp="20260202T080000Z")
    (meeting,) = planned(first, calendar(without_bob, method="CANCEL"))
    assert [guest.state for guest in meeting.guests] == ["needs-action", "uninvited"]


def test_an_answer_counts_for_who_gave_it() -> None:
    answer = event(
        "SEQUENCE:0", stamp="20260105T080000Z", more="ATTENDEE;PARTSTAT=DECLINED:mailto:bob@acme.example\r\n"
    )
    (meeting,) = planned(calendar(answer, method="REPLY"), calendar(event("DTSTART:20260302T080000Z")))
    assert [guest.state for guest in meeting.guests] == ["needs-action", "declined"]


def test_nobody_answers_for_somebody_else() -> None:
    answer = calendar(
        event("SEQUENCE:0", more="ATTENDEE;PARTSTAT=DECLINED:mailto:bob@acme.example\r\n"), method="REPLY"
    )
    assert mail_notices([answer], content=True, since=SINCE, sender="eve@evil.example") == ()
    assert len(mail_notices([answer], content=True, since=SINCE, sender="bob@acme.example")) == 1


@pytest.mark.parametrize("method", ["COUNTER", "REFRESH", "DECLINECOUNTER", "ADD"])
def test_what_only_proposes_or_asks_says_nothing(method: str) -> None:
    assert read_notices(calendar(event("DTSTART:20260302T080000Z"), method=method)) == []


def test_a_mail_that_invites_nobody_plans_no_meeting() -> None:
    flight = calendar(event("DTSTART:20260302T080000Z", more="SUMMARY:Flight LH 123\r\n"), method="PUBLISH")
    assert mail_notices([flight], content=True, since=SINCE) == ()
    twice = calendar(event("DTSTART:20260302T080000Z"))
    assert len(mail_notices([twice, twice.decode()], content=True, since=SINCE)) == 1


@pytest.mark.parametrize("private", ["CLASS:PRIVATE\r\n", ""])
def test_what_must_not_be_kept_is_never_stored(private: str) -> None:
    texts = "SUMMARY:Secret plan\r\nDESCRIPTION:Secret text\r\nLOCATION:Secret place 1\r\nCATEGORIES:Secret\r\n"
    raw = calendar(event("DTSTART:20260302T080000Z", more=PEOPLE + private + texts))
    (notice,) = read_notices(raw, content=bool(private))
    assert "Secret" not in notice.body
    assert "X-TENURE-FORM:on_site" in notice.body


@pytest.mark.parametrize(
    ("more", "form"),
    [
        ("SUMMARY:QBR Q1\r\nLOCATION:Berlin\r\n", "business_review"),
        ("LOCATION:Hauptstraße 1\\, Berlin\r\n", "on_site"),
        ("LOCATION:Microsoft Teams-Besprechung\r\n", "remote"),
        ("LOCATION:Berlin\r\nX-GOOGLE-CONFERENCE:https://meet.google.com/x\r\n", "remote"),
        ("LOCATION:https://zoom.us/j/1\r\n", "remote"),
        ("SUMMARY:Call\r\n", "remote"),
    ],
)
def test_how_they_meet_is_read_from_place_and_title(more: str, form: str) -> None:
    (meeting,) = planned(calendar(event("DTSTART:20260302T080000Z", more=PEOPLE + more)))
    assert meeting.form == form


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYSETPOS=2",
        "FREQ=MONTHLY;BYWEEKNO=53",
    ],
)
def test_rules_that_no_meeting_follows_are_refused_at_once(rule: str) -> None:
    with pytest.raises(Unmapped):
        planned(calendar(event(f"DTSTART:20260302T080000Z\r\nRRULE:{rule}")))


def test_the_29th_of_february_is_no_impossible_day() -> None:
    raw = calendar(event("DTSTART:20240229T080000Z\r\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"))
    (notice,) = read_notices(raw)
    series = learn(Series("m1"), notice, "anna")
    assert series is not None
    years = [each.starts_at.year for each in occurrences(series, SINCE, SINCE + timedelta(days=1200), BERLIN)]
    assert years == [2028]


@pytest.mark.parametrize("zone", ["Europe/Berlin", '"Europe/Berlin"', "/x.org/Europe/Berlin"])
def test_known_zones_have_their_usual_name(zone: str) -> None:
    assert known_zone(zone) == "Europe/Berlin"


def test_a_whole_cancellation_leaves_nothing() -> None:
    cancelled = event("SEQUENCE:1\r\nSTATUS:CANCELLED", stamp="20260202T080000Z")
    assert starts(calendar(WEEKLY), calendar(cancelled, method="CANCEL")) == []
    assert read_notices(calendar(cancelled, method=""))[0].method is Method.CANCEL


LINES = st.sampled_from(
    """BEGIN:VEVENT|END:VEVENT|BEGIN:VTIMEZONE|END:VTIMEZONE|BEGIN:VALARM|END:VALARM|UID:m1|UID:|TZID:X|SEQUENCE:-1|
    DTSTART:20260302T080000Z|DTSTART:nonsense|DTSTART;TZID=X:20260302T080000|DTSTART;VALUE=DATE:20260302|DTEND:x|
    RRULE:FREQ=DAILY|RRULE:FREQ=|RRULE:;;|EXDATE:1|RDATE;VALUE=PERIOD:20260302T080000Z/PT1H|DURATION:P-1D|;:|
    RECURRENCE-ID:20260302T080000Z|RECURRENCE-ID:x|SEQUENCE:99999999999999|DTSTAMP:x|DTSTAMP:20260101T080000Z|
    ATTENDEE:mailto:x|ATTENDEE;CN=":mailto:a@b.example|DTEND:19000101T000000Z|STATUS:CANCELLED|SUMMARY:a\\,b\x00|
    ORGANIZER:mailto:a@b.example""".replace("\n    ", "").split("|")
)


@given(st.lists(LINES, max_size=40), st.sampled_from(["REQUEST", "CANCEL", "REPLY", ""]))
def test_whatever_a_calendar_holds_it_is_read_or_refused(lines: list[str], method: str) -> None:
    body = "\r\n".join(["BEGIN:VCALENDAR", f"METHOD:{method}", "BEGIN:VEVENT", "UID:m1", *lines, "END:VEVENT"])
    series = Series("m1")
    try:
        for notice in read_notices(body.encode()):
            series = learn(series, notice, "anna") or series
        occurrences(series, SINCE, SINCE + timedelta(days=30), BERLIN)
    except Unmapped:
        pass


def test_of_a_series_that_has_gone_on_for_decades_the_newest_meetings_count() -> None:
    raw = calendar(event("DTSTART:19910101T080000Z\r\nRRULE:FREQ=DAILY;BYHOUR=8,10,12,14"))
    (notice,) = read_notices(raw)
    series = learn(Series("m1"), notice, "anna")
    assert series is not None
    meetings = occurrences(series, datetime(1991, 1, 1, tzinfo=UTC), UNTIL, BERLIN)
    assert 1_990 < len(meetings) <= 2_000
    assert (UNTIL - meetings[-1].starts_at).days == 0
