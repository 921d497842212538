"""Wires the accounts service. Run it with `python -m services.accounts.app`."""

from collections.abc import Sequence

import asyncpg

from contracts.topics import INTERACTIONS
from services.accounts.api import build_api, conservation, rehearsals, resources
from services.accounts.api.access import Desk
from services.accounts.handlers.batch import Counted, InteractionsHandler
from services.accounts.handlers.fold import Fold, Repetition
from services.accounts.handlers.jobs import JobRunner
from services.accounts.settings import AccountsSettings
from services.accounts.store import conservation as places
from services.accounts.store import jobs, rehearsing
from services.accounts.store.edits import EditTables
from services.accounts.store.interactions import InteractionTables
from services.accounts.store.republishing import Attributions, OwnStates
from services.accounts.store.views import Views
from services.runtime import dead_letter_api, republish_api
from services.runtime.auth import TokenVerifier
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.health import operations_app, postgres_check, status_check
from services.runtime.outbox import Relay
from services.runtime.postgres import ANSWER_PEOPLE, create_pool
from services.runtime.republish import Order, Republisher, States
from services.runtime.service import Service, run
from services.runtime.settings import SettingsError
from services.runtime.telemetry import Telemetry

_LOCK_TIMEOUT_MS = 500


async def build(settings: AccountsSettings) -> Service:
    """Build everything from settings; touches neither the broker nor the database."""
    telemetry = Telemetry("accounts", settings)
    clock = build_clock(settings)
    verifier = TokenVerifier.from_settings(settings)
    pool = await create_pool(settings.database_url, name="accounts", command_seconds=settings.answer_seconds)
    fold = Fold(InteractionTables, settings.zone)
    runner = JobRunner(pool, fold, jobs)

    async def count(connection: asyncpg.Connection, counted: Sequence[Counted]) -> None:
        await places.count(connection, counted)
        for one in counted:
            telemetry.metrics.reports.labels(one.source, "kept").inc(one.kept)
            telemetry.metrics.reports.labels(one.source, "repeated").inc(one.repeated)

    consumer = BatchConsumer(
        service="accounts",
        topics=[INTERACTIONS],
        handler=InteractionsHandler(fold, count),
        pool=pool,
        settings=settings,
        clock=clock,
        telemetry=telemetry,
        # Most batches leave no job, and a look for one costs as much as a part of a small batch.
        after_commit=lambda: runner.wake() if fold.left() else None,
    )
    if settings.api_database_url is None:
        raise SettingsError("TENURE_API_DATABASE_URL is not set; the API reads with it under row-level security.")
    reading = await create_pool(settings.api_database_url, name="accounts-api")
    writing = await create_pool(
        settings.database_url, name="accounts-edits", lock_timeout_ms=_LOCK_TIMEOUT_MS, command_seconds=ANSWER_PEOPLE
    )
    desk = Desk(
        reading=reading,
        writing=writing,
        open_views=Views,
        open_edits=EditTables,
        verifier=verifier,
        clock=clock,
        zone=settings.zone,
        region=settings.default_region,
        wake=runner.wake,
    )
    republisher = Republisher(pool, kinds_of_states(fold), clock)
    relay = Relay(service="accounts", dsn=settings.database_url, settings=settings, telemetry=telemetry)
    flow = Flow(
        service="accounts",
        clock=clock,
        pool=pool,
        consumers=[consumer],
        parts={"jobs": runner.probe, "republish": republisher.probe},
        metrics=telemetry.metrics,
    )
    checks = {
        "postgres": postgres_check(pool),
        "consumer": status_check(lambda: consumer.ready, lambda: consumer.status),
    }
    return Service(
        name="accounts",
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=build_api(
            [
                *resources(desk, settings.zone),
                dead_letter_api.router(pool=pool, verifier=verifier, clock=clock),
                republish_api.router(republisher, verifier),
                conservation.router(places, pool=pool, group=settings.physical("accounts"), verifier=verifier),
                rehearsals.router(rehearsing, pool=pool, zone=settings.zone, verifier=verifier),
            ]
        ),
        components=[consumer, relay, runner, republisher],
        resources=[reading.close, writing.close, pool.close],
    )


def kinds_of_states(fold: Fold) -> list[States]:
    """Return what accounts can say again, in that order: whoever looks after an account is known before what it has."""

    async def say_again(connection: asyncpg.Connection, of: Sequence[tuple[str, str]], order: Order) -> int:
        repetition = Repetition(order.run_id, order.fresh_versions, of)
        ids = list(dict.fromkeys(interaction for _, interaction in of))
        return await fold.say_again(connection, ids, order.recorded_at, repetition)

    return [OwnStates("teams"), OwnStates("users"), OwnStates("accounts"), Attributions(say_again)]


if __name__ == "__main__":
    run("accounts", AccountsSettings, build)
