"""The operator's endpoints over dead letters, the same in every service. The CLI and the console use them."""

from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from contracts.envelope import format_instant
from services.runtime import dead_letters, outbox
from services.runtime.auth import Caller, TokenVerifier, require_role
from services.runtime.clock import Clock
from services.runtime.postgres import acquire, transaction
from services.runtime.problems import Problem, not_found

_State = Literal["waiting", "replayed", "dropped", "any"]


def router(*, pool: asyncpg.Pool, verifier: TokenVerifier, clock: Clock) -> APIRouter:
    """Return `/v1/dead-letters`, for callers with the role operator. `pool` is the worker's: rows are changed."""
    routes = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
    operator = Depends(require_role("operator", verifier))

    @routes.get("", dependencies=[operator])
    async def list_dead_letters(  # noqa: PLR0917 - query parameters
        topic: str | None = None,
        reason: str | None = None,
        source: str | None = None,
        since: AwareDatetime | None = None,
        state: _State = "waiting",
        before: UUID | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        """List dead letters, newest first; follow `next` for more."""
        async with acquire(pool) as connection:
            rows = await dead_letters.listing(
                connection,
                topic=topic,
                reason=reason,
                source=source,
                since=since,
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
        now = clock.now()
        async with transaction(pool) as connection:
            row = await dead_letters.replay(connection, str(letter_id), _who(caller), now)
            if row is None:
                raise await _not_waiting(connection, letter_id)
            names, values = row["header_names"], row["header_values"]
            headers = [(name.decode("utf-8", "replace"), value) for name, value in zip(names, values, strict=True)]
            try:
                await outbox.append_raw(
                    connection,
                    row["topic"],
                    key=row["record_key"],
                    value=row["value"],
                    headers=headers,
                    recordedtime=row["recordedtime"] or now,
                )
            except UnicodeDecodeError:
                detail = "Its key is no text; have the source send it anew, then drop this one."
                raise Problem(409, "Not replayable", detail, "not-replayable") from None
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
