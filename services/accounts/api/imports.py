"""`/v1/imports/{table}`: CSV tables of users, accounts, contacts, domains.

Good rows go in, bad ones come back with line and reason; each row is taken whole or not at all.
"""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Annotated, Any

import asyncpg
import structlog
from fastapi import APIRouter, Depends, Query, Request, Response

from services.accounts.api.access import Desk, Edit, answer
from services.accounts.api.rows import apply_row
from services.accounts.domain.csvs import COLUMNS, READERS, BadCell, BadFile, Cells, Rejected, Row, TableName, read
from services.runtime.auth import Caller
from services.runtime.problems import FieldError, Problem, invalid

_CHUNK = 200
_log = structlog.get_logger(__name__)


def router(desk: Desk, zone: tzinfo) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1/imports", tags=["imports"])
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/{table}")
    async def import_table(
        caller: caller_of,
        table: TableName,
        request: Request,
        dry_run: Annotated[bool, Query()] = False,  # noqa: FBT002 - a query parameter
    ) -> Response:
        """Import a table. The same file twice changes nothing; `dry_run=true` says what would happen."""
        async with desk.edit(caller, dry_run=True) as edit:
            edit.need(edit.is_operator, "the role operator or admin")
        rows, rejected = _parse(table, await _body(request), zone)
        accepted = 0
        if dry_run:
            async with desk.edit(caller, identities=True, dry_run=True) as edit:
                taken, waiting = await _take(edit, rows, desk.region)
                accepted = len(taken)
        else:
            accepted, waiting = await _in_chunks(desk, caller, rows)
        rejected += [Rejected(line, bad.column, bad.reason, bad.remedy) for line, _, bad in waiting if bad is not None]
        rejected.sort(key=lambda one: one.line)
        return answer(
            {
                "accepted": accepted,
                "rejected": [
                    {"line": one.line, "column": one.column, "reason": one.reason, "remedy": one.remedy}
                    for one in rejected
                ],
                "dry_run": dry_run,
            }
        )

    return routes


_Numbered = tuple[int, Row]
_Waiting = tuple[int, Row, BadCell | None]


async def _body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in {"text/csv", "application/csv", "application/vnd.ms-excel", "text/plain"}:
        raise Problem(415, "Not a CSV file", "Send the table as text/csv.", "unsupported-media-type")
    return await request.body()


def _parse(table: TableName, content: bytes, zone: tzinfo) -> tuple[list[_Numbered], list[Rejected]]:
    rows: list[_Numbered] = []
    rejected: list[Rejected] = []
    try:
        for cells in read(content, COLUMNS[table]):
            if isinstance(cells, Cells):
                try:
                    rows.append((cells.line, READERS[table](cells, zone)))
                except BadCell as bad:
                    rejected.append(Rejected(cells.line, bad.column, bad.reason, bad.remedy))
            else:
                rejected.append(cells)
    except BadFile as bad:
        raise invalid(
            [FieldError(bad.column, bad.reason, bad.remedy)], "The file cannot be read; nothing was changed."
        ) from None
    return rows, rejected


async def _in_chunks(desk: Desk, caller: Caller, rows: Sequence[_Numbered]) -> tuple[int, list[_Waiting]]:
    """Take rows in transactions of bounded size; those that refer to others come again after them."""
    accepted = 0
    waiting: list[_Waiting] = [(line, row, None) for line, row in rows]
    while waiting:
        progress = False
        left: list[_Waiting] = []
        for start in range(0, len(waiting), _CHUNK):
            async with desk.edit(caller, identities=True) as edit:
                taken, rest = await _take(
                    edit, [(line, row) for line, row, _ in waiting[start : start + _CHUNK]], desk.region
                )
                if taken:
                    await edit.note("imported", "table", None, {"rows": len(taken)})
            accepted += len(taken)
            left += rest
            progress = progress or bool(taken)
        waiting = left
        if not progress:
            break
    return accepted, waiting


async def _take(edit: Edit, rows: Sequence[_Numbered], region: str) -> tuple[list[int], list[_Waiting]]:
    """Take what can be taken, each row whole or not at all; again while that helps others."""
    taken: list[int] = []
    waiting: list[_Waiting] = [(line, row, None) for line, row in rows]
    while waiting:
        left: list[_Waiting] = []
        for line, row, _ in waiting:
            bad = await _try(edit, row, region)
            if bad is None:
                taken.append(line)
            else:
                left.append((line, row, bad))
        if len(left) == len(waiting):
            return taken, left
        waiting = left
    return taken, []


async def _try(edit: Edit, row: Any, region: str) -> BadCell | None:
    try:
        async with edit.tables.savepoint():
            await apply_row(edit, row, region)
    except BadCell as bad:
        return bad
    except Problem as problem:
        return BadCell("row", problem.title.lower(), problem.detail)
    except asyncpg.IntegrityConstraintViolationError as error:
        # What no check before has foreseen must not keep the other rows out.
        _log.warning("a row cannot be kept", table=type(row).__name__, constraint=error.constraint_name)
        return BadCell("row", "contradicts what is known", "compare its days with those that the API shows")
    return None
