"""Whatever the order, repetition and batches in which a history arrives, the same attributions stand in the end."""

from __future__ import annotations

import asyncio
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.events import Event
from services.accounts.domain.matching import Directory, Link, Serving
from services.accounts.domain.reading import Rules
from services.accounts.domain.touch import TouchRule
from tests.unit.accounts.events import at
from tests.unit.accounts.histories import US, deliveries
from tests.unit.accounts.memory import MemoryOffice

BERLIN = ZoneInfo("Europe/Berlin")
ACME = "00000000-0000-7000-8000-00000000000a"
NORDIC = "00000000-0000-7000-8000-00000000000b"
MARIA = "00000000-0000-7000-8000-0000000000aa"
NILS = "00000000-0000-7000-8000-0000000000bb"
ANNA = "00000000-0000-7000-8000-0000000000cc"

DIRECTORY = Directory(
    links={
        "domain:acme.example": [Link(ACME, None)],
        "address:maria@acme.example": [Link(None, MARIA)],
        "address:nils@nordic.example": [
            Link(None, NILS, None, at(days=1).date()),
            Link(None, MARIA, at(days=1).date()),
        ],
    },
    servings={MARIA: [Serving(ACME, at(days=-900).date())], NILS: [Serving(NORDIC, at(days=-900).date())]},
    users={f"address:{US}": ANNA},
)
RULES = Rules((TouchRule("support", 1, "words", ("broken",)), TouchRule("billing", 2, "words", ("invoice",))))


async def _whole(history: list[Event]) -> MemoryOffice:
    office = MemoryOffice(BERLIN, DIRECTORY, RULES)
    await office.receive(*history)
    return office


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_any_order_repetition_and_batches_give_the_same(delivery: tuple[list[Event], list[list[Event]]]) -> None:
    async def check() -> None:
        history, batches = delivery
        office = MemoryOffice(BERLIN, DIRECTORY, RULES)
        for batch in batches:
            await office.receive(*batch)
        assert office.standing() == (await _whole(history)).standing()

    asyncio.run(check())


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries(), st.data())
def test_jobs_that_run_late_give_the_same(delivery: tuple[list[Event], list[list[Event]]], data: st.DataObject) -> None:
    async def check() -> None:
        history, batches = delivery
        office = MemoryOffice(BERLIN, DIRECTORY, RULES)
        for batch in batches:
            await office.receive(*batch, jobs=data.draw(st.booleans()))
        await office.run_jobs()
        assert office.standing() == (await _whole(history)).standing()

    asyncio.run(check())


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries(), st.integers(0, 10))
def test_people_who_become_known_in_the_middle_give_the_same_as_if_always_known(
    delivery: tuple[list[Event], list[list[Event]]], when: int
) -> None:
    async def check() -> None:
        history, batches = delivery
        office = MemoryOffice(BERLIN, Directory(users=DIRECTORY.users), RULES)
        for number, batch in enumerate(batches):
            if number == when:
                await office.edit(DIRECTORY, list(DIRECTORY.links))
            await office.receive(*batch)
        await office.edit(DIRECTORY, list(DIRECTORY.links))
        await office.run_jobs()
        assert office.standing() == (await _whole(history)).standing()

    asyncio.run(check())


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_a_second_delivery_of_everything_says_nothing(delivery: tuple[list[Event], list[list[Event]]]) -> None:
    async def check() -> None:
        history, batches = delivery
        office = await _whole(history)
        said = len(office.tables.said)
        for batch in batches:
            await office.receive(*batch)
        assert len(office.tables.said) == said

    asyncio.run(check())


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(deliveries())
def test_what_is_said_again_is_what_was_said_and_changes_no_row(
    delivery: tuple[list[Event], list[list[Event]]],
) -> None:
    async def check() -> None:
        office = await _whole(delivery[0])
        before = (dict(office.tables.interactions), dict(office.tables.attributions), dict(office.tables.versions))
        last = {(account, envelope.subject): value for account, envelope, value in office.tables.said}
        office.tables.said.clear()
        await office.repeat()
        assert {(account, envelope.subject): value for account, envelope, value in office.tables.said} == last
        after = (office.tables.interactions, office.tables.attributions, office.tables.versions)
        assert all(one is after[0][id_] for id_, one in before[0].items())
        assert before[1:] == (after[1], {account: count for account, count in after[2].items() if count})

    asyncio.run(check())
