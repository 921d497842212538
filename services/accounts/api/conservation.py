"""`/v1/conservation`: every report that was accepted is in exactly one place, counted by source."""

from collections.abc import Sequence
from typing import Annotated, Any, Protocol

import asyncpg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from services.runtime.auth import TokenVerifier, require_role
from services.runtime.postgres import transaction

PLACES = ("attributed", "unmatched", "nobodys")


class Reported(BaseModel):
    """One record of `tenure.interactions`; `id` is the event's, null where its headers name none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")] | None
    partition: Annotated[int, Field(ge=0, lt=1 << 31)]
    offset: Annotated[int, Field(ge=0, lt=1 << 63)]


class Question(BaseModel):
    """Which records are asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: Annotated[list[Reported], Field(max_length=5000)]


class Counts(Protocol):
    """What the endpoints ask of `store.conservation`."""

    async def by_source(self, connection: asyncpg.Connection) -> dict[str, dict[str, int]]:
        """Return by source how many events are kept in which place, and dead letters by state."""
        ...

    async def repeated(self, connection: asyncpg.Connection) -> dict[str, int]:
        """Return by source how many reports came that the ledger had already."""
        ...

    async def places(
        self, connection: asyncpg.Connection, group: str, records: Sequence[tuple[str | None, int, int]]
    ) -> list[str]:
        """Return for each record (event id, partition, offset) where it is."""
        ...


def router(counts: Counts, *, pool: asyncpg.Pool, group: str, verifier: TokenVerifier) -> APIRouter:
    """Return `/v1/conservation`, for callers with the role operator. `group` is the consumer group's physical name."""
    operator = Depends(require_role("operator", verifier))
    routes = APIRouter(prefix="/v1/conservation", tags=["conservation"], dependencies=[operator])

    @routes.get("")
    async def count_by_source() -> dict[str, Any]:
        """Count, by source, the distinct events that are kept and where they are, repetitions, and the dead letters."""
        async with transaction(pool, readonly=True) as connection:
            counted = await counts.by_source(connection)
            repeated = await counts.repeated(connection)
        return {
            "sources": {
                source: {
                    "events": sum(found.get(place, 0) for place in PLACES),
                    **{place: found.get(place, 0) for place in PLACES},
                    "repeated": repeated.get(source, 0),
                    "dead_letters": {
                        state: found.get(f"dead_letters_{state}", 0) for state in ("waiting", "replayed", "dropped")
                    },
                }
                for source, found in sorted(counted.items())
            }
        }

    @routes.post("")
    async def find_records(question: Question) -> dict[str, Any]:
        """Say where each record is, in the order of the question; `tenure conservation` asks for a whole topic."""
        asked = [(one.id, one.partition, one.offset) for one in question.records]
        async with transaction(pool, readonly=True) as connection:
            return {"places": await counts.places(connection, group, asked)}

    return routes
