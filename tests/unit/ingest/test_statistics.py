"""What sources sent is counted in memory first, in bounds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.statistics import MOST_NAMES, OTHER, Statistics
from services.ingest.store import StoredStatistic

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_names_of_what_is_ignored_are_bounded() -> None:
    statistics = Statistics()
    for number in range(3 * MOST_NAMES):
        statistics.ignored("desk", NOON, f"event.{number}")
    taken = statistics.take()["desk"]
    assert len(taken.ignored) == MOST_NAMES + 1
    assert taken.ignored.total() == 3 * MOST_NAMES
    stored = StoredStatistic(ignored_by={f"before.{number}": 1 for number in range(MOST_NAMES)}).plus(taken)
    assert stored.ignored_by[OTHER] == 3 * MOST_NAMES
    assert len(stored.ignored_by) == MOST_NAMES + 1


def test_an_event_that_comes_again_shortly_after_is_a_redelivery_and_the_memory_is_bounded() -> None:
    statistics = Statistics()
    assert statistics.remember(["a", "b", "a"]) == 1
    assert statistics.remember(["b"]) == 1
    for start in range(0, 100_000, 500):
        statistics.remember([f"{number}" for number in range(start, start + 500)])
    assert statistics.remember(["99999"]) == 1
    assert statistics.remember(["a"]) == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 200), st.booleans()), max_size=40))
def test_what_could_not_be_stored_is_counted_with_what_comes_after(story: list[tuple[str, int, bool]]) -> None:
    kept, given_back = Statistics(), Statistics()
    for source, hours, fails in story:
        for statistics in (kept, given_back):
            statistics.delivered(source, NOON + timedelta(hours=hours), accepted=1)
            statistics.ignored(source, NOON + timedelta(hours=hours), "ping")
            statistics.rejected(source, "stale")
        if fails:
            given_back.give_back(given_back.take())
    assert kept.take() == given_back.take()
