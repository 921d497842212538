"""What is known up to when: a silence must never be spoken of before everything could have been heard."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.horizon import Horizons, Known, Source, Stage, Unknown, known_up_to
from tests.unit.notifier.states import NOON

BERLIN = ZoneInfo("Europe/Berlin")
moments = st.one_of(st.none(), st.integers(-500, 500).map(lambda hours: NOON + timedelta(hours=hours)))
sources = st.builds(
    Source,
    name=st.sampled_from(["a", "b", "c"]),
    provider=st.sampled_from(["imap", "zendesk", "import"]),
    polled=st.booleans(),
    horizon=moments,
    last_delivery=moments,
    status=st.sampled_from(["ok", "waiting: no pass yet", "broken: no such host"]),
    quiet=st.booleans(),
)


@given(
    st.lists(moments, min_size=1, max_size=4),
    st.lists(sources, max_size=3),
    st.sets(st.sampled_from("abcd")),
    st.sets(st.sampled_from("abcd")),
)
def test_it_speaks_only_when_every_service_and_polled_source_lies_behind_the_deadline(
    horizons: list[datetime | None], given_sources: list[Source], feeding: set[str], vouched: set[str]
) -> None:
    by_name = {source.name: source for source in given_sources}
    stages = tuple(Stage(f"service {number}", horizon) for number, horizon in enumerate(horizons))
    answer = known_up_to(NOON, feeding, Horizons(stages, by_name), BERLIN, vouched)
    behind = all(horizon is not None and horizon > NOON for horizon in horizons)
    if isinstance(answer, Known):
        assert behind
        assert feeding <= by_name.keys()
        assert answer.horizon > NOON
        for name in feeding:
            source = by_name[name]
            if source.provider == "import":
                continue
            if source.polled:
                assert source.horizon is not None
                assert answer.horizon <= source.horizon
            else:
                assert not source.broken
            if source.quiet or not source.polled:
                late = source.last_delivery is None or source.last_delivery < answer.horizon
                assert any(line.startswith(f"{name}:") for line in answer.unverified) == late
            if source.quiet and source.last_delivery is not None and source.last_delivery <= NOON:
                assert name in vouched
    else:
        assert answer.why


def test_without_ingest_nothing_is_known() -> None:
    answer = known_up_to(NOON, (), Horizons((), None), BERLIN)
    assert isinstance(answer, Unknown)


def test_a_deadline_at_the_horizon_itself_is_not_behind_it() -> None:
    stages = (Stage("ingest", NOON),)
    assert isinstance(known_up_to(NOON, (), Horizons(stages, {}), BERLIN), Unknown)
    assert known_up_to(NOON - timedelta(microseconds=1), (), Horizons(stages, {}), BERLIN) == Known(NOON)
