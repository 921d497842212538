"""Who may see and change what, and the transactions in which it happens.

A read runs as the reading role under row-level security. An edit runs as the writing role; it first asks the same
function whether the caller may see the account. A manager edits accounts that they see; a lead also decides on owners,
classes and key accounts; an operator imports; an admin may do everything.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, tzinfo
from typing import Any
from uuid import UUID

import asyncpg
import orjson
from fastapi import Response

from services.accounts.api.ports import Edits, Views
from services.runtime.auth import Caller, TokenVerifier, authenticated
from services.runtime.clock import Clock
from services.runtime.postgres import scoped
from services.runtime.problems import FieldError, Problem, invalid, not_found

_BUSY = (
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)


@dataclass(slots=True)
class Edit:
    """One edit: its tables, who makes it, and what it touches (published and read again when it ends)."""

    tables: Edits
    caller: Caller
    user_id: str | None
    role: str | None
    """Of the calling user: manager, lead, operator, admin; None for a token of nobody we know."""
    now: datetime
    today: date
    zone: tzinfo
    """The company's."""
    accounts: set[str] = field(default_factory=set)
    users: set[str] = field(default_factory=set)
    teams: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    """Identities that name somebody else than before."""
    interactions: set[str] = field(default_factory=set)
    renamed: set[str] = field(default_factory=set)
    """Accounts for which another speaks from now on, or no longer."""
    everything: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything."""
        return self.caller.is_admin or self.role == "admin"

    @property
    def is_lead(self) -> bool:
        """Whether the caller decides on owners, classes and key accounts."""
        return self.is_admin or self.role == "lead"

    @property
    def is_operator(self) -> bool:
        """Whether the caller imports and keeps users."""
        return self.is_admin or self.role == "operator" or "operator" in self.caller.roles

    def need(self, right: bool, who: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Refuse the edit unless `right`."""
        if not right:
            raise Problem(403, "Not allowed", f"This needs {who}; ask your administrator.", "forbidden")

    async def account(self, reference: str) -> str:
        """Return the id of an account that the caller may see, given by id or `key:<external key>`; else 404.

        A merged account's id and key name the account that stayed.
        """
        if reference.startswith("key:"):
            found = (await self.tables.accounts_by_key([reference[4:]])).get(reference[4:])
        elif (id_ := canonical(reference)) is not None:
            found = (await self.tables.surviving([id_])).get(id_)
        else:
            found = None
        if found is None or not await self.tables.visible([found]):
            raise not_found("account")
        return found

    async def locked_account(self, reference: str) -> str:
        """Return the id like `account`, and keep others from changing or merging the account until this edit ends."""
        found = await self.account(reference)
        await self.tables.lock_accounts([found])
        return found

    async def contact(self, reference: str) -> str:
        """Return the id of a contact at an account that the caller may see; else 404."""
        if reference.startswith("key:"):
            found = (await self.tables.contacts_by_key([reference[4:]])).get(reference[4:])
        else:
            found = canonical(reference)
        servings = await self.tables.servings(found) if found is not None else []
        if found is None or not await self.tables.visible([serving.account_id for serving in servings]):
            raise not_found("contact")
        return found

    async def user(self, reference: str, name: str) -> str:
        """Return the id of a user given by id or address; a wrong one is the fault of field `name`."""
        if "@" in reference:
            found = (await self.tables.users_by_email([reference.lower()])).get(reference.lower())
        else:
            found = canonical(reference)
            if found is not None and await self.tables.user(found) is None:
                found = None
        if found is None:
            raise wrong(name, "is no user", "give the id or the address of a user")
        return found

    async def note(self, what: str, entity: str, account_id: str | None, detail: Any) -> None:
        """Remember the edit."""
        await self.tables.audit(self.now, self.caller.issuer, self.caller.subject, what, entity, account_id, detail)


