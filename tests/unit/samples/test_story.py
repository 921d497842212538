"""The story is one story: the same every time, well-formed, and with exactly the outcome that is written down."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from email import message_from_bytes
from email.policy import default

import pytest

from samples import script
from samples.calendar import HISTORY_BEGINS, LIVE_DAY, ZONE
from samples.company import FOLDER, company
from samples.facts import Mail, OrderStep, TicketStep
from samples.script import Story, story
from tests.e2e.expected import entered_by, expected, moments, written
from tests.e2e.oracle import World, business_days_after


@pytest.fixture(scope="module")
def told() -> Story:
    return story()


def test_the_story_is_told_the_same_every_time(told: Story) -> None:
    script.story.cache_clear()
    again = script.story()
    assert again is not told
    assert again == told


def test_the_company_has_thirty_customers_with_four_contacts_each() -> None:
    everybody = company()
    assert len(everybody.customers) == 30
    assert sum(len(customer.contacts) for customer in everybody.customers) == 120
    assert sum(customer.is_key for customer in everybody.customers) == 4
    assert Counter(customer.owner for customer in everybody.customers).keys() == {
        "anna",
        "bruno",
        "clara",
        "david",
        "eva",
    }


def test_the_expected_outcome_in_the_file_is_what_the_oracle_finds(told: Story) -> None:
    assert (FOLDER / "expected.json").read_text() == written(expected(told)), (
        "read samples/README.md, Changing the story"
    )


def test_history_lies_in_its_fourteen_months_and_before_it_is_told(told: Story) -> None:
    days = [fact.at.astimezone(ZONE).date() for fact in told.facts if fact.told == told.imported_at]
    assert min(days) >= HISTORY_BEGINS
    assert max(days) < LIVE_DAY
    assert all(fact.at <= fact.told for fact in told.facts)


def test_reports_of_history_are_distinct(told: Story) -> None:
    lines = [json.loads(line) for line in told.lines]
    assert len({(line["type"], line["subject"], line["id"]) for line in lines}) == len(lines)
    assert len(lines) > 3000


def test_nothing_is_overdue_by_chance_for_another_day(told: Story) -> None:
    """The outcome does not hang by a thread: a little later only mails of the live day have become overdue."""
    last = told.steps[-1].clock
    later = last + timedelta(hours=5)
    world = World.at(told.company, told.facts, last, entered_by(told, last))
    assert world.findings(later) == world.findings(last)


def test_business_days_are_nine_to_five_without_weekends() -> None:
    friday = moments(story())[0][1].replace(year=2026, month=2, day=27, hour=14, minute=10)
    assert business_days_after(friday, 1) == friday + timedelta(days=3)
    evening = friday.replace(hour=20)
    assert business_days_after(evening, 1).hour == 17


def test_mails_are_well_formed(told: Story) -> None:
    mails = [delivery for step in told.steps for delivery in step.deliveries if delivery.door == "mail"]
    assert len(mails) >= 10
    for delivery in mails:
        message = message_from_bytes(delivery.body, policy=default)
        assert not message.defects
        assert message["Message-ID"]
        assert message["Date"].datetime.utcoffset() == timedelta(hours=1)


def test_the_live_day_goes_on_with_what_history_began(told: Story) -> None:
    history = [fact for fact in told.facts if fact.told == told.imported_at]
    live = [fact for fact in told.facts if fact.told > told.imported_at]
    reopened = next(fact for fact in live if isinstance(fact, TicketStep) and fact.step == "reopened")
    assert reopened.ticket in {fact.ticket for fact in history if isinstance(fact, TicketStep)}
    assert not {fact.order for fact in live if isinstance(fact, OrderStep)} & {
        fact.order for fact in history if isinstance(fact, OrderStep)
    }
    answered = next(fact for fact in live if isinstance(fact, Mail) and not fact.inbound and fact.thread)
    assert answered.thread[-1] in {fact.message_id for fact in live if isinstance(fact, Mail)}


def test_something_is_delivered_twice_late_and_forged(told: Story) -> None:
    deliveries = [delivery for step in told.steps for delivery in step.deliveries]
    assert len({delivery.body for delivery in deliveries}) < len(deliveries)
    assert sum(delivery.forged for delivery in deliveries) == 1
    live = [fact for fact in told.facts if fact.told > told.imported_at]
    assert any(fact.told - fact.at > timedelta(days=6) for fact in live)
