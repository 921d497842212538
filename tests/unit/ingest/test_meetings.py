"""What follows from what calendars say, whatever comes first and whenever the clock stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import Event, MeetingHeld
from contracts.interactions import assemble
from services.ingest.domain.identities import Directory
from services.ingest.domain.meetings import Planned, Series, State, decide, ending, held, learn
from services.ingest.domain.planning import begun, draft, withdrawn
from services.ingest.sources.icalendar import read_notices
from services.ingest.sources.icalendar_series import occurrences
from tests.unit.ingest.test_icalendar import PEOPLE, calendar, event

BERLIN = ZoneInfo("Europe/Berlin")
OURS = Directory(["brightwell.example"])
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@dataclass
class Plan:
    """The planner's work on one UID, without a database."""

    series: Series = field(default_factory=lambda: Series("m1"))
    rows: dict[str, Planned] = field(default_factory=dict)
    published: list[Event] = field(default_factory=list)
    now: datetime = START - DAY
    planned_until: datetime | None = None

    def hear(self, raw: bytes) -> None:
        """Takes a calendar."""
        for notice in read_notices(raw):
            self.series = learn(self.series, notice, "anna") or self.series
        self.again()

    def again(self) -> None:
        """Decides anew."""
        meetings = occurrences(self.series, START - 30 * DAY, START + 300 * DAY, BERLIN)
        drafts = [draft("m1", each, OURS) for each in meetings]
        changes = decide(
            self.rows,
            [each for each in drafts if each is not None],
            recurs=self.series.recurs,
            called_off=self.series.called_off,
            planned_until=self.planned_until,
            now=self.now,
        )
        self.planned_until = START + 300 * DAY if self.series.recurs else None
        self.published += [withdrawn("m1", each, self.rows[each.instance]) for each in changes.withdrawals]
        self.rows |= {row.instance: row for row in changes.rows}
        for instance in changes.gone:
            del self.rows[instance]
        self.step(timedelta())

    def step(self, by: timedelta) -> None:
        """Lets time pass, and publishes what has begun."""
        self.now += by
        for row in list(self.rows.values()):
            if row.state is State.PLANNED and row.starts_at <= self.now:
                self.published += begun("m1", row)
                self.rows[row.instance] = held(row)

    def standing(self) -> list[str]:
        """The starts of the meetings that stand, as accounts assembles them."""
        about: dict[str, list[Event]] = {}
        for one in self.published:
            about.setdefault(one.interaction.id, []).append(one)
        interactions = [assemble(events) for events in about.values()]
        return sorted(f"{each.occurred_at:%m-%d %H:%M}" for each in interactions if each.present)


FIRST = calendar(event("SEQUENCE:0\r\nDTSTART:20260302T080000Z"))
MOVED = calendar(event("SEQUENCE:1\r\nDTSTART:20260305T080000Z", stamp="20260302T100000Z"))
OFF = calendar(event("SEQUENCE:2\r\nSTATUS:CANCELLED", stamp="20260303T100000Z"), method="CANCEL")
AGAIN = calendar(event("SEQUENCE:3\r\nDTSTART:20260306T080000Z", stamp="20260304T100000Z"))
WEEKLY = calendar(event("DTSTART:20260302T080000Z\r\nRRULE:FREQ=WEEKLY;COUNT=3"))


def test_a_meeting_is_published_when_it_has_begun_and_not_before() -> None:
    plan = Plan()
    plan.hear(FIRST)
    assert plan.published == []
    plan.step(DAY)
    (meeting,) = plan.published
    assert isinstance(meeting, MeetingHeld)
    assert [(party.role, party.ours) for party in meeting.parties] == [("organiser", True), ("attendee", False)]
    plan.step(DAY)
    plan.hear(FIRST)
    assert len(plan.published) == 1


def test_a_cancelled_meeting_never_takes_place_and_one_cancelled_afterwards_is_withdrawn() -> None:
    before = Plan()
    before.hear(FIRST)
    before.hear(OFF)
    before.step(2 * DAY)
    assert before.published == []
    after = Plan()
    after.hear(FIRST)
    after.step(2 * DAY)
    after.hear(OFF)
    assert (len(after.published), after.standing()) == (2, [])


def test_a_meeting_that_moves_after_it_should_have_begun_stands_again_when_it_has() -> None:
    plan = Plan()
    plan.hear(FIRST)
    plan.step(DAY + timedelta(hours=3))
    plan.hear(MOVED)
    assert plan.standing() == []
    plan.step(3 * DAY)
    assert plan.standing() == ["03-05 08:00"]


