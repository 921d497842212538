"""Every bench once, tiny, on real servers: it runs, its end states are checked, and a check can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from deploy.local.instance import Instance
from tests.bench import accounts, doors, metrics, relay, rules
from tests.bench.figures import CheckFailed, Measured, Plan, Step
from tests.bench.ground import Ground

TINY = Plan(records=400, rounds=1, accounts=20, conversations=60, batch=100)


def quietly(_: str) -> None:
    """No progress is shown."""


@pytest.fixture
def ground(session_instance: Instance, kafka_bootstrap: str, postgres_admin: str) -> Iterator[Ground]:
    made = Ground(session_instance, kafka_bootstrap, postgres_admin, partitions=3)
    with made.cleared():
        yield made


@pytest.mark.parametrize(
    ("bench", "figures"),
    [
        (accounts.measure, ["accounts", "accounts-two", "accounts-each", "hot-account"]),
        (metrics.measure, ["metrics", "metrics-two"]),
        (relay.measure, ["relay"]),
        (doors.webhook, ["webhook", "webhook-route", "webhook-guides", "webhook-p99"]),
        (doors.bulk, ["import"]),
        (rules.measure, ["rules"]),
    ],
)
def test_a_bench_reaches_the_end_state_that_its_input_demands(
    ground: Ground, bench: Callable[[Ground, Plan, Step], Sequence[Measured]], figures: list[str]
) -> None:
    measured = bench(ground, TINY, quietly)
    assert [one.figure.name for one in measured] == figures
    assert all(sample > 0 for one in measured for sample in one.samples)


def test_a_consumer_that_matches_nothing_fails_the_bench(ground: Ground) -> None:
    nobody_known = ground.database("accounts")
    prefix = accounts.write(ground, TINY, quietly, hot=False)
    with pytest.raises(CheckFailed, match="unmatched interactions: 400 instead of 0"):
        accounts.consume(ground, TINY, nobody_known, prefix, hot=False)


def test_records_that_had_an_effect_before_fail_the_bench(ground: Ground) -> None:
    template, prefix = metrics.prepare(ground, TINY, quietly)
    ground.execute(template.name, f"insert into fact {_FORGED}")
    with pytest.raises(CheckFailed, match="slim rows: 401 instead of 400"):
        metrics.consume(ground, TINY, template, prefix)


_FORGED = """
    (account_id, interaction_id, version, present, kind, at, effects, cancelled, contacts, question, two_way, roles,
    voided) values (gen_random_uuid(), gen_random_uuid(), 1, true, 'order', now(), 0, false, '{}', false, false, 0,
    false)
"""
