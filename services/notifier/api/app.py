"""The API as one application."""

from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import FastAPI

from services.notifier.api import alert_routes, delivery_routes, rule_routes
from services.notifier.domain.ports import AccountTables, AlertTables, DeliveryTables, DestinationTables, RuleTables
from services.runtime import problems
from services.runtime.auth import TokenVerifier
from services.runtime.clock import Clock
from services.runtime.dead_letter_api import router as dead_letters
from services.runtime.limits import Limits
from services.runtime.telemetry import Telemetry


def create_api(
    *,
    verifier: TokenVerifier,
    pool: asyncpg.Pool,
    api_pool: asyncpg.Pool,
    clock: Clock,
    zone: ZoneInfo,
    telemetry: Telemetry,
    accounts: AccountTables,
    alerts: AlertTables,
    rules: RuleTables,
    deliveries: DeliveryTables,
    destinations: DestinationTables,
    changed: Callable[[], object],
    secrets: Path | None,
) -> FastAPI:
    """Return the application. `pool` writes as the worker, `api_pool` reads under row-level security.

    `changed` is called after every committed change, so that poller and dispatcher look at once.
    """
    app = FastAPI(title="Tenure notifier", version="1", docs_url=None, redoc_url=None)
    problems.install(app)
    app.add_middleware(Limits)
    scope = alert_routes.Scope(verifier, pool, api_pool, clock, zone)
    app.include_router(alert_routes.router(scope, accounts, alerts, telemetry, changed))
    app.include_router(rule_routes.router(verifier, pool, rules, clock, changed))
    app.include_router(delivery_routes.router(verifier, pool, deliveries, destinations, secrets, changed))
    app.include_router(dead_letters(pool=pool, verifier=verifier, clock=clock))
    return app
