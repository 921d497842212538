"""The generator of histories: pure, and everything that the promises are about is in them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import chain
from typing import get_args

import pytest

from contracts.events import BY_TYPE
from tests.faults.generator import generate
from tests.faults.history import Action, Delivery, Edit, History, Publication
from tests.faults.said import Merged, Statement

SEEDS = range(1, 13)


@pytest.fixture(scope="module")
def histories() -> list[History]:
    return [generate(seed) for seed in SEEDS]


def actions(histories: list[History]) -> list[Action]:
    return [action for history in histories for step in history.steps for action in step.actions]


def test_the_same_seed_gives_the_same_history(histories: list[History]) -> None:
    assert generate(SEEDS[0]) == histories[0]
    assert histories[0] != histories[1]


def test_every_event_is_told_in_some_history(histories: list[History]) -> None:
    told = {event.TYPE for each in actions(histories) if not isinstance(each, Edit) for event in each.events}
    assert told == set(BY_TYPE)


def test_every_door_is_used(histories: list[History]) -> None:
    doors = Counter(each.path.split("/")[2] for each in actions(histories) if isinstance(each, Delivery))
    topics = {each.topic for each in actions(histories) if isinstance(each, Publication)}
    assert set(doors) == {"events", "imports", "mail", "webhooks"}
    assert topics == {"tenure.inbound", "tenure.interactions", "tenure.activity", "tenure.accounts", "tenure.kpis"}


def test_about_every_third_report_is_told_again(histories: list[History]) -> None:
    for history in histories:
        events = [
            event
            for step in history.steps
            for action in step.actions
            if not isinstance(action, Edit)
            for event in action.events
        ]
        distinct = {(event.id, event.revision.order) for event in events}
        assert 0.2 < 1 - len(distinct) / len(events) < 0.4
        assert 250 <= history.reports <= 600


def test_some_come_days_late_and_none_more_than_a_day_early(histories: list[History]) -> None:
    delays = [
        step.moment - event.occurred_at
        for history in histories
        for step in history.steps
        for action in step.actions
        if not isinstance(action, Edit)
        for event in action.events
    ]
    assert min(delays) > -timedelta(days=1)
    assert any(timedelta(days=2) < delay < timedelta(days=8) for delay in delays)
    assert any(delay < timedelta(0) for delay in delays)


def test_reports_are_corrected_by_greater_and_lower_revisions(histories: list[History]) -> None:
    bodies: dict[tuple[int, str], dict[tuple[int, int, str], str]] = {}
    for history in histories:
        for each in actions([history]):
            for event in () if isinstance(each, Edit) else each.events:
                revision = event.revision.authority, event.revision.order, event.revision.digest
                bodies.setdefault((history.seed, event.id), {})[revision] = event.model_dump_json()
    several = [versions for versions in bodies.values() if len(set(versions.values())) > 1]
    assert len(several) > len(histories)
    # some differ in nothing but the digest of what was sent
    assert any(len({order for _, order, _ in versions}) < len(versions) for versions in several)


def test_a_mail_is_seen_by_several_mailboxes_under_one_id(histories: list[History]) -> None:
    boxes: dict[tuple[int, str], set[str]] = {}
    for history in histories:
        for each in actions([history]):
            for event in () if isinstance(each, Edit) else each.events:
                if event.TYPE.startswith("tenure.email."):
                    boxes.setdefault((history.seed, event.interaction.id), set()).add(event.report)
    assert max(map(len, boxes.values())) == 3


def test_every_way_to_change_the_company_is_taken(histories: list[History]) -> None:
    said = list(chain.from_iterable(each.said for each in actions(histories) if isinstance(each, Edit)))
    kinds = {type(each).__name__ for each in said}
    assert kinds == {each.__name__ for each in get_args(Statement)}
    assert {each.undone for each in said if isinstance(each, Merged)} == {True, False}


def test_every_poison_has_its_reader(histories: list[History]) -> None:
    poison = [each for each in actions(histories) if isinstance(each, Publication) and each.poison]
    assert len({each.poison for each in poison}) >= 12
    assert all(each.dead_in and not each.events for each in poison)
    assert any(len(each.value or b"") > 20_000 for each in poison)


def test_a_large_history_has_thousands_of_reports() -> None:
    assert generate(1, "large").reports > 3500
