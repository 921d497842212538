"""`/v1/accounts`: create, list, show, change, declare history complete."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from uuid6 import uuid7

from contracts.accounts import AccountClass, Stage
from contracts.values import Currency, Instant, Line, Name
from services.accounts.api.access import Desk, Edit, answer, canonical, visible_account, wrong
from services.accounts.domain.intervals import Interval, change, correct, exclude, include
from services.runtime.auth import Caller
from services.runtime.problems import Problem


class Body(BaseModel):
    """What a caller sends: unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _From(Body):
    since: date | None = None
    """None: today."""
    correction: bool = False
    """True: it was never otherwise, and the history is replaced."""


class OwnerChange(_From):
    """Somebody of ours looks after the account from a day on."""

    user: Line


class StageChange(_From):
    """The account is in another stage from a day on."""

    stage: Stage


class KeyChange(_From):
    """The account is named a key account, or no longer, from a day on."""

    named: bool


class ParentChange(_From):
    """The account belongs under another from a day on; None: under none."""

    account: Line | None


class TeamChange(Body):
    """A user works on the account beside its owner, or no longer does."""

    user: Line
    role: Line = "member"
    since: date | None = None
    until: date | None = None


class AccountPatch(Body):
    """What of an account is to be changed; what is not named stays."""

    name: Name | None = None
    account_class: AccountClass | None = None
    currency: Currency | None = None
    owner: OwnerChange | None = None
    stage: StageChange | None = None
    key_named: KeyChange | None = None
    parent: ParentChange | None = None
    team: Annotated[tuple[TeamChange, ...], Field(max_length=50)] = ()


class AccountBody(AccountPatch):
    """A new account; `key` is what other systems call it."""

    name: Name
    key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    created_at: Instant | None = None


class HistoryComplete(Body):
    """The import of history of these accounts is finished (or, with `complete` false, is not)."""

    accounts: Literal["all"] | Annotated[list[Line], Field(min_length=1, max_length=10_000)]
    complete: bool = True


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["accounts"])
    _lists(routes, desk)
    _single(routes, desk)
    _history(routes, desk)
    return routes


