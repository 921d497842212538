"""Operators' endpoints of a rebuild. `tenure rebuild` calls them in turn."""

from typing import Any, Protocol

from fastapi import APIRouter, Depends

from services.runtime.auth import TokenVerifier, require_role
from services.runtime.problems import not_found


class Rebuilding(Protocol):
    """What the endpoints ask; `rebuild.Rebuild` is one answer."""

    async def begin(self) -> object:
        """Begin, or return what is under way."""
        ...

    async def republished(self) -> object:
        """Take note that everything has been republished."""
        ...

    async def abandon(self) -> object:
        """Give up."""
        ...

    async def describe(self) -> dict[str, Any] | None:
        """Return the last one as JSON values."""
        ...


def router(rebuild: Rebuilding, verifier: TokenVerifier) -> APIRouter:
    """Return `/v1/rebuild`, for callers with the role operator."""
    routes = APIRouter(
        prefix="/v1/rebuild", tags=["rebuild"], dependencies=[Depends(require_role("operator", verifier))]
    )

    async def shown() -> dict[str, Any]:
        found = await rebuild.describe()
        if found is None:
            raise not_found("rebuild")
        return found

    @routes.post("", status_code=202)
    async def begin_rebuild() -> dict[str, Any]:
        """Begin to fill new tables beside the live ones, or show the rebuild that is under way.

        Have accounts republish afterwards, then call `/v1/rebuild/republished`.
        """
        await rebuild.begin()
        return await shown()

    @routes.get("")
    async def show_rebuild() -> dict[str, Any]:
        """The last rebuild: how far it is, or what it found to differ."""
        return await shown()

    @routes.post("/republished", status_code=202)
    async def note_republished() -> dict[str, Any]:
        """Say that everything has been republished: when it is read, the new tables are compared and swapped in."""
        await rebuild.republished()
        return await shown()

    @routes.delete("")
    async def abandon_rebuild() -> dict[str, Any]:
        """Give up the rebuild that is under way, if there is one."""
        await rebuild.abandon()
        return await shown()

    return routes
