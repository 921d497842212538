"""When an absence begins, who may speak meanwhile, and what becomes of mails that waited."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.absence import Pending, Watch, complete, gather, signals_flow, silent_stages
from services.notifier.domain.horizon import Horizons, Stage
from tests.unit.notifier.states import NOON

LIMIT = timedelta(minutes=5)
HOUR = timedelta(hours=1)
SERVICES = ("ingest", "accounts", "metrics", "notifier")


def horizons(**behind: timedelta | None) -> Horizons:
    """Everybody at the present, but for those that are named."""
    given_horizons = {name: behind.get(name, timedelta()) for name in SERVICES}
    return Horizons(
        tuple(Stage(name, None if late is None else NOON - late) for name, late in given_horizons.items()), {}
    )


def test_an_absence_begins_where_knowledge_ended_once_that_is_long_enough_ago() -> None:
    seen = Watch(complete_at=NOON - LIMIT)
    assert seen.interrupted(NOON, LIMIT, "away") is seen
    later = seen.interrupted(NOON + timedelta(seconds=1), LIMIT, "away")
    assert (later.absent_since, later.why) == (NOON - LIMIT, "away")
    assert later.interrupted(NOON + HOUR, LIMIT, "something else") is later


def test_who_never_knew_anything_was_not_away() -> None:
    assert Watch().interrupted(NOON, LIMIT, "away") == Watch()


def test_a_restored_database_is_behind_whatever_the_clock_says() -> None:
    watch = Watch(complete_at=NOON, epoch=1, present_epoch=7)
    assert watch.restored
    assert watch.interrupted(NOON, LIMIT, "away").absent_since == NOON
    assert not Watch(complete_at=NOON, epoch=None, present_epoch=7).restored


def test_everything_is_here_when_all_answer_and_nobody_is_behind() -> None:
    assert complete(horizons(), NOON, LIMIT)
    assert complete(horizons(metrics=timedelta(seconds=59)), NOON, LIMIT)
    assert not complete(horizons(metrics=timedelta(seconds=61)), NOON, LIMIT)
    assert not complete(horizons(ingest=None), NOON, LIMIT)
    assert not complete(Horizons((), None), NOON, LIMIT)
    assert silent_stages(horizons(ingest=None)) == ("ingest",)


def test_signals_speak_while_somebody_is_away_but_not_while_their_way_is_behind() -> None:
    assert signals_flow(horizons(metrics=None), NOON, LIMIT)
    assert signals_flow(horizons(metrics=HOUR), NOON, LIMIT)
    assert signals_flow(horizons(accounts=None), NOON, LIMIT)
    assert not signals_flow(horizons(accounts=HOUR), NOON, LIMIT)
    assert not signals_flow(horizons(notifier=HOUR), NOON, LIMIT)


pending = st.builds(
    Pending,
    delivery_id=st.sampled_from("uvwxyz"),
    destination_id=st.sampled_from("AB"),
    alert_id=st.sampled_from("123"),
    version=st.integers(1, 9),
    settled=st.just(value=False),
)


@given(st.lists(pending, max_size=12, unique_by=lambda one: (one.alert_id, one.version, one.destination_id)), st.sets(
    st.sampled_from("123")
))  # fmt: skip
def test_each_destination_hears_once_of_each_alert_that_is_not_resolved(found: list[Pending], over: set[str]) -> None:
    held = [
        Pending(one.delivery_id, one.destination_id, one.alert_id, one.version, one.alert_id in over) for one in found
    ]
    gathered = {one.destination_id: one for one in gather(held)}
    assert gathered.keys() == {one.destination_id for one in held}
    for destination, result in gathered.items():
        theirs = [one for one in held if one.destination_id == destination]
        assert sorted([*result.told, *result.obsolete], key=theirs.index) == theirs
        assert sorted(one.alert_id for one in result.told) == sorted({one.alert_id for one in theirs} - over)
        for one in result.told:
            assert one.version == max(other.version for other in theirs if other.alert_id == one.alert_id)
