"""Metrics as one process: wiring, and nothing else. Run it with `python -m services.metrics.app`."""

from contracts.topics import ACCOUNTS, ACTIVITY
from services.metrics.api import Reads, create_api
from services.metrics.domain.days import CompanyDays
from services.metrics.handlers import Handlers, Tables
from services.metrics.handlers.loops import RollUps, Slides
from services.metrics.handlers.rebuild import NewTables
from services.metrics.handlers.republish import KpisAgain
from services.metrics.settings import MetricsSettings
from services.metrics.store import accounts, facts, reading, rebuilds, rollups, states
from services.runtime import dead_letter_api, rebuild_api, republish_api
from services.runtime.auth import TokenVerifier
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.flow import Flow
from services.runtime.freshness import Freshness
from services.runtime.health import operations_app, postgres_check, status_check
from services.runtime.outbox import Relay
from services.runtime.postgres import ANSWER_PEOPLE, create_pool
from services.runtime.rebuild import Rebuild
from services.runtime.republish import Republisher
from services.runtime.service import Service, run
from services.runtime.telemetry import Telemetry

NAME = "metrics"


async def build(settings: MetricsSettings) -> Service:
    """Wire the service; touches neither broker nor database."""
    telemetry, clock, days = Telemetry(NAME, settings), build_clock(settings), CompanyDays(settings.zone)
    verifier, currency = TokenVerifier.from_settings(settings), settings.reporting_currency
    pool = await create_pool(settings.database_url, name=NAME, command_seconds=settings.answer_seconds)
    api_pool = await create_pool(
        settings.api_database_url or "", name=f"{NAME}-api", statement_timeout_ms=10_000, command_seconds=ANSWER_PEOPLE
    )
    tables = Tables(facts, states, accounts, rollups)
    roll_ups = RollUps(pool, rollups)
    slides = Slides(pool=pool, tables=tables, days=days, currency=currency, clock=clock, slid=roll_ups.wake)
    consumer = BatchConsumer(
        service=NAME,
        topics=(ACCOUNTS, ACTIVITY),
        handler=Handlers(tables, days, currency),
        pool=pool,
        settings=settings,
        clock=clock,
        telemetry=telemetry,
        after_commit=roll_ups.wake,
    )
    shadow = await create_pool(
        settings.database_url, name=f"{NAME}-rebuild", search_path="rebuild", command_seconds=None
    )
    new = NewTables(shadow=shadow, table=rebuilds, tables=tables, days=days, currency=currency, clock=clock)
    rebuild = Rebuild(
        service=NAME,
        settings=settings,
        topics=(ACCOUNTS, ACTIVITY),
        whole=(),
        handler=new.handler,
        following=new.following,
        filled=new.filled,
        tables=new,
        pool=pool,
        shadow=shadow,
        clock=clock,
        telemetry=telemetry,
        swapped=roll_ups.wake,
    )

    async def lag_of_accounts() -> int:
        return (await consumer.flow()).lag[ACCOUNTS.name]

    relay = Relay(service=NAME, dsn=settings.database_url, settings=settings, telemetry=telemetry)
    republisher = Republisher(pool, [KpisAgain(tables, currency)], clock)
    parts = {
        "slides": slides.probe,
        "rollups": roll_ups.probe,
        "rebuild": rebuild.probe,
        "republish": republisher.probe,
    }
    flow = Flow(service=NAME, clock=clock, pool=pool, consumers=(consumer,), parts=parts, metrics=telemetry.metrics)
    checks = {
        "postgres": postgres_check(pool),
        "consumer": status_check(lambda: consumer.ready, lambda: consumer.status),
    }
    api = create_api(
        reads=Reads(
            pool=api_pool,
            table=reading,
            days=days,
            clock=clock,
            currency=currency,
            freshness=Freshness(lag_of_accounts),
        ),
        verifier=verifier,
        worker_pool=pool,
        table=reading,
        currency=currency,
        routers=[
            dead_letter_api.router(pool=pool, verifier=verifier, clock=clock),
            rebuild_api.router(rebuild, verifier),
            republish_api.router(republisher, verifier),
        ],
    )
    return Service(
        name=NAME,
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=api,
        components=(consumer, relay, slides, roll_ups, rebuild, republisher),
        resources=(api_pool.close, shadow.close, pool.close),
    )


if __name__ == "__main__":
    run(NAME, MetricsSettings, build)
