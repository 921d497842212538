"""Metrics as one process: wiring, and nothing else. Run it with `python -m services.metrics.app`."""

from dataclasses import dataclass

import asyncpg
from fastapi import FastAPI

from contracts.topics import ACCOUNTS, ACTIVITY
from contracts.values import Model
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
from services.runtime.clock import Clock, build_clock
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


@dataclass(frozen=True, slots=True)
class _Ground:
    """What everything here stands on."""

    settings: MetricsSettings
    clock: Clock
    telemetry: Telemetry
    days: CompanyDays
    tables: Tables
    pool: asyncpg.Pool

    @property
    def currency(self) -> str:
        """The company's."""
        return self.settings.reporting_currency


async def build(settings: MetricsSettings) -> Service:
    """Wire the service; touches neither broker nor database."""
    pool = await create_pool(settings.database_url, name=NAME, command_seconds=settings.answer_seconds)
    api_pool = await create_pool(
        settings.api_database_url or "", name=f"{NAME}-api", statement_timeout_ms=10_000, command_seconds=ANSWER_PEOPLE
    )
    shadow = await create_pool(
        settings.database_url, name=f"{NAME}-rebuild", search_path="rebuild", command_seconds=None
    )
    clock, telemetry, days = build_clock(settings), Telemetry(NAME, settings), CompanyDays(settings.zone)
    on = _Ground(settings, clock, telemetry, days, Tables(facts, states, accounts, rollups), pool)
    roll_ups = RollUps(pool, rollups)
    slides = Slides(pool=pool, tables=on.tables, days=days, currency=on.currency, clock=clock, slid=roll_ups.wake)
    consumer = _consumer(on, roll_ups)
    relay = Relay(service=NAME, dsn=settings.database_url, settings=settings, telemetry=telemetry)
    rebuild, republisher = _rebuild(on, shadow, roll_ups), Republisher(pool, [KpisAgain(on.tables, on.currency)], clock)
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
    return Service(
        name=NAME,
        settings=settings,
        operations=operations_app(checks, flow.report, telemetry),
        api=_api(on, api_pool, Freshness.of(consumer, ACCOUNTS), rebuild, republisher),
        components=(consumer, relay, slides, roll_ups, rebuild, republisher),
        resources=(api_pool.close, shadow.close, pool.close),
    )


def _consumer(on: _Ground, roll_ups: RollUps) -> BatchConsumer[Model]:
    return BatchConsumer(
        service=NAME,
        topics=(ACCOUNTS, ACTIVITY),
        handler=Handlers(on.tables, on.days, on.currency),
        pool=on.pool,
        settings=on.settings,
        clock=on.clock,
        telemetry=on.telemetry,
        after_commit=roll_ups.wake,
    )


def _rebuild(on: _Ground, shadow: asyncpg.Pool, roll_ups: RollUps) -> Rebuild:
    new = NewTables(shadow=shadow, table=rebuilds, tables=on.tables, days=on.days, currency=on.currency, clock=on.clock)
    return Rebuild(
        service=NAME,
        settings=on.settings,
        topics=(ACCOUNTS, ACTIVITY),
        whole=(),
        handler=new.handler,
        following=new.following,
        filled=new.filled,
        tables=new,
        pool=on.pool,
        shadow=shadow,
        clock=on.clock,
        telemetry=on.telemetry,
        swapped=roll_ups.wake,
    )


def _api(on: _Ground, pool: asyncpg.Pool, fresh: Freshness, rebuild: Rebuild, republisher: Republisher) -> FastAPI:
    verifier = TokenVerifier.from_settings(on.settings)
    return create_api(
        reads=Reads(pool=pool, table=reading, days=on.days, clock=on.clock, currency=on.currency, freshness=fresh),
        verifier=verifier,
        worker_pool=on.pool,
        table=reading,
        currency=on.currency,
        routers=[
            dead_letter_api.router(pool=on.pool, verifier=verifier, clock=on.clock),
            rebuild_api.router(rebuild, verifier),
            republish_api.router(republisher, verifier),
        ],
    )


if __name__ == "__main__":
    run(NAME, MetricsSettings, build)
