"""`/v1/rehearsals`: what would become of reports, were they to come. Nothing is changed."""

from collections.abc import Collection
from datetime import tzinfo
from typing import Annotated, Any, Protocol

import asyncpg
from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.codec import explain
from contracts.events import BY_TYPE, Event
from services.accounts.domain.rehearsal import Kept, interactions_of, keys_of, rehearse
from services.runtime.auth import TokenVerifier, require_role
from services.runtime.postgres import transaction
from services.runtime.problems import FieldError, invalid

MOST = 2000


class Rehearsed(BaseModel):
    """One event as ingest would publish it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[str, Field(max_length=100)]
    data: dict[str, Any]


class Question(BaseModel):
    """Some events, in the order in which they would come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    events: Annotated[list[Rehearsed], Field(max_length=MOST)]


class Stranger(BaseModel):
    """A party that matches no account, and its company's domain where it has one."""

    kind: str
    value: str
    domain: str | None


class Foretold(BaseModel):
    """What would become of one event."""

    id: str
    outcome: Annotated[
        str,
        Field(description="`new`; `changed`: kept, and this revision stands above it; `repeated`: it changes nothing"),
    ]
    matched: Annotated[bool, Field(description="whether its interaction would concern an account")]
    strangers: list[Stranger]


class Answer(BaseModel):
    """The same number of items in the same order."""

    items: list[Foretold]


class Tables(Protocol):
    """What a rehearsal reads. `store` provides it; `app` brings both together."""

    async def load(
        self,
        connection: asyncpg.Connection,
        events: Collection[str],
        interactions: Collection[str],
        keys: Collection[str],
    ) -> Kept:
        """Return what is kept of events, whose interactions are, and who is known under identity keys."""
        ...


def router(tables: Tables, *, pool: asyncpg.Pool, zone: tzinfo, verifier: TokenVerifier) -> APIRouter:
    """Return the resource, for callers with the role operator: they import, and see what is unmatched."""
    routes = APIRouter(
        prefix="/v1/rehearsals", tags=["imports"], dependencies=[Depends(require_role("operator", verifier))]
    )

    @routes.post("")
    async def rehearse_events(question: Question) -> Answer:
        """Say of each event whether it is a repetition, and whom of its parties nobody knows. Nothing is changed."""
        events = [_event(place, one) for place, one in enumerate(question.events)]
        async with transaction(pool, readonly=True) as connection:
            kept = await tables.load(connection, {one.id for one in events}, interactions_of(events), keys_of(events))
        items = [
            Foretold(
                id=one.event.id,
                outcome=one.outcome,
                matched=one.matched,
                strangers=[Stranger(kind=who.kind, value=who.value, domain=who.domain) for who in one.strangers],
            )
            for one in rehearse(events, kept, zone)
        ]
        return Answer(items=items)

    return routes


def _event(place: int, given: Rehearsed) -> Event:
    model = BY_TYPE.get(given.type)
    if model is None:
        raise invalid(
            [FieldError(f"events.{place}.type", "is no type of an event", "send what ingest's dry run shows")]
        )
    try:
        return model.model_validate(given.data)
    except ValidationError as wrong:
        remedy = "send what ingest's dry run shows"
        raise invalid([FieldError(f"events.{place}.data", explain(wrong), remedy)]) from None
