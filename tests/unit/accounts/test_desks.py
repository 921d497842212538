"""A ticket weighs the same whichever desk it comes from: the same account, touches and classes, the same figures."""

from __future__ import annotations

import asyncio
from datetime import date
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from contracts.activity import Attribution
from services.accounts.domain.matching import Directory, Link, Serving
from services.metrics.domain.days import CompanyDays
from services.metrics.domain.fold import fold_account
from tests.unit.accounts.memory import MemoryOffice
from tests.unit.ingest.desks import DESKS, read, told
from tests.unit.ingest.test_surveys import example

BERLIN = ZoneInfo("Europe/Berlin")
ACME = "00000000-0000-7000-8000-00000000000a"
BOB = "00000000-0000-7000-8000-0000000000bb"
ANNA = "00000000-0000-7000-8000-0000000000cc"
START = date(2020, 1, 1)
AGENTS = (
    "address:anna@brightwell.example",
    "person:zendesk:brightwell:8447388090494",
    "person:jira:brightwell:712020:f1ad7cfd",
    "person:intercom:brightwell:admin:9608799",
)
# What a company imports of its customers: Zendesk names people by number, so its number of Bob is known.
DIRECTORY = Directory(
    links={
        "domain:acme.example": [Link(ACME, None)],
        "organisation:zendesk:brightwell:8447346622462": [Link(ACME, None)],
        "address:bob.miller@acme.example": [Link(None, BOB)],
        "person:zendesk:brightwell:8447388090777": [Link(None, BOB)],
    },
    servings={BOB: [Serving(ACME, START)]},
    users=dict.fromkeys(AGENTS, ANNA),
)


def attributed(desk: str, order: Random | None = None) -> list[dict[str, Any]]:
    """What accounts says after the life of the ticket, by time; `order` shuffles the deliveries."""
    deliveries = list(told(desk))
    if order is not None:
        order.shuffle(deliveries)

    async def receive() -> list[dict[str, Any]]:
        office = MemoryOffice(BERLIN, DIRECTORY)
        for events in deliveries:
            await office.receive(*events)
        versions = enumerate(office.standing().values())
        return [body | {"version": number, "account_version": 0} for number, body in versions]

    return sorted(asyncio.run(receive()), key=lambda body: str(body["occurred_at"]))


def weighed(body: dict[str, Any], ticket: str) -> dict[str, Any]:
    """What figures and alerts rest on, without the ids that each desk gives."""
    return {
        "account": body["account_id"],
        "kind": body["kind"],
        "at": body["occurred_at"],
        "direction": body.get("direction"),
        "class": body.get("touch_class"),
        "automatic": body.get("automatic"),
        "asks": body["reply_expected"],
        "bob": BOB in {contact["contact_id"] for contact in body.get("contacts", ())},
        "anna": ANNA in body.get("users", ()),
        "with the ticket": body.get("ticket_id") == ticket,
        "child of the ticket": body.get("parent_id") == ticket,
        "detail": body["detail"],
    }


def weights(desk: str, order: Random | None = None) -> list[dict[str, Any]]:
    """What each interaction of the life weighs."""
    bodies = attributed(desk, order)
    ticket = next(str(body["interaction_id"]) for body in bodies if body["kind"] == "ticket")
    return [weighed(body, ticket) for body in bodies]


def test_a_ticket_of_zendesk_is_a_request_for_help_with_a_question_and_an_answer() -> None:
    ticket, question, answer = weights("zendesk")
    assert (ticket["kind"], ticket["account"], ticket["detail"]["rating"]) == ("ticket", ACME, 5)
    assert [(each["kind"], each["direction"], each["class"]) for each in (question, answer)] == [
        ("comment", "in", "support"),
        ("comment", "out", "support"),
    ]
    assert all(each["with the ticket"] and each["child of the ticket"] for each in (question, answer))


@pytest.mark.parametrize("desk", DESKS)
def test_a_ticket_of_another_desk_weighs_the_same(desk: str) -> None:
    expected = weights("zendesk")
    # Some desks do not name the customer on an answer of ours; it is theirs by its ticket.
    for seen, wanted in zip(weights(desk), expected, strict=True):
        if wanted["direction"] == "out":
            seen, wanted = ({**each, "bob": None} for each in (seen, wanted))  # noqa: PLW2901 - compared without it
        assert seen == wanted


@pytest.mark.parametrize("desk", DESKS)
def test_its_comments_find_the_account_whatever_comes_first(desk: str) -> None:
    random = Random(f"accounts {desk}")  # noqa: S311 - not for secrets
    expected = weights(desk)
    for _ in range(4):
        assert weights(desk, random) == expected


@pytest.mark.parametrize("desk", DESKS)
def test_its_figures_are_the_same(desk: str) -> None:
    def values(name: str) -> dict[Any, Any]:
        states = [Attribution.model_validate(body) for body in attributed(name)]
        return dict(fold_account(states, date(2026, 3, 10), CompanyDays(BERLIN), "EUR").values)

    figures = values(desk)
    assert figures == values("zendesk")
    assert figures["tickets_opened", 30, None][0] == 1
    assert figures["tickets_resolved", 30, None][0] == 1


@pytest.mark.parametrize("person", [{}, {"person": "5975"}])
def test_an_answer_to_a_survey_is_the_account_s_by_address_or_by_the_tool_s_own_numbers(person: dict[str, Any]) -> None:
    numbers = Directory(
        links={
            **DIRECTORY.links,
            "person:delighted:brightwell:5975": [Link(None, BOB)],
            "organisation:delighted:brightwell:A-17": [Link(ACME, None)],
        },
        servings=DIRECTORY.servings,
    )

    async def receive() -> list[dict[str, Any]]:
        office = MemoryOffice(BERLIN, numbers)
        await office.receive(*read("delighted", example("life_3_other_score", **person)))
        return list(office.standing().values())

    (body,) = asyncio.run(receive())
    assert (body["account_id"], body["detail"]) == (ACME, {"kind": "survey", "survey": "nps", "score": 9})
    assert [contact["contact_id"] for contact in body["contacts"]] == [BOB]
