"""How accounts and contacts are known: domains, provider ids, addresses, phones. Each edit: a correction or a move."""

from datetime import date
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from services.accounts.api.access import Desk, Edit, answer, visible_account, wrong
from services.accounts.api.accounts import Body
from services.accounts.domain.identities import (
    OF_ACCOUNTS,
    OF_CONTACTS,
    BadIdentity,
    IdentityKind,
    identity_key,
    normalise,
)
from services.accounts.domain.intervals import Taken, assign, correct_link, end_link, move_link
from services.accounts.domain.matching import Link
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found

Change = Literal["correction", "move"]


class IdentityBody(Body):
    """One way in which somebody is known.

    Where the identity names somebody else already, `change` says why: `correction` (it never did; the past moves) or
    `move` (from `since` on; what happened before stays).
    """

    kind: IdentityKind
    value: Annotated[str, Field(min_length=1, max_length=1024)]
    since: date | None = None
    change: Change | None = None


class DomainBody(Body):
    """A company domain of an account."""

    domain: Annotated[str, Field(min_length=1, max_length=255)]
    since: date | None = None
    change: Change | None = None


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["identities"])
    _domains(routes, desk)
    _of_accounts(routes, desk)
    _of_contacts(routes, desk)
    return routes


def _domains(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/domains")
    async def list_domains(caller: caller_of, account: str) -> Response:
        """List the domains of an account."""
        async with desk.view(caller) as views:
            rows = await views.account_identities(await visible_account(views, account))
        return answer({"items": [{**row, "domain": row["value"]} for row in rows if row["kind"] == "domain"]})

    @routes.post("/accounts/{account}/domains", status_code=201)
    async def add_domain(caller: caller_of, account: str, body: DomainBody) -> Response:
        """Say that a domain is the account's; what came from it and matched nothing is attributed."""
        identity = IdentityBody(kind="domain", value=body.domain, since=body.since, change=body.change)
        return await _add(desk, caller, account, identity, "domain")

    @routes.delete("/accounts/{account}/domains/{domain}")
    async def remove_domain(caller: caller_of, account: str, domain: str, until: date | None = None) -> Response:
        """Take a domain away: from `until` on, or, without it, as a correction: it never was the account's."""
        return await _remove(desk, caller, account, ("domain", domain), until)


def _of_accounts(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/identities")
    async def list_identities(caller: caller_of, account: str) -> Response:
        """List how the organisation is known."""
        async with desk.view(caller) as views:
            return answer({"items": await views.account_identities(await visible_account(views, account))})

    @routes.post("/accounts/{account}/identities", status_code=201)
    async def add_account_identity(caller: caller_of, account: str, body: IdentityBody) -> Response:
        """Say how an organisation is known: a domain, a provider's id of it, a shared address or phone."""
        return await _add(desk, caller, account, body, "value")

    @routes.delete("/accounts/{account}/identities/{kind}")
    async def remove_account_identity(
        caller: caller_of,
        account: str,
        kind: IdentityKind,
        value: Annotated[str, Query(max_length=1024)],
        until: date | None = None,
    ) -> Response:
        """Take an identity away, like a domain."""
        return await _remove(desk, caller, account, (kind, value), until)


def _of_contacts(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/contacts/{contact}/identities", status_code=201)
    async def add_contact_identity(caller: caller_of, contact: str, body: IdentityBody) -> Response:
        """Say how a person is known: an address, a phone, a provider's id."""
        async with desk.edit(caller, identities=True) as edit:
            found = await edit.contact(contact)
            if body.kind not in OF_CONTACTS:
                raise wrong(
                    "kind",
                    "names an organisation, not a person",
                    f"use {', '.join(sorted(OF_CONTACTS))}, or add it to the account",
                )
            value = normalised(body.kind, body.value, desk.region, "value")
            await link(edit, body.kind, value, Link(None, found, body.since), body.change)
            servings = await edit.tables.servings(found)
            await edit.note("identity added", found, servings[0].account_id, body.model_dump(mode="json"))
        return answer({"kind": body.kind, "value": value}, 201)

    @routes.delete("/contacts/{contact}/identities/{kind}")
    async def remove_contact_identity(
        caller: caller_of,
        contact: str,
        kind: IdentityKind,
        value: Annotated[str, Query(max_length=1024)],
        until: date | None = None,
    ) -> Response:
        """Take an identity of a person away: from `until` on, or as a correction."""
        async with desk.edit(caller, identities=True) as edit:
            found = await edit.contact(contact)
            await unlink(edit, kind, normalised(kind, value, desk.region, "value"), Link(None, found), until)
            servings = await edit.tables.servings(found)
            await edit.note(
                "identity removed", found, servings[0].account_id, {"kind": kind, "until": str(until or "")}
            )
        return Response(status_code=204)


async def _add(desk: Desk, caller: Caller, account: str, body: IdentityBody, name: str) -> Response:
    async with desk.edit(caller, identities=True) as edit:
        found = await edit.account(account)
        if body.kind not in OF_ACCOUNTS:
            raise wrong(
                "kind",
                "names a person, not an organisation",
                f"use {', '.join(sorted(OF_ACCOUNTS))}, or add it to a contact",
            )
        value = normalised(body.kind, body.value, desk.region, name)
        await link(edit, body.kind, value, Link(found, None, body.since), body.change)
        await edit.note("identity added", found, found, body.model_dump(mode="json"))
    return answer({"kind": body.kind, "value": value}, 201)


async def _remove(
    desk: Desk, caller: Caller, account: str, known_as: tuple[IdentityKind, str], until: date | None
) -> Response:
    kind, value = known_as
    async with desk.edit(caller, identities=True) as edit:
        found = await edit.account(account)
        await unlink(edit, kind, normalised(kind, value, desk.region, "value"), Link(found, None), until)
        await edit.note("identity removed", found, found, {"kind": kind, "value": value, "until": str(until or "")})
    return Response(status_code=204)


def normalised(kind: IdentityKind, value: str, region: str, name: str) -> str:
    """Return the value as sources report it; a wrong one is the fault of field `name`."""
    try:
        return normalise(kind, value, region=region)
    except BadIdentity as bad:
        message, _, remedy = str(bad).partition("; ")
        raise wrong(name, message, remedy or f"write a {kind}") from None


async def link(edit: Edit, kind: IdentityKind, value: str, to: Link, change: Change | None) -> None:
    """Let an identity name what `to` names; 409 where it names somebody else and `change` does not say why."""
    key = identity_key(kind, value)
    before = (await edit.tables.links([key])).get(key, [])
    others = [held for held in before if (held.account_id, held.contact_id) != (to.account_id, to.contact_id)]
    if others and change is not None:
        await _need_all(edit, others)
    if change == "correction":
        after = correct_link(to)
    elif change == "move":
        if to.since is None:
            raise wrong(
                "since",
                "is missing: a move needs the day from which it holds",
                "give a day, or correct the past with change=correction",
            )
        after = move_link(before, to, to.since)
    else:
        try:
            after = assign(before, to)
        except Taken:
            detail = (
                f"{kind}: it names somebody else already. Send change=correction if that was wrong,"
                " or change=move with since if it changed."
            )
            raise Problem(409, "Taken already", detail, "taken") from None
    if after != before:
        await edit.tables.set_links(kind, key, after)
        edit.keys.add(key)


async def unlink(edit: Edit, kind: IdentityKind, value: str, holder: Link, until: date | None) -> None:
    """Take an identity away from who holds it: from `until` on, or from all time."""
    key = identity_key(kind, value)
    before = (await edit.tables.links([key])).get(key, [])
    theirs = [held for held in before if (held.account_id, held.contact_id) == (holder.account_id, holder.contact_id)]
    if not theirs:
        raise not_found("identity")
    others = [held for held in before if held not in theirs]
    after = (
        others
        if until is None
        else sorted([*others, *end_link(theirs, until)], key=lambda held: held.since or date.min)
    )
    await edit.tables.set_links(kind, key, after)
    edit.keys.add(key)


async def _need_all(edit: Edit, held: list[Link]) -> None:
    """Taking from somebody needs the right to see them."""
    accounts = {one.account_id for one in held if one.account_id}
    for contact in {one.contact_id for one in held if one.contact_id}:
        accounts |= {serving.account_id for serving in await edit.tables.servings(contact)}
    if accounts - await edit.tables.visible(accounts):
        raise Problem(
            403, "Not allowed", "It names somebody at an account that you may not see; ask a lead of both.", "forbidden"
        )
