"""The endpoints of metrics."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict

from contracts.currencies import CURRENCIES
from services.metrics.api.reads import Reads, parse_date
from services.metrics.api.tables import RateTable
from services.metrics.domain.scope import PORTFOLIO, Scope
from services.runtime import openapi, problems
from services.runtime.auth import Caller, TokenVerifier, authenticated, require_role
from services.runtime.limits import Limits
from services.runtime.postgres import transaction
from services.runtime.problems import FieldError, invalid, not_found

_HIGHEST_RATE = 1_000_000_000


class Rate(BaseModel):
    """Body of a rate."""

    model_config = ConfigDict(extra="forbid")

    rate: Decimal
    """Units of the reporting currency for one unit."""


def create_api(
    *,
    reads: Reads,
    verifier: TokenVerifier,
    worker_pool: asyncpg.Pool,
    table: RateTable,
    currency: str,
    routers: Iterable[APIRouter] = (),
) -> FastAPI:
    """Return the public app of metrics."""
    app = FastAPI(title="Tenure metrics", version="1", docs_url=None, redoc_url=None, openapi_url=openapi.URL)
    problems.install(app)
    app.add_middleware(Limits)
    rates = _rate_routes(reads, verifier, worker_pool, table, currency)
    for router in (_account_routes(reads, verifier), _scope_routes(reads, verifier), rates, *routers):
        app.include_router(router)
    openapi.publish(app, "Figures per account, manager, team and portfolio as of any day, and what they rest on.")
    return app


def _account_routes(reads: Reads, verifier: TokenVerifier) -> APIRouter:
    routes = APIRouter(prefix="/v1/accounts/{account_id}", tags=["accounts"])
    who = Annotated[Caller, Depends(authenticated(verifier))]

    @routes.get("/kpis")
    async def account_kpis(account_id: UUID, caller: who, as_of: str | None = None) -> dict[str, Any]:
        """Figures of one account, with last touches, open items, order rhythm and what they rest on."""
        return await reads.account(caller, str(account_id), as_of)

    @routes.get("/evidence")
    async def account_evidence(  # noqa: PLR0917 - query parameters
        account_id: UUID,
        caller: who,
        kpi: str,
        window: str,
        as_of: str | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """Interactions behind a value, the latest first; follow `next` for more."""
        return await reads.evidence(
            caller, str(account_id), kpi, window=window, as_of=as_of, cursor=cursor, limit=limit
        )

    return routes


def _scope_routes(reads: Reads, verifier: TokenVerifier) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["roll-ups"])
    who = Annotated[Caller, Depends(authenticated(verifier))]

    @routes.get("/managers/{user_id}/kpis")
    async def manager_kpis(user_id: UUID, caller: who, as_of: str | None = None) -> dict[str, Any]:
        """Figures of a manager: accounts count on the days on which they were the manager's."""
        return await reads.scope(caller, Scope("manager", str(user_id)), as_of)

    @routes.get("/teams/{team_id}/kpis")
    async def team_kpis(team_id: UUID, caller: who, as_of: str | None = None) -> dict[str, Any]:
        """Figures of a team: of those who are in it now."""
        return await reads.scope(caller, Scope("team", str(team_id)), as_of)

    @routes.get("/portfolio/kpis")
    async def portfolio_kpis(caller: who, as_of: str | None = None) -> dict[str, Any]:
        """Figures of all accounts; for admins."""
        return await reads.scope(caller, PORTFOLIO, as_of)

    return routes


def _rate_routes(
    reads: Reads, verifier: TokenVerifier, pool: asyncpg.Pool, table: RateTable, reporting: str
) -> APIRouter:
    routes = APIRouter(prefix="/v1/rates", tags=["rates"])
    who = Annotated[Caller, Depends(authenticated(verifier))]
    admin = Depends(require_role("admin", verifier))

    @routes.get("")
    async def list_rates(caller: who) -> dict[str, Any]:
        """Rates into the reporting currency."""
        return await reads.rates(caller)

    @routes.put("/{code}/{since}", dependencies=[admin])
    async def set_rate(code: str, since: str, body: Rate) -> dict[str, Any]:
        """Set the rate of a currency from a day on; figures in the reporting currency follow at once."""
        if code not in CURRENCIES or code == reporting:
            message = f"{code!r} is no other ISO 4217 currency"
            raise invalid([FieldError("currency", message, f"use a code such as USD, other than {reporting}")])
        if not (body.rate.is_finite() and Decimal(0) < body.rate < _HIGHEST_RATE):
            raise invalid([FieldError("rate", f"must be above zero and below {_HIGHEST_RATE}", "correct the rate")])
        day = parse_date("since", since)
        async with transaction(pool) as connection:
            await table.save_rate(connection, code, day, body.rate)
        return {"currency": code, "since": since, "rate": str(body.rate)}

    @routes.delete("/{code}/{since}", dependencies=[admin])
    async def delete_rate(code: str, since: str) -> dict[str, Any]:
        """Remove a rate."""
        day = parse_date("since", since)
        async with transaction(pool) as connection:
            if not await table.delete_rate(connection, code, day):
                raise not_found("rate")
        return {"currency": code, "since": since}

    return routes
