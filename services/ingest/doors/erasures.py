"""`POST /v1/erasures`: forget people in what ingest itself keeps."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.ingest.domain.identities import normalise_address
from services.runtime.auth import TokenVerifier, require_role
from services.runtime.problems import FieldError, Problem, invalid

Erase = Callable[[Sequence[str]], Awaitable[int]]
"""normalised addresses → in how many meetings or series they stood. Raises the database's faults."""


class Erasure(BaseModel):
    """Whom to forget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(min_length=1, max_length=100)]


def router(erase: Erase, verifier: TokenVerifier) -> APIRouter:
    """Return the route, for callers with the role operator."""
    operator = Depends(require_role("operator", verifier))
    routes = APIRouter(prefix="/v1/erasures", tags=["operators"], dependencies=[operator])

    @routes.post("")
    async def erase_people(erasure: Erasure) -> dict[str, Any]:
        """Forget people in planned meetings: who comes, and the texts of those meetings. Again changes nothing.

        A calendar that still names them names them again: erase them there first. What other services keep is left.
        """
        try:
            return {"meetings": await erase([_address(place, one) for place, one in enumerate(erasure.addresses)])}
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            detail = "The database does not answer; what was forgotten by then stays so. Send the same again."
            raise Problem(503, "Not forgotten yet", detail, "unavailable", headers={"Retry-After": "2"}) from None

    return routes


def _address(place: int, written: str) -> str:
    address = normalise_address(written)
    if address is None:
        raise invalid([FieldError(f"addresses.{place}", "is no mail address", "write one like maria@acme.example")])
    return address
