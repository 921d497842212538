"""An answer to a survey may change and be taken back; what was said last stands, whatever came first."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest

from contracts.details import SurveyDetail
from contracts.events import Event
from contracts.interactions import Interaction, assemble
from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.surveys import on_five
from tests.unit.ingest import golden
from tests.unit.ingest.desks import read


def example(name: str, **changed: Any) -> dict[str, Any]:
    """A golden example of Delighted, with members of its `event_data` changed."""
    given: dict[str, Any] = json.loads((golden.FOLDER / "delighted" / f"{name}.json").read_text(encoding="utf-8"))
    given["body"]["event_data"] |= changed
    given["body"]["event_id"] += str(len(changed))
    return given


def in_every_order(*deliveries: dict[str, Any]) -> Interaction:
    """The answer after these deliveries, whatever their order."""
    told: list[list[Event]] = [read("delighted", delivery) for delivery in deliveries]
    results = [assemble([event for events in order for event in events]) for order in permutations(told)]
    assert all(result == results[0] for result in results)
    return results[0]


def test_the_score_and_the_comment_said_last_stand() -> None:
    answer = in_every_order(example("life_1_score"), example("life_2_comment"), example("life_3_other_score"))
    assert answer.detail == SurveyDetail(survey="nps", score=9)
    assert answer.text == "Slow, but nearly flawless! ☃"
    assert answer.present


def test_an_answer_whose_score_is_taken_back_is_none() -> None:
    assert not in_every_order(example("life_1_score"), example("life_2_comment"), example("withdrawn_score")).present


def test_an_answer_whose_score_is_given_again_is_one_again() -> None:
    later = example("life_3_other_score", updated_at=example("withdrawn_score")["body"]["event_data"]["updated_at"] + 9)
    answer = in_every_order(example("life_1_score"), example("withdrawn_score"), later)
    assert answer.present
    assert answer.detail == SurveyDetail(survey="nps", score=9)


def test_of_two_reports_in_one_second_the_one_that_says_more_is_the_later() -> None:
    same = example("life_1_score")["body"]["event_data"]["updated_at"]
    answer = in_every_order(example("life_1_score"), example("life_2_comment", score=8, updated_at=same))
    assert answer.detail == SurveyDetail(survey="nps", score=8)


@pytest.mark.parametrize(
    ("score", "steps", "stars"),
    [(1, 5, 1), (4, 5, 4), (1, 3, 1), (2, 3, 3), (3, 3, 5), (8, 10, 4), (10, 10, 5), (7, 7, 5)],
)
def test_a_scale_of_other_steps_is_read_as_one_to_five(score: int, steps: int, stars: int) -> None:
    assert on_five(score, steps) == stars


@pytest.mark.parametrize(("score", "steps"), [(0, 5), (6, 5), (1, 1), (1, 0)])
def test_a_score_off_its_scale_is_not_understood(score: int, steps: int) -> None:
    with pytest.raises(Unmapped, match="score_off_the_scale"):
        on_five(score, steps)


@pytest.mark.parametrize(
    ("survey_type", "score"), [("nps", 11), ("nps", -1), ("csat", 0), ("thumbs", 2), ("new kind", 3)]
)
def test_what_is_no_answer_on_a_known_scale_is_kept_raw(survey_type: str, score: int) -> None:
    with pytest.raises(Unmapped):
        read("delighted", example("life_1_score", survey_type=survey_type, score=score))
