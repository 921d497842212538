"""Ticket volume, order gap, champion left, unanswered mail; and what all rules share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.accounts import AccountContact, GroupRole, RoleInGroup, WorkingHours
from contracts.activity import AttributedContact
from contracts.details import ContactDetail
from contracts.ids import derive_id
from contracts.kpis import OpenItem, OrderRhythm
from contracts.values import Dated, Kind
from services.notifier.domain.calendar import after_business_days, is_holiday
from services.notifier.domain.rules import RULES, RuleVersion, champion_left, judge, order_gap, ticket_volume
from services.notifier.domain.rules.unanswered_mail import evaluate as unanswered
from services.notifier.domain.state import signal_of
from services.notifier.domain.thresholds import ChampionLeft, OrderGap, StaleTouch, TicketVolume, UnansweredMail
from services.notifier.domain.view import Brief
from tests.unit.notifier.states import (
    ANNA,
    LONG_AGO,
    MARIA,
    NOON,
    account,
    anna,
    left,
    tickets,
    touched,
    view,
    waiting_mail,
)

BERLIN = view(account()).zone


@pytest.mark.parametrize(
    ("count", "norm", "severity"),
    [
        (4, None, None),
        (5, None, "warn"),
        (10, None, "warn"),
        (11, None, "alert"),
        (5, "2.5", "warn"),
        (5, "2.6", None),
        (20, "10", "alert"),
        (20, "10.1", None),
        (6, "0", "warn"),
    ],
)
def test_tickets_must_be_many_and_twice_what_the_account_usually_has(
    count: int, norm: str | None, severity: str | None
) -> None:
    kpis = tickets(count, 1).model_copy(update={"tickets_norm_30d": Decimal(norm) if norm else None})
    verdict = ticket_volume.evaluate(view(account(), kpis), TicketVolume(), NOON)
    assert (verdict.findings[0].severity if verdict.findings else None) == severity


def test_tickets_that_are_known_are_listed_with_their_day() -> None:
    known = derive_id("test", "ticket")
    brief = Brief(known, Kind.TICKET, NOON - timedelta(days=2))
    kpis = tickets(6, 1, (known, derive_id("test", "unknown")))
    (finding,) = ticket_volume.evaluate(view(account(), kpis, briefs={known: brief}), TicketVolume(), NOON).findings
    assert [(item.kind, item.summary) for item in finding.items] == [(Kind.TICKET, "ticket")]
    assert finding.figures[0].value == 6


def rhythm(days_ago: float, p90: str = "10", gaps: int = 5) -> OrderRhythm:
    return OrderRhythm(
        orders=gaps + 1,
        last_order_at=NOON - timedelta(days=days_ago),
        last_order_id=derive_id("test", "order"),
        gaps=gaps,
        p90_gap_days=Decimal(p90),
    )


@pytest.mark.parametrize(("days_ago", "gaps", "fires"), [(15, 5, False), (15.01, 5, True), (15.01, 4, False)])
def test_an_order_is_missed_after_one_and_a_half_times_the_own_p90_gap(days_ago: float, gaps: int, fires: bool) -> None:  # noqa: FBT001
    kpis = touched(1, order_rhythm=rhythm(days_ago, gaps=gaps))
    assert bool(order_gap.evaluate(view(account(), kpis), OrderGap(), NOON).findings) == fires


@given(st.decimals("0.5", "400", places=2), st.floats(0, 900), st.integers(0, 30))
def test_an_order_gap_is_due_exactly_when_it_fires(p90: Decimal, days_ago: float, gaps: int) -> None:
    one = view(account(), touched(1, order_rhythm=rhythm(days_ago, str(p90), gaps)))
    verdict = order_gap.evaluate(one, OrderGap(), NOON)
    if verdict.due is not None:
        assert verdict.due >= NOON
        assert order_gap.evaluate(one, OrderGap(), verdict.due + timedelta(microseconds=1)).findings
        assert not order_gap.evaluate(one, OrderGap(), verdict.due).findings
    elif gaps >= 5:
        assert verdict.findings[0].deadline < NOON


def group(role: GroupRole, until: Any = None) -> tuple[AccountContact, ...]:
    held = Dated[RoleInGroup](
        value=RoleInGroup(buying_centre="Lab", role=role),
        since=LONG_AGO,
        until=until,
    )
    return (AccountContact(contact_id=MARIA, name="Maria Keller", roles=(held,), since=LONG_AGO),)


def departed(decision_group: tuple[AccountContact, ...], **changed: Any) -> list[str]:
    signal = signal_of(left(**changed))
    one = view(account(contacts=decision_group), touched(1), signals=(signal,) if signal else ())
    return [finding.severity for finding in champion_left.evaluate(one, ChampionLeft(), NOON).findings]


@pytest.mark.parametrize("role", ["champion", "executive_sponsor", "decision_maker"])
def test_whoever_carries_the_relationship_is_missed(role: GroupRole) -> None:
    assert departed(group(role)) == ["alert"]
    assert departed(group(role), detail=ContactDetail(state="bounced")) == ["warn"]


def test_a_user_who_leaves_a_contact_who_joins_and_history_are_no_signal() -> None:
    assert departed(group("user")) == []
    assert departed(group("champion"), detail=ContactDetail(state="joined")) == []
    assert departed(group("champion"), imported=True) == []


def test_the_role_must_have_been_held_on_the_day_of_leaving() -> None:
    assert departed(group("champion", until=NOON.date() - timedelta(days=1))) == []
    assert departed(group("champion", until=NOON.date())) == ["alert"]


def test_a_contact_of_nobody_is_no_champion() -> None:
    stranger = AttributedContact(contact_id=derive_id("test", "stranger"), role="subject")
    assert departed(group("champion"), contacts=(stranger,)) == []


def test_history_raises_no_signal_but_its_live_repetition_does() -> None:
    assert signal_of(left(imported=True)) is None
    assert signal_of(left(imported=False)) is not None


def test_a_key_account_is_answered_in_one_business_day_and_others_in_two() -> None:
    sent = datetime.fromisoformat("2026-02-27T10:00:00+01:00")
    one = view(account(), waiting_mail(sent))
    assert not unanswered(one, UnansweredMail(), datetime.fromisoformat("2026-03-02T10:00:00+01:00")).findings
    assert unanswered(one, UnansweredMail(), datetime.fromisoformat("2026-03-02T10:00:01+01:00")).findings
    other = view(account(key=()), waiting_mail(sent))
    verdict = unanswered(other, UnansweredMail(), datetime.fromisoformat("2026-03-02T10:00:01+01:00"))
    assert not verdict.findings
    assert verdict.due == datetime.fromisoformat("2026-03-03T10:00:00+01:00")


def test_each_thing_that_waits_is_an_alert_of_its_own_and_tickets_are_none() -> None:
    long_ago = NOON - timedelta(days=10)
    waiting = tuple(
        OpenItem.model_validate(
            {"kind": kind, "interaction_id": derive_id("test", kind), "source_kind": source, "since": long_ago}
        )
        for kind, source in (
            ("unanswered_mail", Kind.MAIL),
            ("missed_call", Kind.CALL),
            ("open_ticket", Kind.TICKET),
        )
    )
    found = unanswered(view(account(), touched(1, open_items=waiting)), UnansweredMail(), NOON).findings
    assert [finding.title.split(" from")[0] for finding in found] == ["Unanswered mail", "Missed call"]
    assert len({finding.subject for finding in found}) == 2


HOURS = WorkingHours(time_zone="Europe/Berlin", holidays="DE-BE")


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2026-03-02T10:00:00+01:00", 1, "2026-03-03T10:00:00+01:00"),
        ("2026-02-27T18:30:00+01:00", 1, "2026-03-02T17:00:00+01:00"),
        ("2026-02-28T12:00:00+01:00", 1, "2026-03-02T17:00:00+01:00"),
        # 6 March is the day before Women's Day (8 March, a Sunday in 2026); Good Friday and Easter Monday are off.
        ("2026-04-02T10:00:00+02:00", 1, "2026-04-07T10:00:00+02:00"),
        # Clocks go forward on 29 March.
        ("2026-03-27T16:00:00+01:00", 1, "2026-03-30T16:00:00+02:00"),
        ("2026-03-02T07:00:00+01:00", 2, "2026-03-03T17:00:00+01:00"),
    ],
)
def test_business_days_count_working_hours_only(start: str, days: int, end: str) -> None:
    reached = after_business_days(datetime.fromisoformat(start), days, HOURS, BERLIN)
    assert reached == datetime.fromisoformat(end)


def test_holidays_are_those_of_the_region() -> None:
    womens_day = datetime(2027, 3, 8, tzinfo=UTC).date()
    assert is_holiday(womens_day, "DE-BE")
    assert not is_holiday(womens_day, "DE-BY")
    assert not is_holiday(womens_day, "XX")
    assert not is_holiday(womens_day, "DE-XX")
    assert not is_holiday(womens_day, "utils")
    assert not is_holiday(womens_day, None)


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
    st.integers(1, 5),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
)
def test_business_time_never_ends_early_and_grows_with_its_start(start: datetime, days: int, zone: str) -> None:
    hours = WorkingHours(time_zone=zone, holidays="DE")
    end = after_business_days(start, days, hours, BERLIN)
    assert end - start >= timedelta(hours=8 * days)
    assert after_business_days(start + timedelta(minutes=30), days, hours, BERLIN) >= end


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "Z" * 256, "../etc"])
def test_nonsense_hours_fall_back_to_office_hours(zone: str) -> None:
    nonsense = WorkingHours(time_zone=zone, weekdays=(), start_minute=900, end_minute=600)
    start = datetime.fromisoformat("2026-03-02T10:00:00+01:00")
    assert after_business_days(start, 1, nonsense, BERLIN) == start + timedelta(days=1)
    assert after_business_days(start, 1, None, BERLIN) == start + timedelta(days=1)


def test_rules_sleep_until_the_history_is_complete() -> None:
    version = RuleVersion("stale_touch", 1, StaleTouch())
    asleep = judge(view(account(history_complete_at=None), touched(99)), version, NOON)
    assert (asleep.findings, asleep.due) == ((), None)
    assert asleep.waits_for is not None
    later = NOON + timedelta(days=1)
    assert judge(view(account(history_complete_at=later), touched(99)), version, NOON).due == later


def test_a_rule_that_is_switched_off_and_a_merged_account_find_nothing_so_alerts_resolve() -> None:
    off = RuleVersion("stale_touch", 2, StaleTouch(enabled=False))
    verdict = judge(view(account(), touched(99)), off, NOON)
    assert (verdict.findings, verdict.waits_for) == ((), None)
    merged = view(account(merged_into=derive_id("test", "other")), touched(99))
    assert judge(merged, RuleVersion("stale_touch", 1, StaleTouch()), NOON) == verdict


def test_every_rule_has_advice_and_defaults_and_holds_for_an_account_about_which_nothing_is_known() -> None:
    for rule in RULES.values():
        assert rule.advice
        judge(view(account()), RuleVersion(rule.name, 1, rule.thresholds()), NOON)


def test_the_deputy_rules_hold_without_an_owner() -> None:
    nobody = view(account(owners=()), touched(20), users={ANNA: anna()})
    assert nobody.owner(NOON) is None
    assert judge(nobody, RuleVersion("stale_touch", 1, StaleTouch()), NOON).findings