class Desk:
    """What every resource needs: it opens reads and edits for a verified caller."""

    def __init__(
        self,
        *,
        reading: asyncpg.Pool,
        writing: asyncpg.Pool,
        open_views: Callable[[asyncpg.Connection], Views],
        open_edits: Callable[[asyncpg.Connection], Edits],
        verifier: TokenVerifier,
        clock: Clock,
        zone: tzinfo,
        region: str,
        wake: Callable[[], None],
    ) -> None:
        self._reading = reading
        self._writing = writing
        self._open_views = open_views
        self._open_edits = open_edits
        self._clock = clock
        self._zone = zone
        self._wake = wake
        self.region = region
        self.verifier = verifier
        self.caller: Callable[..., Awaitable[Caller]] = authenticated(verifier)

    def today(self) -> date:
        """Return the company's day."""
        return self._clock.now().astimezone(self._zone).date()

    @asynccontextmanager
    async def view(self, caller: Caller) -> AsyncIterator[Views]:
        """Open a read that sees what `caller` may see."""
        async with scoped(self._reading, caller, readonly=True) as connection:
            views = self._open_views(connection)
            await views.begin(self.today())
            yield views

    @asynccontextmanager
    async def edit(self, caller: Caller, *, identities: bool = False, dry_run: bool = False) -> AsyncIterator[Edit]:
        """Open an edit; what it touched is published, and left to a job to be read again, when the block ends.

        `identities`: nobody matches meanwhile. `dry_run`: nothing is kept. Answers 503 when it had to wait too long.
        """
        try:
            async with self._transaction(caller, identities=identities) as edit:
                yield edit
                await _conclude(edit)
                if dry_run:
                    raise _NothingKept
        except _NothingKept:
            return
        except _BUSY:
            detail = "Many events are being processed; nothing was changed. Try again in a moment."
            raise Problem(503, "Busy", detail, "busy", headers={"Retry-After": "1"}) from None
        self._wake()

    @asynccontextmanager
    async def _transaction(self, caller: Caller, *, identities: bool) -> AsyncIterator[Edit]:
        async with scoped(self._writing, caller) as connection:
            tables = self._open_edits(connection)
            await tables.begin(self.today())
            if identities:
                await tables.lock_identities()
            user = await tables.caller()
            if user is None and not caller.is_admin and "operator" not in caller.roles:
                raise Problem(
                    403, "Not allowed", "Your token belongs to no user here; ask your administrator.", "forbidden"
                )
            yield Edit(
                tables=tables,
                caller=caller,
                user_id=None if user is None else user["id"],
                role=None if user is None else user["user_role"],
                now=self._clock.now(),
                today=self.today(),
                zone=self._zone,
            )


class _NothingKept(Exception):
    """A dry run is over."""


async def _conclude(edit: Edit) -> None:
    if edit.everything:
        await edit.tables.add_job("everything", [], edit.now)
    else:
        if edit.keys:
            await edit.tables.add_job("identities", sorted(edit.keys), edit.now)
        if edit.renamed:
            await edit.tables.add_job("accounts", sorted(edit.renamed), edit.now)
    if edit.interactions:
        await edit.tables.add_job("interactions", sorted(edit.interactions), edit.now)
    await edit.tables.publish(edit.now, edit.accounts, edit.users, edit.teams)


def canonical(reference: str) -> str | None:
    """Return an id in canonical form, or None where it is none."""
    try:
        return str(UUID(reference))
    except ValueError:
        return None


def wrong(name: str, message: str, remedy: str) -> Problem:
    """Return the 422 for one wrong field."""
    return invalid([FieldError(name, message, remedy)])


def answer(body: Any, status: int = 200) -> Response:
    """Return JSON with moments in UTC, written with `Z`."""
    return Response(orjson.dumps(body, option=orjson.OPT_UTC_Z), status_code=status, media_type="application/json")


async def visible_account(views: Views, reference: str) -> str:
    """Return the id of an account that the caller sees; else 404."""
    if not reference.startswith("key:") and canonical(reference) is None:
        raise not_found("account")
    found = await views.find_account(reference)
    if found is None:
        raise not_found("account")
    return found


def cursor_of(moment: datetime, id_: str) -> str:
    """Return the cursor that continues behind an interaction."""
    return f"{moment.isoformat()}~{id_}"


def read_cursor(text: str | None) -> tuple[datetime, str] | None:
    """Read a cursor; a wrong one is a 422."""
    if text is None:
        return None
    moment, _, id_ = text.partition("~")
    read: datetime | None
    try:
        read = datetime.fromisoformat(moment.replace(" ", "+"))
    except ValueError:
        read = None
    if read is None or read.tzinfo is None or canonical(id_) is None:
        raise wrong("cursor", "is no cursor of this list", "use the value of next as it was returned")
    return read, id_
