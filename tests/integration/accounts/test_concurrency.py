"""Two consumers, the job runner and an editor at once: the result is the one that each alone would have given."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import date

import pytest

from contracts.accounts import User
from contracts.events import Event
from services.accounts.handlers.fold import Fold
from services.accounts.handlers.jobs import JobRunner
from services.accounts.store import jobs
from services.accounts.store.edits import EditTables
from services.runtime.postgres import transaction
from tests.integration.accounts.desk import Company
from tests.integration.accounts.stories import Office, consume, forget_everything_said
from tests.unit.accounts.events import at, mail, order, refund, report, ticket, withdrawn


def history_of(seed: int) -> list[Event]:
    """Refunds before and after their orders, threads that meet over tickets, revisions, withdrawals."""
    chance = random.Random(seed)  # noqa: S311 - a test's dice
    people = [f"p{number}@c{number % 4}.example" for number in range(12)]
    events: list[Event] = []
    for number in range(40):
        buyer = chance.choice(people)
        events.append(order(f"o{number}", buyer, when=at(hours=number)))
        if number % 2:
            events.append(refund(f"r{number}", f"o{number}", when=at(hours=number + 1)))
        if number % 7 == 0:
            events.append(order(f"o{number}", chance.choice(people), "5.00", order=2, when=at(hours=number)))
        if number % 11 == 0:
            events.append(withdrawn(events[-1], order=9))
    for number in range(40):
        refers = [f"<{chance.randrange(40)}>" for _ in range(chance.randrange(3))]
        references = [{"kind": "message", "value": value} for value in {f"<{number}>", *refers}]
        if number % 5 == 0:
            references.append({"kind": "ticket", "value": f"test:acme:{chance.randrange(6)}"})
        person = chance.choice(people)
        events.append(
            mail(f"<{number}>", person, "anna@brightwell.example", when=at(hours=number), references=references)
        )
    events += [ticket("opened", str(number), chance.choice(people), when=at(hours=number)) for number in range(6)]
    chance.shuffle(events)
    return events


@pytest.mark.parametrize("seed", [1, 4])
async def test_two_consumers_and_an_editor_leave_what_one_alone_would_have_left(
    company: Company, office: Office, fold: Fold, seed: int
) -> None:
    accounts = [await office.account(f"c{number}") for number in range(4)]
    history = history_of(seed)
    halves: tuple[list[Event], list[Event]] = ([], [])
    for event in history:
        halves[int(event.interaction.id[:2], 16) % 2].append(event)
    runner = JobRunner(office.pool, fold, jobs)
    await runner.start()

    async def edit() -> None:
        for number, account in enumerate(accounts):
            while True:
                body = {"domain": f"c{number}.example"}
                answer = await company.admin.post(f"/v1/accounts/{account}/domains", json=body)
                assert answer.status_code in {201, 503}, answer.text
                if answer.status_code == 201:
                    break
            await asyncio.sleep(0)

    await asyncio.gather(consume(office, fold, halves[0], seed + 1), consume(office, fold, halves[1], seed + 2), edit())
    await runner.stop()
    await office.run_jobs()
    concurrent = await office.standing()
    await forget_everything_said(office)
    await office.receive(*history)
    alone = await office.standing()
    assert len(alone) > 60
    assert concurrent == alone
    assert await office.rows("select id from job") == []


async def test_an_edit_of_an_identity_waits_for_batches_that_have_already_matched(
    company: Company, office: Office, fold: Fold
) -> None:
    acme = await office.account("acme")
    strange = mail("<1>", "who@acme.example", "anna@brightwell.example")

    async def edit() -> None:
        while True:
            answer = await company.admin.post(f"/v1/accounts/{acme}/domains", json={"domain": "acme.example"})
            assert answer.status_code in {201, 503}, answer.text
            if answer.status_code == 201:
                break
        # Whoever is not seen by now is never looked at again.
        await office.run_jobs()

    async with transaction(office.pool) as connection:
        await fold.apply(connection, [report(strange)])
        editing = asyncio.create_task(edit())
        while not editing.done():
            waiting = await office.rows("select pid from pg_locks where locktype = 'advisory' and not granted")
            if waiting:
                break
    await editing
    assert set(await office.standing()) == {(acme, strange.interaction.id)}


async def test_two_deputies_who_are_named_at_once_are_both_told_of(office: Office) -> None:
    user, first, second = [await office.user(f"{name}@brightwell.example") for name in ("anna", "ben", "lea")]
    async with transaction(office.pool) as one, AsyncExitStack() as later:
        other = await later.enter_async_context(transaction(office.pool))
        await EditTables(one).set_deputy(user, first, date(2026, 3, 2), None)
        await EditTables(other).set_deputy(user, second, date(2026, 3, 2), None)
        await EditTables(one).publish(at(), (), [user], ())
        telling = asyncio.create_task(EditTables(other).publish(at(), (), [user], ()))
        while not await office.rows("select from pg_stat_activity where wait_event_type = 'Lock'"):
            assert not telling.done()
        # The first commits, and only then does the second one go on.
        stack = later.pop_all()
    async with stack:
        await telling
    last = await office.rows(
        "select payload from outbox where aggregateid = $1 order by id desc limit 1", f"user:{user}"
    )
    told = User.model_validate_json(last[0]["payload"])
    assert {deputy.user_id for deputy in told.deputies} == {first, second}
