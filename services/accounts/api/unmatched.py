"""`/v1/unmatched`: what matches no account, so that nothing is lost in silence."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from services.accounts.api.access import Desk, answer, cursor_of, read_cursor
from services.accounts.domain.identities import identity_key
from services.runtime.auth import Caller


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1/unmatched", tags=["unmatched"])
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("")
    async def list_parties(caller: caller_of, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> Response:
        """List identities of whom nobody knows whose they are, those seen most first."""
        async with desk.view(caller) as views:
            rows = await views.unmatched_parties(limit)
        items = []
        for row in rows:
            kind, _, value = row["identity_key"].partition(":")
            items.append(
                {"kind": kind, "value": value, **{name: row[name] for name in ("interactions", "first_at", "last_at")}}
            )
        return answer({"items": items})

    @routes.get("/interactions")
    async def list_interactions(
        caller: caller_of,
        kind: Annotated[str | None, Query(max_length=20)] = None,
        value: Annotated[str | None, Query(max_length=1024)] = None,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        """List interactions that match no account, latest first; `kind` and `value` narrow to one identity."""
        position = read_cursor(cursor)
        key = identity_key(kind, value) if kind and value else None
        async with desk.view(caller) as views:
            rows = await views.unmatched_interactions(key, position, limit)
        items = [
            {
                "id": row["id"],
                "kind": row["kind"],
                "occurred_at": row["occurred_at"],
                "present": row["present"],
                "parties": row["state"].get("parties", []),
                "detail": row["state"]["detail"],
                "sources": row["state"]["sources"],
            }
            for row in rows
        ]
        more = cursor_of(rows[-1]["occurred_at"], rows[-1]["id"]) if len(rows) == limit else None
        return answer({"items": items, "next": more})

    return routes
