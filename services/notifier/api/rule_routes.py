"""`/v1/rules`: thresholds are data; a change is a new version, and alerts name the version that fired."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.alerts import RuleName
from contracts.envelope import format_instant
from services.notifier.api.scope import Scope
from services.notifier.domain.ports import Row, RuleTables
from services.notifier.domain.rules import THRESHOLDS
from services.runtime.auth import Caller, authenticated, require_role
from services.runtime.postgres import acquire, transaction
from services.runtime.problems import field_errors, invalid


class NewVersion(BaseModel):
    """Thresholds that hold from now on; a field that is left out has its default."""

    model_config = ConfigDict(extra="forbid")

    thresholds: dict[str, Any]
    note: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
    """Why they change, for whoever asks later."""


def router(scope: Scope, rules: RuleTables, look: Callable[[], None]) -> APIRouter:
    """Return the routes. Everybody who is signed in may read; operators change."""
    routes = APIRouter(prefix="/v1/rules", tags=["rules"])
    signed_in = Depends(authenticated(scope.verifier))
    operator = Depends(require_role("operator", scope.verifier))

    @routes.get("", dependencies=[signed_in])
    async def list_rules() -> dict[str, Any]:
        """List the versions of every rule, the latest first: that one holds."""
        async with acquire(scope.pool) as connection:
            found = await rules.versions(connection)
        return {"items": [_shown(row) for row in found]}

    @routes.get("/{rule}", dependencies=[signed_in])
    async def show_rule(rule: RuleName) -> dict[str, Any]:
        """List the versions of one rule, the latest first."""
        async with acquire(scope.pool) as connection:
            found = await rules.versions(connection, rule)
        return {"items": [_shown(row) for row in found]}

    @routes.post("/{rule}", status_code=201)
    async def change_rule(rule: RuleName, body: NewVersion, caller: Annotated[Caller, operator]) -> dict[str, Any]:
        """Give a rule new thresholds; every account is looked at anew under them."""
        try:
            thresholds = THRESHOLDS[rule].model_validate(body.thresholds)
        except ValidationError as wrong:
            errors = [{**error, "loc": ("thresholds", *error["loc"])} for error in wrong.errors(include_input=False)]
            raise invalid(field_errors(errors)) from None
        stated = thresholds.model_dump(mode="json")
        async with transaction(scope.pool) as connection:
            version = await rules.add_version(
                connection, rule, stated, note=body.note, by=caller.subject, now=scope.clock.now()
            )
        look()
        return {"rule": rule, "version": version, "thresholds": stated, "note": body.note}

    return routes


def _shown(row: Row) -> dict[str, Any]:
    thresholds = THRESHOLDS[row["rule"]].model_validate(row["thresholds"])
    return {
        "rule": row["rule"],
        "version": row["version"],
        "thresholds": thresholds.model_dump(mode="json"),
        "note": row["note"],
        "created_at": format_instant(row["created_at"]),
        "created_by": row["created_by"],
    }
