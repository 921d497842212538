"""Which records of a batch are bad, and whose fault that is: found with few calls, judged over many batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import Envelope
from services.runtime.blame import RECORDS, WINDOW, Blame
from services.runtime.poison import Search
from services.runtime.records import Received, Record

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """What a record says; of several there is one object each."""

    number: int
    about: str


@dataclass
class Handler:
    """Fails at bad records, in its own way; counts what that costs."""

    bad: frozenset[int]
    hint: str = "event"
    calls: int = 0
    work: int = 0
    done: list[int] = field(default_factory=list)

    def handle(self, part: Sequence[Received[Event]]) -> None:
        """Handle a part, all or nothing."""
        self.calls += 1
        self.work += len(part)
        if self.hint == "nothing":
            if any(one.event.number in self.bad for one in part):
                raise asyncpg.UniqueViolationError("somewhere in the column")
        elif self.hint == "wrong":
            bad, first = any(one.event.number in self.bad for one in part), part[0]
            if bad:
                raise ValueError(f"looking at {first.event.number}")
        else:
            for one in part:
                self._look(one.event)
        self.done += [one.event.number for one in part]

    def _look(self, event: Event) -> None:
        if event.number in self.bad:
            if self.hint == "name":
                _fail(event.about)
            raise ValueError("cannot digest this")


def _fail(name: str) -> None:
    raise KeyError(len(name))


def _batch(count: int, accounts: int = 1_000_000) -> list[Received[Event]]:
    made = []
    for number in range(count):
        about = f"account-{number % accounts}"
        head = Envelope(f"event-{number}", "shop", "tenure.test.v1", about, NOW, NOW, None)
        record = Record("tenure.reports", 0, number, about.encode(), b"", ())
        made.append(Received(record, Event(number, about), head))
    return made


def _search(handler: Handler, batch: Sequence[Received[Event]]) -> list[int]:
    """What the consumer loop does with a search."""
    search, bad = Search(batch), []
    while (part := search.next()) is not None:
        try:
            handler.handle(part.records)
        except Exception as error:  # noqa: BLE001 - as the loop does
            if len(part.records) == 1:
                bad.append(part.records[0].event.number)
            else:
                search.failed(part, error)
        else:
            search.passed(part)
    return bad


@given(
    count=st.integers(1, 300),
    bad=st.frozensets(st.integers(0, 299)),
    hint=st.sampled_from(["event", "name", "nothing", "wrong"]),
    accounts=st.sampled_from([3, 40, 1000]),
)
def test_whatever_the_hints_say_exactly_the_bad_ones_are_found_and_the_others_handled_once(
    count: int, bad: frozenset[int], hint: str, accounts: int
) -> None:
    handler = Handler(bad, hint)
    found = _search(handler, _batch(count, accounts))
    assert sorted(found) == sorted(number for number in bad if number < count)
    assert sorted(handler.done) == sorted(set(range(count)) - bad)
    # About one account the order stays.
    for account in range(accounts):
        ours = [number for number in handler.done if number % accounts == account]
        assert ours == sorted(ours)


def test_one_bad_record_among_thousands_costs_a_few_calls_where_the_traceback_names_it() -> None:
    for hint in ("event", "name"):
        handler = Handler(frozenset({3137}), hint)
        assert _search(handler, _batch(5000)) == [3137]
        assert handler.calls <= 5
        assert handler.work <= 2 * 5000


def test_fifty_bad_records_among_thousands_cost_some_calls_each_and_few_batches_of_work() -> None:
    handler = Handler(frozenset(range(17, 5000, 100)))
    assert len(_search(handler, _batch(5000))) == 50
    assert handler.calls <= 4 * 50
    assert handler.work <= 8 * 5000


def test_without_a_hint_one_bad_record_costs_little_more_than_two_batches_of_work() -> None:
    for hint in ("nothing", "wrong"):
        handler = Handler(frozenset({3137}), hint)
        assert _search(handler, _batch(5000)) == [3137]
        assert handler.work <= 2.5 * 5000
        assert handler.calls <= 50


def test_however_often_one_source_fails_it_is_never_our_fault() -> None:
    blame = Blame(5)
    for minute in range(600):
        now = NOW + timedelta(seconds=10 * minute)
        assert blame.verdict(["bad"], now) is None
        blame.note(["bad"], 100, now)
    assert blame.verdict(["bad", "another"], NOW + timedelta(seconds=6000)) is None


def test_errors_of_several_sources_are_ours_also_when_they_come_one_by_one() -> None:
    blame = Blame(5)
    for second, source in enumerate(["a", "b", "a", "c"]):
        now = NOW + timedelta(seconds=second)
        assert blame.verdict([source], now) is None
        blame.note([source], 1, now)
    assert blame.verdict(["a"], NOW + timedelta(seconds=9)) == "5 records from 3 sources failed within 10 minutes"
    assert Blame(5).verdict(list("abcab"), NOW) == "5 records from 3 sources failed in one batch"


def test_what_lies_ten_minutes_or_many_records_back_is_forgotten() -> None:
    for later, records in ((WINDOW + timedelta(seconds=1), 0), (timedelta(0), RECORDS + 1)):
        blame = Blame(5)
        blame.note(list("abcd"), 4, NOW)
        blame.note([], records, NOW)
        assert blame.verdict(["e"], NOW + later) is None
