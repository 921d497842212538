"""`/v1/touch-class-rules`: which touches are support, billing or strategic; data that the company changes."""

from typing import Annotated, Literal

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import Field
from uuid6 import uuid7

from services.accounts.api.access import Desk, answer, canonical
from services.accounts.api.accounts import Body
from services.accounts.domain.touch import RuleField
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found


class RuleBody(Body):
    """A rule; those with a lower position are asked first."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    touch_class: Literal["support", "billing", "strategic"]
    position: Annotated[int, Field(ge=0, le=100_000)]
    field: RuleField
    patterns: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=200)]
    active: bool = True


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1/touch-class-rules", tags=["touch class"])
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("")
    async def list_rules(caller: caller_of) -> Response:
        """List the rules in the order in which they are asked."""
        async with desk.view(caller) as views:
            return answer({"items": await views.rules()})

    @routes.post("", status_code=201)
    async def create_rule(caller: caller_of, body: RuleBody) -> Response:
        """Add a rule; every touch is read again by a job."""
        return answer({"id": await _save(caller, None, body)}, 201)

    @routes.put("/{rule}")
    async def change_rule(caller: caller_of, rule: str, body: RuleBody) -> Response:
        """Change a rule, or switch it off with `active`."""
        return answer({"id": await _save(caller, rule, body)})

    async def _save(caller: Caller, rule: str | None, body: RuleBody) -> str:
        async with desk.edit(caller, identities=True) as edit:
            edit.need(edit.is_lead or edit.is_operator, "a lead, an operator or an admin")
            id_ = str(uuid7()) if rule is None else canonical(rule)
            if id_ is None or (rule is not None and not await edit.tables.rule_exists(id_)):
                raise not_found("rule")
            try:
                await edit.tables.save_rule({"id": id_, **body.model_dump()})
            except asyncpg.UniqueViolationError:
                raise Problem(
                    409, "Exists already", f"name: there is a rule called {body.name}; choose another.", "exists"
                ) from None
            edit.everything = True
            await edit.note("touch class rule saved", id_, None, body.model_dump(mode="json"))
        return id_

    return routes
