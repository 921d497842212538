"""A ticket is the same ticket whichever desk tells it, and whatever the order in which its deliveries come."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from pydantic import ValidationError

from contracts.details import TicketDetail
from contracts.events import Event
from contracts.interactions import Interaction, assemble
from contracts.values import Kind
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.sources.ticketing import DeskOptions
from tests.unit.ingest.desks import (
    ANSWERED,
    ASKED,
    DESKS,
    OPENED,
    RESOLVED,
    RESOLVED_AGAIN,
    about,
    in_one_second,
    life,
    read,
    told,
)

WITHOUT_COMMENTS = (0, 3, 4, 5, 6, 7)
RESOLUTIONS = (3, 4, 6)


def ticket(desk: str, *deliveries: int) -> Interaction:
    """The ticket after these of its deliveries."""
    return assemble(about(Kind.TICKET, [told(desk)[place] for place in deliveries]))


def detail(interaction: Interaction) -> TicketDetail:
    """What is particular to tickets."""
    assert isinstance(interaction.detail, TicketDetail)
    return interaction.detail


@pytest.mark.parametrize("desk", DESKS)
def test_every_desk_tells_the_same_ticket(desk: str) -> None:
    whole = ticket(desk, *range(8))
    assert detail(whole) == TicketDetail(
        opened_at=OPENED,
        resolved_at=RESOLVED_AGAIN,
        closed_at=None,
        reopenings=1,
        priority="high",
        status="resolved",
        rating=5,
    )
    assert (whole.title, whole.text) == ("Sensor drifts", "The sensor of line 3 drifts by 2 %.")
    assert whole.present
    assert whole.occurred_at == OPENED
    assert [party.ours for party in whole.parties if party.role == "requester"] == [False]
    assert [party.ours for party in whole.parties if party.role == "assignee"] == [True]
    assert [reference.value for reference in whole.references] == [f"{desk}:brightwell:{whole.key.native_id}"]


@pytest.mark.parametrize("desk", DESKS)
def test_every_desk_tells_the_same_comments(desk: str) -> None:
    comments = about(Kind.COMMENT, told(desk))
    parent = about(Kind.TICKET, told(desk))[0].interaction
    seen = [
        (
            one.occurred_at,
            one.detail.model_dump(),
            one.text,
            one.parent,
            {party.ours for party in one.parties if party.role == "from"},
        )
        for one in (assemble([comment]) for comment in comments)
    ]
    assert seen == [
        (ASKED, {"kind": "comment", "direction": "in", "automatic": None}, "Any news?", parent, {False}),
        (ANSWERED, {"kind": "comment", "direction": "out", "automatic": None}, "We are on it.", parent, {True}),
    ]


@pytest.mark.parametrize("desk", DESKS)
def test_a_life_adds_up_to_the_same_ticket_in_every_order(desk: str) -> None:
    whole = ticket(desk, *WITHOUT_COMMENTS)
    for order in permutations(WITHOUT_COMMENTS):
        assert ticket(desk, *order) == whole


@pytest.mark.parametrize("desk", DESKS)
def test_a_life_with_its_comments_adds_up_to_the_same_however_often_each_delivery_comes(desk: str) -> None:
    random = Random(f"life {desk}")  # noqa: S311 - not for secrets
    whole = ticket(desk, *range(8))
    for _ in range(40):
        order = [*range(8), *random.choices(range(8), k=5)]
        random.shuffle(order)
        assert ticket(desk, *order) == whole


@pytest.mark.parametrize("desk", DESKS)
def test_at_each_moment_of_its_life_a_ticket_is_resolved_or_not(desk: str) -> None:
    resolved = [detail(ticket(desk, *range(moment + 1))).resolved_at for moment in range(3, 8)]
    assert resolved == [RESOLVED, None, None, RESOLVED_AGAIN, RESOLVED_AGAIN]


@pytest.mark.parametrize("desk", DESKS)
@pytest.mark.parametrize("only", WITHOUT_COMMENTS)
def test_a_report_that_comes_alone_still_tells_when_the_ticket_was_opened(desk: str, only: int) -> None:
    assert detail(ticket(desk, only)).opened_at == OPENED


@pytest.mark.parametrize("desk", DESKS)
def test_a_resolution_that_comes_before_its_opening_counts_from_the_opening(desk: str) -> None:
    early = detail(ticket(desk, 3))
    assert (early.opened_at, early.resolved_at, early.status) == (OPENED, RESOLVED, "resolved")
    assert ticket(desk, 3, 0) == ticket(desk, 0, 3)


@pytest.mark.parametrize("desk", DESKS)
def test_of_three_edits_in_one_second_the_last_stands(desk: str) -> None:
    deliveries = [read(desk, in_one_second(desk, life(desk)[place])) for place in RESOLUTIONS]
    reports: list[Event] = about(Kind.TICKET, [told(desk)[0], *deliveries])
    for order in permutations(reports):
        hurried = detail(assemble(order))
        assert (hurried.resolved_at, hurried.status, hurried.reopenings) == (RESOLVED, "resolved", 1)


# Freshdesk tells times to the second and nothing else that orders: within one, the further status is the later.
@pytest.mark.parametrize("desk", [desk for desk in DESKS if desk != "freshdesk"])
def test_a_ticket_reopened_in_the_second_of_its_resolution_is_open(desk: str) -> None:
    deliveries = [read(desk, in_one_second(desk, life(desk)[place])) for place in RESOLUTIONS[:2]]
    for order in permutations(about(Kind.TICKET, deliveries)):
        hurried = detail(assemble(order))
        assert (hurried.resolved_at, hurried.status) == (None, "open")


@pytest.mark.parametrize(
    ("desk", "options"),
    [
        ("freshdesk", {"statuses": {"Gelöst": "solved"}}),
        ("zammad", {"priorities": {"4 dringend": "highest"}}),
        ("intercom", {"states": {}}),
        ("jira", {"satisfaction": "Satisfaction"}),
        ("zendesk", {"statuses": {"new": "open"}}),
    ],
)
def test_options_that_a_desk_does_not_know_are_refused_by_name(desk: str, options: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        WEBHOOKS[desk].options.model_validate(options)


@pytest.mark.parametrize("name", ["Waiting For Vendor", " waiting  for vendor ", "WAITING FOR VENDOR"])
def test_a_status_of_one_s_own_is_known_however_it_is_written(name: str) -> None:
    options = DeskOptions.model_validate({"statuses": {"Waiting for vendor": "on_hold"}})
    assert options.status({"waiting for vendor": "open"}, None, 7, {}, name) == "on_hold"
    assert options.status({}, "something else") is None
