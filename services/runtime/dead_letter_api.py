"""The operator's endpoints over dead letters, the same in every service. The CLI and the console use them."""

from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from contracts.envelope import format_instant
from services.runtime import dead_letters, outbox, replaying
from services.runtime.auth import Caller, TokenVerifier, require_role
from services.runtime.clock import Clock
from services.runtime.dead_letters import LetterFilter
from services.runtime.postgres import acquire, transaction
from services.runtime.problems import Problem, not_found

_State = Literal["waiting", "replayed", "dropped", "any"]


class Selection(BaseModel):
    """Which waiting letters a bulk call is about. Without any field: all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str | None = None
    reason: str | None = None
    source: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    up_to: UUID | None = Field(default=None, description="none newer than this letter, as a dry run named it")
    dry_run: bool = False

    @property
    def filter(self) -> LetterFilter:
        """The same for the table."""
        up_to = None if self.up_to is None else str(self.up_to)
        return LetterFilter(self.topic, self.reason, self.source, self.since, self.until, up_to)


class Dropping(Selection):
    """The same, with the reason for those who ask later."""

    why: Annotated[str, Field(min_length=1, max_length=500)]


def router(*, pool: asyncpg.Pool, verifier: TokenVerifier, clock: Clock) -> APIRouter:
    """Return `/v1/dead-letters`, for callers with the role operator. `pool` is the worker's: rows are changed."""
    routes = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
    operator = Depends(require_role("operator", verifier))
    _add_bulk(routes, pool, operator, clock)

    @routes.get("", dependencies=[operator])
    async def list_dead_letters(  # noqa: PLR0917 - query parameters
        topic: str | None = None,
        reason: str | None = None,
        source: str | None = None,
        since: AwareDatetime | None = None,
        until: AwareDatetime | None = None,
        state: _State = "waiting",
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """List dead letters, newest first; follow `next` for more."""
        async with acquire(pool) as connection:
            rows = await dead_letters.listing(
                connection,
                LetterFilter(topic, reason, source, since, until),
                state=None if state == "any" else state,
                before=None if before is None else str(before),
                limit=limit,
            )
        return {"items": [_summary(row) for row in rows], "next": rows[-1]["id"] if len(rows) == limit else None}

    @routes.get("/{letter_id}", dependencies=[operator])
    async def show_dead_letter(letter_id: UUID) -> dict[str, Any]:
        """Show one dead letter with its key, value and headers as they came, in base64."""
        async with acquire(pool) as connection:
            row = await dead_letters.show(connection, str(letter_id))
        if row is None:
            raise not_found("dead letter")
        return _summary(row) | {
            "key": _base64(row["record_key"]),
            "value": _base64(row["value"]),
            "headers": _headers(row),
        }

    @routes.post("/{letter_id}/replay", status_code=202)
    async def replay_dead_letter(letter_id: UUID, caller: Annotated[Caller, operator]) -> dict[str, Any]:
        """Send the record through its topic again, as it came. It cannot have a second effect."""
        async with transaction(pool) as connection:
            if not await _replay(connection, str(letter_id), caller, clock.now()):
                raise await _not_waiting(connection, letter_id)
        return {"id": str(letter_id), "state": "replayed"}

    @routes.delete("/{letter_id}")
    async def drop_dead_letter(
        letter_id: UUID, caller: Annotated[Caller, operator], why: Annotated[str, Query(min_length=1, max_length=500)]
    ) -> dict[str, Any]:
        """Give the record up. The row stays, with who dropped it and why."""
        async with acquire(pool) as connection:
            if not await dead_letters.drop(connection, str(letter_id), _who(caller), why, clock.now()):
                raise await _not_waiting(connection, letter_id)
        return {"id": str(letter_id), "state": "dropped"}

    return routes


def _add_bulk(routes: APIRouter, pool: asyncpg.Pool, operator: Any, clock: Clock) -> None:
    @routes.post("/replay", status_code=202)
    async def replay_dead_letters(selection: Selection, caller: Annotated[Caller, operator]) -> dict[str, Any]:
        """Send the oldest letters of the selection through their topics again; repeat until `matching` is 0."""
        replayed = 0
        async with transaction(pool) as connection:
            if not selection.dry_run:
                replayed = await _replay(connection, selection.filter, caller, clock.now())
            number, newest = await dead_letters.matching(connection, selection.filter)
        return {"replayed": replayed, "matching": number, "newest": newest}

    @routes.post("/drop")
    async def drop_dead_letters(dropping: Dropping, caller: Annotated[Caller, operator]) -> dict[str, Any]:
        """Give all letters of the selection up. The rows stay, with who dropped them and why."""
        dropped = 0
        async with transaction(pool) as connection:
            if not dropping.dry_run:
                dropped = await dead_letters.drop(connection, dropping.filter, _who(caller), dropping.why, clock.now())
            number, newest = await dead_letters.matching(connection, dropping.filter)
        return {"dropped": dropped, "matching": number, "newest": newest}


async def _replay(connection: asyncpg.Connection, which: LetterFilter | str, caller: Caller, now: datetime) -> int:
    rows = await dead_letters.replay(connection, which, _who(caller), now)
    if rows:
        await outbox.append_raw(connection, [replaying.again(row, now) for row in rows])
    return len(rows)


async def _not_waiting(connection: asyncpg.Connection, letter_id: UUID) -> Problem:
    row = await dead_letters.show(connection, str(letter_id))
    if row is None:
        return not_found("dead letter")
    return Problem(
        409, "Settled already", f"It was {row['state']} by {row['settled_by']}; nothing was changed.", "settled"
    )


def _who(caller: Caller) -> str:
    return f"{caller.issuer} {caller.subject}"


def _summary(row: asyncpg.Record) -> dict[str, Any]:
    summary = {
        "id": row["id"],
        "topic": row["topic"],
        "partition": row["partition_id"],
        "offset": row["record_offset"],
        "reason": row["reason"],
        "detail": row["detail"],
        "handler": row["handler"],
        "source": row["source"],
        "traceparent": row["traceparent"],
        "recordedtime": _moment(row["recordedtime"]),
        "created_at": _moment(row["created_at"]),
        "state": row["state"],
    }
    if row["state"] != "waiting":
        summary |= {
            "settled_at": _moment(row["settled_at"]),
            "settled_by": row["settled_by"],
            "settled_why": row["settled_why"],
        }
    return summary


def _headers(row: asyncpg.Record) -> list[dict[str, Any]]:
    pairs = zip(row["header_names"], row["header_values"], strict=True)
    return [{"name": name.decode("utf-8", "backslashreplace"), "value": _base64(value)} for name, value in pairs]


def _base64(content: bytes | None) -> str | None:
    return None if content is None else b64encode(content).decode()


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else format_instant(moment)
