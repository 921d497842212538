"""`/v1/contacts`: people at the customer, where they are and were."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import Field
from uuid6 import uuid7

from contracts.values import Line
from services.accounts.api.access import Desk, Edit, answer, canonical, visible_account, wrong
from services.accounts.api.accounts import Body
from services.accounts.api.identities import Change, link, normalised
from services.accounts.domain.identities import IdentityKind
from services.accounts.domain.intervals import FOREVER, move_contact
from services.accounts.domain.matching import Link, Serving
from services.accounts.domain.serving import serve_also
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found

_Values = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], Field(max_length=50)]


class ContactBody(Body):
    """A new contact at an account."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    addresses: _Values = ()
    phones: _Values = ()
    persons: _Values = ()
    since: date | None = None
    """The first day at the account; None: always."""
    until: date | None = None


class ContactPatch(Body):
    """What of a contact is to be changed."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    account: Line | None = None
    """The account at which the person is now."""
    since: date | None = None
    """With `account`: from when; without it: the first day at the present one."""
    until: date | None = None
    """The day from which the person is no longer at the present account."""
    change: Change | None = None
    """With `account`: the person changed accounts (move, needs `since`) or never was at the other (correction)."""
    also: bool = False
    """With `account`: the person serves it beside the present one, which stays the primary one."""


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["contacts"])
    _of_accounts(routes, desk)
    _single(routes, desk)
    return routes


def _of_accounts(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/contacts")
    async def list_contacts(caller: caller_of, account: str) -> Response:
        """List the people of an account."""
        async with desk.view(caller) as views:
            return answer({"items": await views.contacts(await visible_account(views, account))})

    @routes.post("/accounts/{account}/contacts", status_code=201)
    async def create_contact(caller: caller_of, account: str, body: ContactBody) -> Response:
        """Create a contact; what came from these identities and matched nothing is attributed."""
        async with desk.edit(caller, identities=True) as edit:
            found = await edit.account(account)
            contact = str(uuid7())
            since = body.since or FOREVER
            _need_days(since, body.until)
            try:
                await edit.tables.save_contact(contact, body.key, body.name, edit.now)
            except asyncpg.UniqueViolationError:
                raise Problem(
                    409, "Exists already", f"key: there is a contact with the key {body.key}; choose another.", "exists"
                ) from None
            await edit.tables.set_servings(contact, [Serving(found, since, body.until)])
            for kind, name, values in _identities(body):
                for number, value in enumerate(values):
                    known_as = normalised(kind, value, desk.region, f"{name}.{number}")
                    await link(edit, kind, known_as, Link(None, contact, body.since), None)
            edit.accounts.add(found)
            await edit.note(
                "contact created",
                contact,
                found,
                {"identities": len(body.addresses) + len(body.phones) + len(body.persons)},
            )
        return answer({"id": contact}, 201)


def _single(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/contacts/{contact}")
    async def show_contact(caller: caller_of, contact: str) -> Response:
        """Show a contact: where, how known, with which roles."""
        async with desk.view(caller) as views:
            reference = contact if contact.startswith("key:") or canonical(contact) else None
            found = await views.find_contact(reference) if reference else None
            shown = await views.contact(found) if found else None
        if shown is None:
            raise not_found("contact")
        return answer(shown)

    @routes.patch("/contacts/{contact}")
    async def change_contact(caller: caller_of, contact: str, body: ContactPatch) -> Response:
        """Rename a contact, move it to another account from a day on, correct where it was, or let it leave."""
        async with desk.edit(caller, identities=True) as edit:
            found = await edit.contact(contact)
            before = await edit.tables.servings(found)
            if body.name is not None:
                await edit.tables.save_contact(found, None, body.name, edit.now)
            after = await _servings(edit, before, body)
            corrected = _corrected(body, after)
            if after != before or corrected is not None:
                await edit.tables.set_servings(found, after, corrected=corrected)
                edit.keys.update(await edit.tables.keys_of_contact(found))
            edit.accounts.update(serving.account_id for serving in (*before, *after))
            await edit.note(
                "contact changed",
                found,
                before[0].account_id,
                body.model_dump(mode="json", exclude_unset=True, exclude={"name"}),
            )
        async with desk.view(caller) as views:
            return answer(await views.contact(found))


def _identities(body: ContactBody) -> list[tuple[IdentityKind, str, Sequence[str]]]:
    return [
        ("address", "addresses", body.addresses),
        ("phone", "phones", body.phones),
        ("person", "persons", body.persons),
    ]


async def _servings(edit: Edit, before: list[Serving], body: ContactPatch) -> list[Serving]:
    if body.account is None:
        return _dates(before, body)
    account = await edit.account(body.account)
    if body.also:
        since = body.since or FOREVER
        _need_days(since, body.until)
        return serve_also(before, account, since, body.until)
    if body.change == "correction":
        since = body.since or before[0].since
        _need_days(since, body.until)
        return [Serving(account, since, body.until)]
    if body.change == "move" and body.since is not None:
        return move_contact(before, account, body.since)
    raise wrong(
        "change", "does not say what happened", "send move with since (from then on), or correction (it always was so)"
    )


def _corrected(body: ContactPatch, after: list[Serving]) -> str | None:
    """The account of which was said that it always was the contact's."""
    corrects = body.account is not None and body.change == "correction" and not body.also
    return after[0].account_id if corrects else None


def _dates(before: list[Serving], body: ContactPatch) -> list[Serving]:
    if body.since is None and body.until is None:
        return before
    present = max(before, key=lambda serving: (serving.primary, serving.since))
    since = body.since or present.since
    until = body.until if body.until is not None else present.until
    _need_days(since, until)
    changed = Serving(present.account_id, since, until, present.primary)
    return [changed if serving is present else serving for serving in before]


def _need_days(since: date, until: date | None) -> None:
    if until is not None and until <= since:
        raise wrong("until", "must be after since", "give a later day")
