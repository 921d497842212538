"""Edits of dated histories, of links, of where contacts are."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounts.domain.intervals import (
    Interval,
    Taken,
    assign,
    change,
    end_link,
    exclude,
    include,
    move_contact,
    move_link,
)
from services.accounts.domain.matching import Link, Serving

START = date(2025, 1, 1)
ANNA = [Interval("anna", START)]


def _day(number: int) -> date:
    return START + timedelta(days=number)


def test_a_change_ends_what_was_and_replaces_what_was_planned() -> None:
    planned = [Interval("anna", START, _day(30)), Interval("ben", _day(30))]
    assert change(planned, "cleo", _day(10)) == [Interval("anna", START, _day(10)), Interval("cleo", _day(10))]
    assert change(ANNA, None, _day(5)) == [Interval("anna", START, _day(5))]


def test_saying_what_is_known_changes_nothing_and_going_back_joins() -> None:
    assert change(ANNA, "anna", _day(10)) == ANNA
    history = change(ANNA, "ben", _day(10))
    assert change(history, "anna", START) == history
    assert change(history, "anna", _day(10)) == ANNA


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 30)), max_size=8))
def test_one_value_holds_at_a_time_whatever_is_said(said: list[tuple[str | None, int]]) -> None:
    history: list[Interval[str]] = []
    for value, number in said:
        history = change(history, value, _day(number))
        assert change(history, value, _day(number)) == history
    for number in range(32):
        assert sum(entry.holds_on(_day(number)) for entry in history) <= 1
    assert all(entry.until is None or entry.since < entry.until for entry in history)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20), st.integers(1, 9)), max_size=6))
def test_a_team_never_counts_a_member_twice(said: list[tuple[str, int, int]]) -> None:
    history: list[Interval[str]] = []
    for value, number, length in said:
        history = include(history, value, _day(number), _day(number + length))
        assert include(history, value, _day(number), _day(number + length)) == history
        assert any(entry.value == value and entry.holds_on(_day(number)) for entry in history)
    for number in range(31):
        holding = [entry.value for entry in history if entry.holds_on(_day(number))]
        assert len(holding) == len(set(holding))
    assert not any(entry.value == "a" and entry.holds_on(_day(15)) for entry in exclude(history, "a", _day(10)))


def test_a_member_who_stays_after_all_was_there_before_it_was_said() -> None:
    leaving = [Interval("anna", START, _day(30)), Interval("ben", _day(3))]
    assert include(leaving, "anna", _day(10)) == [Interval("anna", START), Interval("ben", _day(3))]
    assert include(leaving, "anna", _day(30)) == [*leaving, Interval("anna", _day(30))]


def test_an_identity_is_taken_only_on_the_days_on_which_it_names_somebody_else() -> None:
    old = Link(None, "maria", None, _day(10))
    with pytest.raises(Taken):
        assign([old], Link(None, "nils"))
    later = Link(None, "nils", _day(10), None)
    assert assign([old], later) == [old, later]
    assert assign([old, later], later) == [old, later]
    assert assign([Link(None, "maria")], Link(None, "maria", _day(3), None)) == [Link(None, "maria")]


def test_a_link_that_is_said_for_more_days_grows() -> None:
    assert assign([Link("acme", None, _day(5), _day(9))], Link("acme", None, _day(7), None)) == [
        Link("acme", None, _day(5), None)
    ]


def test_a_move_keeps_the_past_and_an_end_names_nobody_afterwards() -> None:
    before = [Link(None, "maria")]
    assert move_link(before, Link(None, "nils"), _day(3)) == [
        Link(None, "maria", None, _day(3)),
        Link(None, "nils", _day(3), None),
    ]
    assert end_link(before, _day(3)) == [Link(None, "maria", None, _day(3))]


def test_a_contact_who_moves_keeps_the_accounts_served_beside() -> None:
    before = [Serving("acme", START), Serving("group", START, primary=False)]
    after = move_contact(before, "nordic", _day(5))
    assert after == [
        Serving("acme", START, _day(5)),
        Serving("group", START, primary=False),
        Serving("nordic", _day(5)),
    ]
    assert move_contact(after, "nordic", _day(5)) == after
