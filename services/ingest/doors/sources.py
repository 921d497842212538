"""`/v1/sources`: how every source stands, for operators."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Protocol

import asyncpg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.runtime.auth import TokenVerifier, require_role
from services.runtime.problems import Problem, not_found


class Shown(Protocol):
    """How one source stands."""

    def page(self) -> dict[str, Any]:
        """Return it as JSON values."""
        ...


Standings = Callable[[], Awaitable[Sequence[Shown]]]
"""How all configured sources stand now; raises the database's faults."""


class TestRecord(BaseModel):
    """A record as its publisher would put it on `tenure.inbound`; only for sources that are read from there."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    __test__ = False

    headers: Annotated[dict[str, str], Field(max_length=50)] = {}
    value: Annotated[str, Field(max_length=1_000_000)]


Probe = Callable[[str, TestRecord | None], Awaitable[Sequence[Mapping[str, Any]]]]
"""Tries out the source of that name; returns steps with outcomes. Raises KeyError for what only a delivery can try."""


def router(standings: Standings, probe: Probe, verifier: TokenVerifier) -> APIRouter:
    """Return the routes."""
    operator = Depends(require_role("operator", verifier))
    routes = APIRouter(prefix="/v1/sources", tags=["sources"], dependencies=[operator])

    async def pages() -> list[dict[str, Any]]:
        try:
            return [one.page() for one in await standings()]
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            detail = "The database does not answer; sources are served all the same. Try again."
            raise Problem(503, "Not known for now", detail, "unavailable") from None

    @routes.get("")
    async def list_sources() -> dict[str, Any]:
        """Say of every configured source what it sent, up to when it is complete, and whether it is quiet."""
        return {"items": await pages()}

    @routes.get("/{name}")
    async def show_source(name: str) -> dict[str, Any]:
        """Say how one source stands."""
        for page in await pages():
            if page["name"] == name:
                return page
        raise not_found("source")

    @routes.post("/{name}/test")
    async def test_source(name: str, record: TestRecord | None = None) -> dict[str, Any]:
        """Try a source out and say step by step how it went: what we ask ourselves is asked, and nothing is taken."""
        try:
            steps = await probe(name, record)
        except KeyError:
            detail = "It delivers by itself; try it by a delivery: `tenure sources test`."
            raise Problem(404, "Nothing to ask", detail, "not-polled") from None
        return {"test": True, "steps": list(steps)}

    return routes