@settings(max_examples=30)
@given(st.permutations([FIRST, MOVED, OFF, AGAIN]), st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_in_the_end_the_last_word_holds_whatever_came_first(words: list[bytes], days: list[int]) -> None:
    plan = Plan()
    for word, step in zip(words, days, strict=True):
        plan.hear(word)
        plan.step(step * DAY)
    plan.step(30 * DAY)
    assert plan.standing() == ["03-06 08:00"]


def test_meetings_of_a_series_that_took_place_stay_when_it_ends() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(9 * DAY)
    assert plan.standing() == ["03-02 08:00", "03-09 08:00"]
    plan.hear(OFF)
    plan.step(30 * DAY)
    assert plan.standing() == ["03-02 08:00", "03-09 08:00"]


def test_one_meeting_of_a_series_that_was_called_off_afterwards_is_withdrawn() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(9 * DAY)
    gone = event("RECURRENCE-ID:20260309T080000Z\r\nSEQUENCE:1\r\nSTATUS:CANCELLED", stamp="20260310T080000Z")
    plan.hear(calendar(gone, method="CANCEL"))
    assert plan.standing() == ["03-02 08:00"]


@pytest.mark.parametrize(
    "people",
    [
        "ORGANIZER:mailto:anna@brightwell.example\r\nATTENDEE:mailto:max@brightwell.example\r\n",
        PEOPLE.replace("ACCEPTED", "DECLINED"),
        "ORGANIZER:mailto:bob@acme.example\r\nATTENDEE;PARTSTAT=DECLINED:mailto:anna@brightwell.example\r\n",
        "SUMMARY:Lunch\r\n",
    ],
)
def test_a_meeting_among_ourselves_or_without_us_is_none(people: str) -> None:
    plan = Plan()
    plan.hear(calendar(event("DTSTART:20260302T080000Z", more=people)))
    plan.step(2 * DAY)
    assert plan.published == []


def test_who_declines_in_time_is_no_party_and_the_last_one_to_decline_ends_it() -> None:
    plan = Plan()
    plan.hear(FIRST)
    declined = event(
        "SEQUENCE:0", stamp="20260110T080000Z", more="ATTENDEE;PARTSTAT=DECLINED:mailto:bob@acme.example\r\n"
    )
    plan.hear(calendar(declined, method="REPLY"))
    plan.step(2 * DAY)
    assert plan.published == []


def vanish(plan: Plan, source: str = "anna") -> None:
    """Its calendar lists it no more."""
    for notice in ending(plan.series, source, plan.now):
        plan.series = learn(plan.series, notice, source) or plan.series
    plan.again()


def test_an_entry_that_is_deleted_from_its_calendar_calls_off_what_lies_ahead_only() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(2 * DAY)
    vanish(plan)
    plan.step(30 * DAY)
    assert plan.standing() == ["03-02 08:00"]
    assert list(ending(plan.series, "max", plan.now)) == []


def test_a_meeting_of_a_series_that_was_moved_and_held_stays_when_the_series_is_deleted_from_its_calendar() -> None:
    plan = Plan()
    exception = event("RECURRENCE-ID:20260309T080000Z\r\nSEQUENCE:1\r\nDTSTART:20260310T090000Z")
    plan.hear(calendar(event("DTSTART:20260302T080000Z\r\nRRULE:FREQ=WEEKLY;COUNT=3"), exception))
    plan.step(9 * DAY + timedelta(hours=3))
    assert plan.standing() == ["03-02 08:00", "03-10 09:00"]
    vanish(plan)
    plan.step(30 * DAY)
    assert plan.standing() == ["03-02 08:00", "03-10 09:00"]


@pytest.mark.parametrize(("entry", "starts"), [(FIRST, ["03-02 08:00"]), (WEEKLY, ["03-02 08:00", "03-09 08:00"])])
def test_an_entry_that_is_back_in_its_calendar_is_planned_again_and_not_because_somebody_else_repeats_it(
    entry: bytes, starts: list[str]
) -> None:
    plan = Plan()
    plan.hear(entry)
    vanish(plan)
    repeated = [learn(plan.series, notice, "an-old-invitation") for notice in read_notices(entry)]
    assert repeated == [None]
    plan.hear(entry)
    plan.step(9 * DAY)
    assert plan.standing() == starts


def test_an_organisers_word_about_an_entry_that_was_deleted_counts_when_it_is_newer() -> None:
    plan = Plan()
    plan.hear(FIRST)
    vanish(plan)
    plan.hear(AGAIN)
    plan.step(30 * DAY)
    assert plan.standing() == ["03-06 08:00"]
    plan.hear(OFF)
    assert plan.standing() == ["03-06 08:00"]


def test_what_a_series_says_anew_about_the_past_makes_no_second_meeting_of_one_that_was_held() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(9 * DAY)
    plan.hear(calendar(event("SEQUENCE:1\r\nDTSTART:20260302T093000Z\r\nRRULE:FREQ=WEEKLY;COUNT=3")))
    plan.step(30 * DAY)
    assert plan.standing() == ["03-02 08:00", "03-09 08:00", "03-16 09:30"]


def test_a_meeting_that_a_series_adds_to_the_past_by_name_took_place() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(9 * DAY)
    added = event("RECURRENCE-ID:20260304T080000Z\r\nSEQUENCE:1\r\nDTSTART:20260304T080000Z")
    plan.hear(calendar(event("SEQUENCE:1\r\nDTSTART:20260302T080000Z\r\nRRULE:FREQ=WEEKLY;COUNT=3"), added))
    assert plan.standing() == ["03-02 08:00", "03-04 08:00", "03-09 08:00"]


def test_the_one_meeting_that_is_left_of_a_series_is_none_beside_the_one_that_was_held() -> None:
    plan = Plan()
    plan.hear(WEEKLY)
    plan.step(2 * DAY)
    plan.hear(calendar(event("SEQUENCE:1\r\nDTSTART:20260302T080000Z")))
    plan.step(30 * DAY)
    assert plan.standing() == ["03-02 08:00"]
