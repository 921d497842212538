"""The operator's endpoints over republishing, the same in every service that owns a topic of states."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from services.runtime.auth import Caller, TokenVerifier, require_role
from services.runtime.problems import FieldError, Problem, invalid, not_found
from services.runtime.republish import Republisher, shown


class Asked(BaseModel):
    """What is to be said again; without `parts` everything. `fresh_versions` is for after a restore."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: list[str] | None = None
    fresh_versions: bool = False


_EVERYTHING = Asked()


def router(republisher: Republisher, verifier: TokenVerifier) -> APIRouter:
    """Return `/v1/republish`, for callers with the role operator."""
    routes = APIRouter(prefix="/v1/republish", tags=["republish"])
    operator = Depends(require_role("operator", verifier))

    async def one(run_id: str) -> dict[str, Any]:
        found = await republisher.runs(run_id)
        if not found:
            raise not_found("run")
        return shown(found[0])

    @routes.post("", status_code=202)
    async def begin_republish(caller: Annotated[Caller, operator], asked: Asked = _EVERYTHING) -> dict[str, Any]:
        """Say current states again, with the versions that they have; follow the run until it is published."""
        parts = republisher.parts if asked.parts is None else asked.parts
        unknown = sorted(set(parts) - set(republisher.parts))
        if unknown or not parts:
            message = f"{unknown[0][:40]} is not said here" if unknown else "names nothing"
            raise invalid([FieldError("parts", message, f"choose from {', '.join(republisher.parts)}")])
        run_id = await republisher.begin(
            parts, f"{caller.issuer} {caller.subject}", fresh_versions=asked.fresh_versions
        )
        return await one(run_id)

    @routes.get("", dependencies=[operator])
    async def list_runs() -> dict[str, Any]:
        """List the latest runs, newest first."""
        return {"items": [shown(run) for run in await republisher.runs()]}

    @routes.get("/{run_id}", dependencies=[operator])
    async def show_run(run_id: UUID) -> dict[str, Any]:
        """Show how far a run is; `published`: everything of it has left the outbox."""
        return await one(str(run_id))

    @routes.delete("/{run_id}", dependencies=[operator])
    async def stop_run(run_id: UUID) -> dict[str, Any]:
        """Stop a run where it is. What was said stays said; it does no harm."""
        found = await one(str(run_id))
        if not await republisher.end(str(run_id)) and found["state"] == "finished":
            raise Problem(409, "Finished already", "The run is finished; there is nothing to stop.", "finished")
        return await one(str(run_id))

    return routes
