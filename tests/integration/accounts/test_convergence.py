"""The property of `tests/unit/accounts/test_convergence.py` on a real database."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings

from contracts.events import Event
from services.accounts.store import jobs
from services.runtime.postgres import transaction
from tests.integration.accounts.stories import Office
from tests.unit.accounts.events import MONDAY
from tests.unit.accounts.histories import deliveries

_TABLES = "ledger, interaction, interaction_party, conversation, conversation_ref, attribution, job, outbox"


def _drawn(number: int) -> list[tuple[list[Event], list[list[Event]]]]:
    """Deliveries to play one after the other: hypothesis itself does not await."""
    ways: list[tuple[list[Event], list[list[Event]]]] = []

    @settings(max_examples=number, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(deliveries())
    def collect(delivery: tuple[list[Event], list[list[Event]]]) -> None:
        ways.append(delivery)

    collect()
    return ways


async def _empty(office: Office) -> None:
    async with office.pool.acquire() as connection:
        for table in _TABLES.split(", "):
            await connection.execute(f"delete from {table}")  # noqa: S608 - one of the names above


async def _world(office: Office) -> dict[str, str]:
    acme = await office.account("acme", domains=["acme.example"])
    nordic = await office.account("nordic")
    await office.user("anna@brightwell.example")
    return {
        acme: "acme",
        nordic: "nordic",
        await office.contact(acme, "maria@acme.example"): "maria",
        await office.contact(nordic, "nils@nordic.example"): "nils",
    }


async def test_any_order_repetition_and_batches_give_the_same_on_postgresql(office: Office) -> None:
    await _world(office)
    for history, batches in _drawn(25):
        await _empty(office)
        await office.receive(*history)
        expected = await office.standing()
        await _empty(office)
        for number, batch in enumerate(batches):
            await office.receive_only(*batch)
            if number % 3 == 1:
                await office.run_jobs()
        await office.run_jobs()
        assert await office.standing() == expected, batches
        await _nothing_is_lost(office, {event.id for event in history})


async def _nothing_is_lost(office: Office, accepted: set[str]) -> None:
    """Every event is in the ledger, every interaction attributed or unmatched, the index of parties right."""
    rows = await office.rows("select event_id, interaction_id from ledger")
    assert {row["event_id"] for row in rows} == accepted
    for row in await office.rows("select id, claimed, unmatched from interaction where state is not null"):
        assert bool(row["claimed"]) != row["unmatched"]
    stray = await office.rows(
        "select interaction.id from interaction where state is not null and identities <> array("
        " select identity_key from interaction_party where interaction_id = interaction.id order by identity_key"
        ' collate "C")'
    )
    assert stray == []


async def test_a_domain_said_in_the_middle_gives_the_same_as_if_it_had_always_been_known(office: Office) -> None:
    await _world(office)
    for history, batches in _drawn(10):
        await _empty(office)
        await office.receive(*history)
        expected = await office.standing()
        await _empty(office)
        kept = await office.rows("select kind, identity_key, account_id, contact_id from identity")
        await office.rows("delete from identity")
        for batch in batches:
            await office.receive(*batch)
        async with transaction(office.pool) as connection:
            for row in kept:
                await connection.execute(
                    "insert into identity (kind, identity_key, account_id, contact_id) values ($1, $2, $3, $4)",
                    *row.values(),
                )
            await jobs.add(connection, "identities", [row["identity_key"] for row in kept], MONDAY)
        await office.run_jobs()
        assert await office.standing() == expected
