"""The API as one application."""

from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI

from services.notifier.api import alert_routes, delivery_routes, rule_routes
from services.notifier.api.scope import Scope, Tables
from services.runtime import openapi, problems, republish_api
from services.runtime.dead_letter_api import router as dead_letters
from services.runtime.limits import Limits
from services.runtime.rebuild_api import Rebuilding
from services.runtime.rebuild_api import router as rebuilding
from services.runtime.republish import Republisher
from services.runtime.telemetry import Telemetry


def create_api(
    *,
    scope: Scope,
    tables: Tables,
    telemetry: Telemetry,
    secrets: Path | None,
    look: Callable[[], None],
    deliver: Callable[[], None],
    republisher: Republisher,
    rebuild: Rebuilding,
) -> FastAPI:
    """Return the application. `look` and `deliver` wake poller and dispatcher after a committed change."""
    app = FastAPI(title="Tenure notifier", version="1", docs_url=None, redoc_url=None, openapi_url=openapi.URL)
    problems.install(app)
    app.add_middleware(Limits)
    app.include_router(alert_routes.router(scope, tables, telemetry, look, deliver))
    app.include_router(rule_routes.router(scope, tables.rules, look))
    app.include_router(delivery_routes.router(scope, tables, secrets, deliver))
    app.include_router(dead_letters(pool=scope.pool, verifier=scope.verifier, clock=scope.clock))
    app.include_router(republish_api.router(republisher, scope.verifier))
    app.include_router(rebuilding(rebuild, scope.verifier))
    openapi.publish(app, "Alerts for the people who look after accounts; rules and deliveries for operators.")
    return app
