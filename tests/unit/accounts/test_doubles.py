"""What looks like a double, and what does not, each with its reasons."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.events import Event
from contracts.interactions import assemble
from services.accounts.domain.doubles import Seen, suspicion
from tests.unit.accounts.events import at, event, mail, order, person, refund, ticket

BOB, ANNA = "bob@acme.example", "anna@brightwell.example"
ERP: dict[str, Any] = {"system": "erp:brightwell"}


def seen(of: Event) -> Seen:
    return Seen(assemble([of]))


def call(native_id: str, system: str, phone: str, minutes: float = 0, direction: str = "in") -> Event:
    return event(
        "call.leg-ended",
        "call",
        native_id,
        system=system,
        when=at(minutes=minutes),
        leg=native_id,
        direction=direction,
        answered_by_person=True,
        parties=[person("caller", "", phone=phone)],
    )


def survey(native_id: str, system: str, score: int) -> Event:
    return event(
        "survey.answered",
        "survey",
        native_id,
        system=system,
        survey="nps",
        score=score,
        parties=[person("customer", BOB)],
    )


def usage(system: str, day: str = "2026-03-02") -> Event:
    return event("usage.reported", "usage", day, system=system, product="sensor", on=day, active_users=1, licences=2)


OFFER = mail("<1>", BOB, ANNA, title="Offer")
BROKEN = ticket("opened", "1", BOB, title="Broken")
OTHER_REFUND = event("order.refunded", "refund", "2", **ERP, refunded={"amount": "10", "currency": "EUR"})


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (order("1", BOB), order("A-1", BOB, "100.0", when=at(hours=5), **ERP), "the same amount, 100 EUR"),
        (refund("1", "9"), OTHER_REFUND, "the same amount, 10 EUR"),
        (OFFER, mail("<2>", BOB, ANNA, title=" offer ", when=at(minutes=3)), "the same subject"),
        (mail("<1>", BOB, ANNA), mail("<2>", BOB, ANNA), "the same people"),
        (call("1", "aircall:b", "+4930123"), call("2", "asterisk:b", "+4930123", 1), "the same number"),
        (BROKEN, ticket("opened", "2", BOB, title="broken", system="jira:b"), "the same title"),
        (survey("1", "typeform:b", 9), survey("2", "delighted:b", 9), "the same person"),
        (usage("a:b"), usage("c:d"), "the same product"),
    ],
)  # fmt: skip
def test_pairs_that_look_like_one_say_why_whichever_comes_first(one: Event, other: Event, reason: str) -> None:
    assert reason in suspicion(seen(one), seen(other))
    assert suspicion(seen(one), seen(other))[0] == suspicion(seen(other), seen(one))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (order("1", BOB), order("2", BOB)),
        (order("1", BOB), order("A-1", BOB, "100.01", **ERP)),
        (order("1", BOB), order("A-1", BOB, when=at(days=3), **ERP)),
        (order("1", BOB), ticket("opened", "1", BOB, **ERP)),
        (mail("<1>", BOB, ANNA, title="Offer"), mail("<2>", BOB, ANNA, title="Invoice")),
        (mail("<1>", BOB, ANNA, title="Offer"), mail("<2>", "eve@acme.example", ANNA, title="Offer")),
        (mail("<1>", BOB, ANNA, title="Offer"), mail("<2>", ANNA, BOB, title="Offer")),
        (mail("<1>", BOB, ANNA), mail("<2>", BOB, ANNA, when=at(minutes=1))),
        (call("1", "aircall:b", "+4930123"), call("2", "asterisk:b", "+4930124")),
        (call("1", "aircall:b", "+4930123"), call("2", "aircall:b", "+4930123")),
        (call("1", "aircall:b", "+4930123"), call("2", "asterisk:b", "+4930123", direction="out")),
        (ticket("opened", "1", BOB), ticket("opened", "2", BOB, system="jira:b")),
        (survey("1", "typeform:b", 9), survey("2", "delighted:b", 8)),
        (usage("a:b"), usage("c:d", "2026-03-03")),
    ],
)
def test_pairs_that_differ_in_what_counts_are_no_doubles(one: Event, other: Event) -> None:
    assert suspicion(seen(one), seen(other)) == ()


def test_nothing_is_a_double_of_itself() -> None:
    assert suspicion(seen(mail("<1>", BOB, ANNA)), seen(mail("<1>", BOB, ANNA))) == ()