def _lists(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/me")
    async def me(caller: caller_of) -> Response:
        """Show who the caller is here."""
        async with desk.view(caller) as views:
            return answer({"user": await views.me(), "roles": sorted(caller.roles)})

    @routes.get("/accounts")
    async def list_accounts(
        caller: caller_of,
        search: Annotated[str | None, Query(max_length=200)] = None,
        after: Annotated[str | None, Query(max_length=400)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Response:
        """List the accounts that the caller may see, by name; follow `next` for more."""
        async with desk.view(caller) as views:
            rows = await views.list_accounts(desk.today(), search, _position(after), limit)
        more = f"{rows[-1]['id']}~{rows[-1]['name']}" if len(rows) == limit else None
        return answer({"items": rows, "next": more})

    @routes.post("/accounts", status_code=201)
    async def create_account(caller: caller_of, body: AccountBody) -> Response:
        """Create an account. Without an owner, a caller who is a user becomes its owner."""
        async with desk.edit(caller) as edit:
            edit.need(edit.is_lead or edit.is_operator, "a lead, an operator or an admin")
            account = str(uuid7())
            try:
                await edit.tables.insert_account(account, body.key, body.name, body.created_at or edit.now)
            except asyncpg.UniqueViolationError:
                raise Problem(
                    409,
                    "Exists already",
                    f"key: there is an account with the key {body.key}; choose another.",
                    "exists",
                ) from None
            if body.owner is None and edit.user_id is not None:
                await _set(edit, account, "owner", edit.user_id, OwnerChange(user=edit.user_id))
            await apply(edit, account, body)
            await edit.note("account created", account, account, body.model_dump(mode="json", exclude_unset=True))
        return answer({"id": account}, 201)


def _single(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}")
    async def show_account(caller: caller_of, account: str) -> Response:
        """Show an account: as it is published, and how it is known."""
        async with desk.view(caller) as views:
            return answer(await views.account(await visible_account(views, account)))

    @routes.patch("/accounts/{account}")
    async def change_account(caller: caller_of, account: str, body: AccountPatch) -> Response:
        """Change an account; dated fields say from when, or that the history was wrong."""
        async with desk.edit(caller) as edit:
            found = await edit.locked_account(account)
            await apply(edit, found, body)
            await edit.note("account changed", found, found, body.model_dump(mode="json", exclude_unset=True))
        async with desk.view(caller) as views:
            return answer(await views.account(found))

    @routes.get("/accounts/{account}/edits")
    async def list_edits(caller: caller_of, account: str, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> Response:
        """List who changed what, latest first."""
        async with desk.view(caller) as views:
            return answer({"items": await views.edits(await visible_account(views, account), limit)})


def _history(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/history-complete")
    async def declare_history_complete(caller: caller_of, body: HistoryComplete) -> Response:
        """Declare that the import of history is finished: from now on rules watch these accounts."""
        async with desk.edit(caller) as edit:
            edit.need(edit.is_operator or edit.is_lead, "an operator, a lead or an admin")
            if body.accounts == "all":
                edit.need(edit.is_operator, "an operator or an admin")
                ids = await edit.tables.all_accounts()
            elif edit.is_operator:
                ids = await _any_accounts(edit, body.accounts)
            else:
                ids = sorted({await edit.account(reference) for reference in body.accounts})
            await edit.tables.lock_accounts(ids)
            await edit.tables.set_history_complete(ids, edit.now if body.complete else None)
            edit.accounts.update(ids)
            await edit.note(
                "history complete" if body.complete else "history open",
                "all" if body.accounts == "all" else "some",
                None,
                {"accounts": len(ids)},
            )
        return answer({"accounts": len(ids)})


async def apply(edit: Edit, account: str, body: AccountPatch) -> None:
    """Apply a change to one account that the caller may change."""
    deciding = body.account_class is not None or body.owner or body.key_named or body.parent or body.team
    if deciding:
        edit.need(
            edit.is_lead or edit.is_operator, "a lead or an admin for class, owner, key decision, parent and team"
        )
    edit.accounts.add(account)
    fields: dict[str, str | datetime | None] = {
        "name": body.name,
        "account_class": body.account_class,
        "currency": body.currency,
    }
    if any(value is not None for value in fields.values()):
        await edit.tables.update_account(account, fields)
    if body.owner is not None:
        await _set(edit, account, "owner", await edit.user(body.owner.user, "owner.user"), body.owner)
    if body.stage is not None:
        await _set(edit, account, "stage", body.stage.stage, body.stage)
    if body.key_named is not None:
        await _set(edit, account, "key", body.key_named.named, body.key_named)
    if body.parent is not None:
        await _set(edit, account, "parent", await _parent(edit, account, body.parent), body.parent)
    for member in body.team:
        await _team(edit, account, member)


async def _set(edit: Edit, account: str, sort: str, value: Any, how: _From) -> None:
    since = how.since or edit.today
    before = await edit.tables.intervals(account, sort)
    after: list[Interval[Any]] = correct(value, since) if how.correction else change(before, value, since)
    if after != before:
        await edit.tables.set_intervals(account, sort, after)


async def _parent(edit: Edit, account: str, body: ParentChange) -> str | None:
    if body.account is None:
        return None
    parent = await edit.account(body.account)
    if account in await edit.tables.ancestors(parent):
        raise wrong(
            "parent.account", "is below this account or is the account itself", "choose an account that is not below it"
        )
    return parent


async def _team(edit: Edit, account: str, member: TeamChange) -> None:
    user = await edit.user(member.user, "team.user")
    before = await edit.tables.intervals(account, "team")
    value = (user, member.role)
    if member.since is None and member.until is not None:
        after = exclude(before, value, member.until)
    else:
        since = member.since or edit.today
        if member.until is not None and member.until <= since:
            raise wrong("team.until", "must be after since", "give a later day")
        after = include(before, value, since, member.until)
    if after != before:
        await edit.tables.set_intervals(account, "team", after)


async def _any_accounts(edit: Edit, references: list[str]) -> list[str]:
    """Accounts by id or key, for operators, whose work is not limited to accounts that they see."""
    keys = [reference[4:] for reference in references if reference.startswith("key:")]
    by_key = await edit.tables.accounts_by_key(keys)
    ids = {
        reference: by_key.get(reference[4:]) if reference.startswith("key:") else canonical(reference)
        for reference in references
    }
    existing = await edit.tables.surviving([id_ for id_ in ids.values() if id_ is not None])
    for reference, id_ in ids.items():
        if id_ is None or id_ not in existing:
            raise wrong("accounts", f"{reference} is no account", "give ids or key:<external key>")
    return sorted(set(existing.values()))


def _position(after: str | None) -> tuple[str, str] | None:
    if after is None:
        return None
    id_, separator, name = after.partition("~")
    if not separator or canonical(id_) is None:
        raise wrong("after", "is no cursor of this list", "use the value of next as it was returned")
    return name, id_
