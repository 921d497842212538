"""`/v1/alerts`: what a caller may see, and the steps that a person takes."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, TypeAdapter

from contracts.alerts import RuleName
from contracts.envelope import format_instant
from contracts.values import Instant, json_safe
from services.notifier.api.scope import Scope, Tables
from services.notifier.domain import life
from services.notifier.domain.life import Alert, NotAllowed, Step
from services.notifier.domain.look import Decided, event_of
from services.notifier.domain.rules import advice
from services.runtime.auth import Caller, authenticated
from services.runtime.postgres import transaction
from services.runtime.problems import FieldError, Problem, invalid, not_found
from services.runtime.telemetry import Telemetry

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


class Snooze(BaseModel):
    """Until when an alert is put off."""

    model_config = ConfigDict(extra="forbid")

    until: Instant


def router(
    scope: Scope, tables: Tables, telemetry: Telemetry, look: Callable[[], None], deliver: Callable[[], None]
) -> APIRouter:
    """Return the routes."""
    alerts = tables.alerts
    routes = APIRouter(prefix="/v1/alerts", tags=["alerts"])
    signed_in = Depends(authenticated(scope.verifier))

    @routes.get("")
    async def list_alerts(  # noqa: PLR0917 - query parameters
        caller: Annotated[Caller, signed_in],
        state: Literal["open", "acknowledged", "snoozed", "resolved", "unresolved", "any"] = "unresolved",
        account: UUID | None = None,
        rule: RuleName | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
    ) -> dict[str, Any]:
        """List alerts of the caller's accounts, the latest change first; follow `next` for more."""
        async with scope.reading(caller) as connection:
            found = await alerts.listing(
                connection,
                state=None if state == "any" else state,
                account_id=None if account is None else str(account),
                rule=rule,
                limit=limit,
                after=None if cursor is None else _position(cursor),
            )
            names = await alerts.account_names(connection, {alert.account_id for alert in found})
        following = _cursor(found[-1]) if len(found) == limit else None
        return {"items": [_shown(alert, names) for alert in found], "next": following}

    @routes.get("/{alert_id}")
    async def show_alert(alert_id: UUID, caller: Annotated[Caller, signed_in]) -> dict[str, Any]:
        """Show one alert with its evidence, what may be done next, and its history."""
        async with scope.reading(caller) as connection:
            alert = await alerts.find(connection, str(alert_id))
            if alert is None:
                raise not_found("alert")
            names = await alerts.account_names(connection, {alert.account_id})
            steps = await alerts.steps_of(connection, alert.alert_id)
        history = [
            {
                "step": row["kind"],
                "at": format_instant(row["taken_at"]),
                "by": row["document"].get("changed_by"),
                "severity": row["document"]["severity"],
                "state": row["document"]["state"],
                "version": row["version"],
            }
            for row in steps
        ]
        return {**_shown(alert, names), "advice": advice(alert.rule), "history": history}

    _add_steps(routes, _Steps(scope, tables, telemetry, look, deliver), signed_in)
    return routes


@dataclass(frozen=True, slots=True)
class _Steps:
    """Takes the step of a person: decided under the account's lock, written with outbox and deliveries."""

    scope: Scope
    tables: Tables
    telemetry: Telemetry
    look: Callable[[], None]
    deliver: Callable[[], None]

    async def take(
        self, alert_id: UUID, caller: Caller, decide: Callable[[Alert, str | None, datetime], Step]
    ) -> dict[str, Any]:
        """Take the step that `decide` gives on behalf of `caller`; 404 and 409 as problems."""
        async with self.scope.reading(caller) as connection:
            seen = await self.tables.alerts.find(connection, str(alert_id))
            by = await self.tables.alerts.user_of(connection, caller.issuer, caller.subject)
        if seen is None:
            raise not_found("alert")
        with self.telemetry.span("notifier step of a person") as trace:
            async with transaction(self.scope.pool) as connection:
                watched = await self.tables.accounts.lock(connection, [seen.account_id])
                # Read again under the lock: the poller may have taken a step meanwhile.
                alert = await self.tables.alerts.find(connection, seen.alert_id)
                assert alert is not None  # noqa: S101 - alerts are never deleted
                try:
                    step = decide(alert, by, self.scope.clock.now())
                except NotAllowed as refused:
                    raise Problem(409, "Not possible now", str(refused), "alert-state") from None
                decided = Decided(watched[seen.account_id], [(step, ())], trace.traceparent)
                await self.tables.taking.take(connection, [decided])
                await self.tables.alerts.look_again(connection, alert.account_id, alert.rule)
                if alert.source is not None:
                    # Silence alerts that wait for the source may speak, or have to wait again.
                    await self.tables.rules.ask_again(connection)
                now_is = await self.tables.alerts.find(connection, seen.alert_id)
        assert now_is is not None  # noqa: S101 - just written
        self.look()
        self.deliver()
        return _shown(now_is, {})


def _add_steps(routes: APIRouter, steps: _Steps, signed_in: Any) -> None:
    @routes.post("/{alert_id}/acknowledge")
    async def acknowledge(alert_id: UUID, caller: Annotated[Caller, signed_in]) -> dict[str, Any]:
        """Take note: the lead is not told, and nothing is said again unless it grows worse."""
        return await steps.take(alert_id, caller, life.acknowledge)

    @routes.post("/{alert_id}/snooze")
    async def snooze(alert_id: UUID, body: Snooze, caller: Annotated[Caller, signed_in]) -> dict[str, Any]:
        """Put it off: it is said again at `until`, if its cause is still there."""
        return await steps.take(alert_id, caller, lambda alert, by, now: life.snooze(alert, body.until, by, now))

    @routes.post("/{alert_id}/resolve")
    async def resolve(alert_id: UUID, caller: Annotated[Caller, signed_in]) -> dict[str, Any]:
        """Say that it is settled: it comes back when its cause goes and returns, or grows worse."""
        return await steps.take(alert_id, caller, life.resolve)

    @routes.post("/{alert_id}/reopen")
    async def reopen(alert_id: UUID, caller: Annotated[Caller, signed_in]) -> dict[str, Any]:
        """Take an acknowledgement, a snooze or a resolution back."""
        return await steps.take(alert_id, caller, life.reopen)


def _shown(alert: Alert, names: dict[str, str]) -> dict[str, Any]:
    shown = json_safe(event_of(Step("opened", alert, alert.changed_at)))
    if alert.account_id in names:
        shown["account_name"] = names[alert.account_id]
    return shown


def _cursor(alert: Alert) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([format_instant(alert.changed_at), alert.alert_id])).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        said, alert_id = orjson.loads(base64.urlsafe_b64decode(cursor))
        moment = _INSTANT.validate_python(said)
        return moment, str(UUID(alert_id))
    except (ValueError, TypeError, AttributeError, binascii.Error):
        raise invalid([FieldError("cursor", "is not one that was given", "take it from `next` as it is")]) from None
