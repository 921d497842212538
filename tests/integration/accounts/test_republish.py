"""States said again: with the versions that they have, beside live traffic, whatever interrupts the run."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import asyncpg
import orjson
import pytest

from contracts.activity import Attribution
from services.accounts.app import kinds_of_states
from services.accounts.handlers.fold import Fold
from services.accounts.store import accounts, jobs
from services.runtime import failpoints, republish
from services.runtime.failpoints import InjectedFault, RuntimeFailpoint
from services.runtime.postgres import transaction
from services.runtime.republish import Order, Republisher, Said
from tests.integration.accounts.desk import StandingClock
from tests.integration.accounts.stories import Office, consume
from tests.integration.accounts.test_concurrency import history_of
from tests.unit.accounts.events import MONDAY, at, mail, order, person, withdrawn

EVERYTHING = ["teams", "users", "accounts", "activity"]


@pytest.fixture
def republisher(pool: asyncpg.Pool, fold: Fold) -> Republisher:
    """Of accounts, in chunks of the size that it always has."""
    return Republisher(pool, kinds_of_states(fold), StandingClock())


async def _world(office: Office, accounts_: int = 4) -> list[str]:
    ids = [await office.account(f"c{number}", domains=[f"c{number}.example"]) for number in range(accounts_)]
    user = await office.user("anna@brightwell.example")
    async with transaction(office.pool) as connection:
        await accounts.publish(connection, MONDAY, accounts=ids, users=[user])
    return ids


async def _records(office: Office) -> list[asyncpg.Record]:
    return await office.rows("select id, aggregatetype, aggregateid, payload, headers from outbox order by id")


def _run_of(row: asyncpg.Record) -> str | None:
    found: str | None = dict(row["headers"]).get("ce_republished")
    return found


def _states(rows: list[asyncpg.Record]) -> dict[tuple[str, ...], tuple[int, dict[str, Any]]]:
    """What a reader knows that takes the greatest version of each state."""
    known: dict[tuple[str, ...], tuple[int, dict[str, Any]]] = {}
    for row in rows:
        body = orjson.loads(row["payload"])
        key = (row["aggregatetype"], row["aggregateid"], body.get("interaction_id", ""))
        if key not in known or known[key][0] < body["version"]:
            known[key] = (body["version"], {**body, "account_version": 0})
    return known


async def test_a_reader_of_the_repetition_alone_knows_what_a_reader_of_everything_knows(
    office: Office, republisher: Republisher
) -> None:
    await _world(office)
    history = history_of(3)
    await office.receive(*history)
    gone = withdrawn(order("o2", "p0@c0.example"))
    await office.receive(gone)
    before = await _records(office)
    run_id = await republisher.begin(EVERYTHING, "somebody")
    await republisher.run_until_done()
    again = (await _records(office))[len(before) :]
    assert {_run_of(row) for row in again} == {run_id}
    assert {_run_of(row) for row in before} == {None}
    everything, repeated = _states(before), _states(again)
    assert repeated.keys() == everything.keys()
    for key, (version, body) in everything.items():
        if body.get("present", True):
            assert repeated[key] == (version, body), key
        else:
            assert (repeated[key][0], repeated[key][1]["present"]) == (version, False)
    assert any(not body.get("present", True) for _, body in repeated.values())
    [[*parts]] = await republisher.runs()
    assert {part.part: (part.state, part.published) for part in parts} == dict.fromkeys(EVERYTHING, ("finished", False))
    await office.rows("delete from outbox")
    assert all(part.published for part in (await republisher.runs())[0])


async def test_with_fresh_versions_every_state_outlives_whatever_was_published(
    office: Office, republisher: Republisher
) -> None:
    await _world(office)
    await office.receive(*history_of(3))
    before = await _records(office)
    async with office.pool.acquire() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("update version_epoch set epoch = 7")
    await republisher.begin(EVERYTHING, "somebody", fresh_versions=True)
    await republisher.run_until_done()
    again = _states((await _records(office))[len(before) :])
    for key, (version, body) in _states(before).items():
        assert again[key][0] > version
        assert again[key][1].get("present") == body.get("present")
    rows = await office.rows("select interaction_id, account_id, version from attribution")
    assert {(row["interaction_id"], row["account_id"], row["version"]) for row in rows} == {
        (key[2], key[1], version) for key, (version, _) in again.items() if key[2]
    }


async def test_what_is_pending_is_said_as_news_and_not_under_an_old_version(
    office: Office, republisher: Republisher
) -> None:
    [acme, *_] = await _world(office)
    await office.receive(order("1", "maria@c0.example"))
    [said] = await office.said()
    contact = await office.contact(acme, "maria@c0.example")
    await republisher.begin(["activity"], "somebody")
    await republisher.run_until_done()
    latest = (await office.said())[-1]
    assert (said.reason, latest.reason) == ("domain", "address")
    assert latest.version > said.version
    assert [one.contact_id for one in latest.contacts] == [contact]


async def test_records_of_one_account_keep_their_order_while_traffic_flows(
    office: Office, republisher: Republisher, fold: Fold
) -> None:
    await _world(office)
    history = history_of(7)
    await office.receive_only(*history[:40])

    async def again() -> None:
        for _ in range(3):
            await republisher.begin(EVERYTHING, "somebody")
            while True:
                try:
                    await republisher.run_until_done()
                    break
                except (asyncpg.DeadlockDetectedError, TimeoutError):  # transient: the service comes again, too
                    continue

    await asyncio.gather(consume(office, fold, history[40:], 1), again())
    await office.run_jobs()
    greatest: dict[tuple[str, str], int] = {}
    for row in await _records(office):
        if row["aggregatetype"] != "tenure.activity":
            continue
        one = Attribution.model_validate_json(row["payload"])
        key = (one.account_id, one.interaction_id)
        assert one.version >= greatest.get(key, 0), "an old state was said after a newer one"
        greatest[key] = one.version
    stored = await office.rows("select account_id, interaction_id, version from attribution")
    assert greatest == {(row["account_id"], row["interaction_id"]): row["version"] for row in stored}


async def test_what_was_said_of_an_account_comes_together_and_in_the_order_in_which_it_happened(
    office: Office, pool: asyncpg.Pool, fold: Fold
) -> None:
    await _world(office)
    parties = [person("from", "anna@brightwell.example", ours=True)]
    parties += [person("to", f"p0@c{number}.example") for number in range(3)]
    to_three = [mail(f"<to three {hour}>", "", "", when=at(hours=hour), parties=parties) for hour in range(4)]
    await office.receive(*history_of(3), *to_three)
    before = await _records(office)
    republisher = Republisher(pool, [_InSmallChunks(kind) for kind in kinds_of_states(fold)], StandingClock())
    await republisher.begin(["activity"], "somebody")
    await republisher.run_until_done()
    again = [orjson.loads(row["payload"]) for row in (await _records(office))[len(before) :]]
    assert sorted(Counter(one["interaction_id"] for one in again).values())[-4:] == [3, 3, 3, 3]
    assert len([account for account, _ in groupby(again, key=itemgetter("account_id"))]) == 4
    stored = await office.rows(
        "select account_id, interaction_id from attribution order by account_id desc, occurred_at, interaction_id desc"
    )
    assert [(one["account_id"], one["interaction_id"]) for one in again] == [tuple(row) for row in stored]


async def test_a_run_that_an_earlier_version_left_somewhere_says_everything(
    office: Office, republisher: Republisher
) -> None:
    await _world(office)
    await office.receive(*history_of(3))
    before = await _records(office)
    await republisher.begin(["activity"], "somebody")
    # the last interaction that was said
    await office.rows("update republish set said_up_to = (select max(interaction_id::text) from attribution)")
    await republisher.run_until_done()
    said = {key[1:] for key in _states((await _records(office))[len(before) :])}
    assert said == {key[1:] for key in _states(before) if key[0] == "tenure.activity"}


class _InSmallChunks:
    """A kind of states that is said a few at a time."""

    def __init__(self, kind: republish.States) -> None:
        self._kind = kind
        self.name = kind.name

    async def say_again(self, connection: asyncpg.Connection, after: str | None, order: Order) -> Said:
        """The same, five at a time."""
        small = Order(order.run_id, order.recorded_at, order.fresh_versions, limit=5)
        return await self._kind.say_again(connection, after, small)


@pytest.mark.parametrize("point", [RuntimeFailpoint.COMMITTING, RuntimeFailpoint.COMMITTED])
async def test_a_run_that_is_broken_off_anywhere_goes_on_and_says_everything_once(
    office: Office, pool: asyncpg.Pool, fold: Fold, monkeypatch: pytest.MonkeyPatch, point: RuntimeFailpoint
) -> None:
    await _world(office)
    await office.receive(*history_of(3))
    before = await _records(office)
    republisher = Republisher(pool, [_InSmallChunks(kind) for kind in kinds_of_states(fold)], StandingClock())
    await republisher.begin(EVERYTHING, "somebody")
    reached = 0

    def fail(place: str) -> None:
        nonlocal reached
        if place == point.value:
            reached += 1
            if reached % 2:
                raise InjectedFault("broken off")

    monkeypatch.setattr(failpoints, "_reached", fail)
    broken = 0
    while True:
        try:
            if not await republisher.step():
                break
        except InjectedFault:
            broken += 1
    assert broken > 10
    again = (await _records(office))[len(before) :]
    keys = [(row["aggregatetype"], row["aggregateid"], row["payload"]) for row in again]
    assert len(keys) == len(set(keys))
    assert _states(again).keys() == _states(before).keys()


async def test_several_replicas_share_a_run_and_nothing_is_said_twice(
    office: Office, pool: asyncpg.Pool, fold: Fold
) -> None:
    await _world(office)
    await office.receive(*history_of(3))
    before = await _records(office)
    replicas = [
        Republisher(pool, [_InSmallChunks(kind) for kind in kinds_of_states(fold)], StandingClock()) for _ in range(3)
    ]
    runs = await asyncio.gather(*(replica.begin(EVERYTHING, "somebody") for replica in replicas))
    assert len(set(runs)) == 1

    async def work(replica: Republisher) -> None:
        while any(part.state == "open" for part in (await replica.runs())[0]):
            await replica.step()

    await asyncio.gather(*(work(replica) for replica in replicas))
    again = (await _records(office))[len(before) :]
    keys = [(row["aggregatetype"], row["aggregateid"], row["payload"]) for row in again]
    assert len(keys) == len(set(keys))
    assert _states(again).keys() == _states(before).keys()


async def test_a_run_waits_while_the_outbox_is_full_and_can_be_stopped(
    office: Office, republisher: Republisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _world(office)
    monkeypatch.setattr(republish, "_FULL_OUTBOX", 3)
    run_id = await republisher.begin(EVERYTHING, "somebody")
    assert not await republisher.step()
    part = await republisher.probe(MONDAY)
    assert not part.drained
    assert part.details["open"] == 1
    assert await republisher.end(run_id)
    assert not await republisher.end(run_id)
    assert (await republisher.probe(MONDAY + timedelta(days=1))).drained
    assert await republisher.begin(EVERYTHING, "somebody") != run_id


async def test_jobs_survive_being_broken_off_anywhere(
    office: Office, fold: Fold, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.accounts.handlers import jobs as running  # noqa: PLC0415 - the module whose constant is changed

    ids = await _world(office, 2)
    history = history_of(4)
    await office.receive(*history)
    monkeypatch.setattr(running, "_CHUNK", 3)
    async with transaction(pool) as connection:
        await connection.execute("update identity set account_id = $1 where account_id = $2", ids[0], ids[1])
        keys = await connection.fetch("select identity_key from identity")
        await jobs.add(connection, "identities", [row["identity_key"] for row in keys], MONDAY)
    runner = running.JobRunner(pool, fold, jobs)
    reached = 0

    def fail(place: str) -> None:
        nonlocal reached
        reached += 1
        if reached % 3 == 0:
            raise InjectedFault(f"broken off at {place}")

    monkeypatch.setattr(failpoints, "_reached", fail)
    broken = 0
    while True:
        try:
            await runner.run_until_done()
            break
        except InjectedFault:
            broken += 1
    assert broken > 5
    monkeypatch.setattr(failpoints, "_reached", None)
    versions = [one.version for one in await office.said()]
    assert len(versions) == len({(one.account_id, one.version) for one in await office.said()})
    assert {account for account, _ in await office.standing()} == {ids[0]}
    said = len(versions)
    async with transaction(pool) as connection:
        await jobs.add(connection, "everything", [], MONDAY)
    await office.run_jobs()
    assert len(await office.said()) == said, "a job left something unsaid"
