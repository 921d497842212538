"""`/v1/destinations`, `/v1/routes`, `/v1/deliveries`: where alerts go, and what became of them. For operators."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import asyncpg
import uuid6
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.alerts import RuleName, Severity
from contracts.envelope import format_instant
from services.notifier.api.scope import Scope, Tables
from services.notifier.domain.ports import DeliveryLog, DestinationTables, Row
from services.runtime.auth import require_role
from services.runtime.postgres import acquire, transaction
from services.runtime.problems import FieldError, Problem, invalid, not_found

_Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


class NewDestination(BaseModel):
    """A mailbox or a web hook that alerts can be routed to."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["mail", "webhook"]
    name: _Line
    address: _Line
    """A mail address, or an https URL."""
    secret_file: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None
    """Name of a file in TENURE_SECRETS_DIR that holds the `whsec_` secret."""

    @model_validator(mode="after")
    def _address_fits_the_kind(self) -> Self:
        if self.kind == "webhook" and not self.address.startswith(("https://", "http://")):
            msg = "address of a web hook must be an http(s) URL"
            raise ValueError(msg)
        if self.kind == "webhook" and self.secret_file is None:
            msg = "a web hook needs secret_file: its messages are signed"
            raise ValueError(msg)
        if self.kind == "mail" and "@" not in self.address:
            msg = "address of a mailbox must be a mail address"
            raise ValueError(msg)
        return self


class ChangedDestination(BaseModel):
    """What may change: whether its queue rests, and whether it gets anything new."""

    model_config = ConfigDict(extra="forbid")

    paused: bool | None = None
    active: bool | None = None


class NewRoute(BaseModel):
    """Which steps go to a destination; a field that is left out does not narrow it."""

    model_config = ConfigDict(extra="forbid")

    destination_id: UUID
    rule: RuleName | None = None
    least_severity: Severity = "info"
    account_id: UUID | None = None
    owner_id: UUID | None = None
    spoken_only: bool = False


def router(scope: Scope, tables: Tables, secrets: Path | None, deliver: Callable[[], None]) -> APIRouter:
    """Return the routes."""
    operator = Depends(require_role("operator", scope.verifier))
    routes = APIRouter(prefix="/v1", tags=["deliveries"], dependencies=[operator])
    _add_destinations(routes, scope.pool, tables.destinations, secrets, deliver)
    _add_routes(routes, scope.pool, tables.destinations)
    _add_deliveries(routes, scope.pool, tables.deliveries, deliver)
    return routes


def _add_destinations(
    routes: APIRouter,
    pool: asyncpg.Pool,
    destinations: DestinationTables,
    secrets: Path | None,
    deliver: Callable[[], None],
) -> None:
    @routes.get("/destinations")
    async def list_destinations() -> dict[str, Any]:
        """List destinations; every user has a mailbox of their own among them."""
        async with acquire(pool) as connection:
            return {"items": [dict(row) for row in await destinations.destinations(connection)]}

    @routes.post("/destinations", status_code=201)
    async def add_destination(body: NewDestination) -> dict[str, Any]:
        """Add a mailbox or web hook. It gets alerts once a route leads to it."""
        if body.secret_file is not None and (secrets is None or not (secrets / body.secret_file).is_file()):
            wrong = FieldError("secret_file", "there is no such file", "put it into TENURE_SECRETS_DIR first")
            raise invalid([wrong])
        destination_id = str(uuid6.uuid7())
        async with acquire(pool) as connection:
            await destinations.add_destination(connection, destination_id, body.model_dump())
        return {"destination_id": destination_id, **body.model_dump()}

    @routes.patch("/destinations/{destination_id}")
    async def change_destination(destination_id: UUID, body: ChangedDestination) -> dict[str, Any]:
        """Pause a destination (its queue waits) or switch it off (it gets nothing new)."""
        async with acquire(pool) as connection:
            row = await destinations.change_destination(
                connection, str(destination_id), paused=body.paused, active=body.active
            )
        if row is None:
            raise not_found("destination")
        deliver()
        return dict(row)


def _add_routes(routes: APIRouter, pool: asyncpg.Pool, destinations: DestinationTables) -> None:
    @routes.get("/routes")
    async def list_routes() -> dict[str, Any]:
        """List routes."""
        async with acquire(pool) as connection:
            return {"items": [dict(row) for row in await destinations.routes(connection)]}

    @routes.post("/routes", status_code=201)
    async def add_route(body: NewRoute) -> dict[str, Any]:
        """Send steps to a destination from now on."""
        route_id, given = str(uuid6.uuid7()), body.model_dump(mode="json")
        async with acquire(pool) as connection:
            if not await destinations.add_route(connection, route_id, given):
                raise invalid([FieldError("destination_id", "there is no such destination", "add it first")])
        return {"route_id": route_id, **given}

    @routes.delete("/routes/{route_id}", status_code=204)
    async def remove_route(route_id: UUID) -> None:
        """Send nothing more; what is queued still goes out."""
        async with acquire(pool) as connection:
            if not await destinations.remove_route(connection, str(route_id)):
                raise not_found("route")


def _add_deliveries(
    routes: APIRouter, pool: asyncpg.Pool, deliveries: DeliveryLog, deliver: Callable[[], None]
) -> None:
    @routes.get("/deliveries")
    async def list_deliveries(
        state: Literal["waiting", "delivered", "dead", "withdrawn", "any"] = "any",
        destination: UUID | None = None,
        alert: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """List deliveries, the latest first; `dead` were given up after 72 hours, `withdrawn` never sent."""
        async with acquire(pool) as connection:
            found = await deliveries.listing(
                connection,
                state=None if state == "any" else state,
                destination_id=None if destination is None else str(destination),
                alert_id=None if alert is None else str(alert),
                limit=limit,
            )
        return {"items": [_shown(row) for row in found]}

    @routes.get("/deliveries/{delivery_id}")
    async def show_attempts(delivery_id: UUID) -> dict[str, Any]:
        """Show every attempt of a delivery with its outcome."""
        async with acquire(pool) as connection:
            found = await deliveries.attempts_of(connection, str(delivery_id))
        return {"delivery_id": str(delivery_id), "attempts": [_shown(row) for row in found]}

    @routes.post("/deliveries/{delivery_id}/retry", status_code=202)
    async def retry(delivery_id: UUID) -> dict[str, Any]:
        """Try a delivery again now; one that was given up gets 72 fresh hours."""
        async with transaction(pool) as connection:
            if not await deliveries.retry(connection, str(delivery_id)):
                raise Problem(409, "Nothing to retry", "There is no such delivery, or it has arrived.", "not-retryable")
        deliver()
        return {"delivery_id": str(delivery_id), "state": "waiting"}


def _shown(row: Row) -> dict[str, Any]:
    return {name: format_instant(value) if isinstance(value, datetime) else value for name, value in dict(row).items()}
