"""The decision group: buying centres, members, roles; and people who are seen but in no group."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field
from uuid6 import uuid7

from contracts.accounts import GroupRole
from contracts.values import Line
from services.accounts.api.access import Desk, Edit, answer, canonical, visible_account, wrong
from services.accounts.api.accounts import Body
from services.accounts.domain.identities import company_domain, identity_key
from services.accounts.domain.intervals import Interval, exclude, include
from services.accounts.domain.suggestions import suggest
from services.runtime.auth import Caller
from services.runtime.problems import not_found

_LOOKED_AT = 500


class CentreBody(Body):
    """A buying centre: a unit and an area."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]


class RoleBody(Body):
    """A role of a member; an end takes it from then on."""

    role: GroupRole
    since: date | None = None
    until: date | None = None


class MemberBody(Body):
    """Somebody's place in a buying centre; what is not named stays."""

    influence: Annotated[int, Field(ge=1, le=5)] | None = None
    attitude: Annotated[int, Field(ge=-2, le=2)] | None = None
    reports_to: Line | None = None
    roles: Annotated[tuple[RoleBody, ...], Field(max_length=12)] = ()


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["decision group"])
    _groups(routes, desk)
    _suggestions(routes, desk)
    return routes


def _groups(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/groups")
    async def list_groups(caller: caller_of, account: str) -> Response:
        """Show the buying centres of an account, their members and roles."""
        async with desk.view(caller) as views:
            return answer({"items": await views.groups(await visible_account(views, account))})

    @routes.post("/accounts/{account}/groups", status_code=201)
    async def create_group(caller: caller_of, account: str, body: CentreBody) -> Response:
        """Create a buying centre; one of that name is returned as it is."""
        async with desk.edit(caller) as edit:
            found = await edit.locked_account(account)
            centre = await edit.tables.centre(found, body.name, str(uuid7()))
            await edit.note("buying centre created", centre, found, body.model_dump(mode="json"))
        return answer({"id": centre}, 201)

    @routes.put("/accounts/{account}/groups/{centre}/members/{contact}")
    async def put_member(caller: caller_of, account: str, centre: str, contact: str, body: MemberBody) -> Response:
        """Add a contact to a buying centre, or change what is known of the member."""
        async with desk.edit(caller, identities=True) as edit:
            found, whose = await _centre(edit, account, centre)
            member = await edit.contact(contact)
            if not any(serving.account_id == whose for serving in await edit.tables.servings(member)):
                raise wrong("contact", "is not at this account", "add the contact to the account first")
            boss = await edit.contact(body.reports_to) if body.reports_to else None
            await edit.tables.save_member(found, member, body.influence, body.attitude, boss)
            await change_roles(edit, found, member, body.roles)
            edit.accounts.add(whose)
            await edit.note("group member changed", member, whose, body.model_dump(mode="json", exclude_unset=True))
        async with desk.view(caller) as views:
            return answer({"items": await views.groups(whose)})

    @routes.delete("/accounts/{account}/groups/{centre}/members/{contact}")
    async def remove_member(caller: caller_of, account: str, centre: str, contact: str) -> Response:
        """Take a contact out of a buying centre, as if it had never been in it; to end a role, give it an end."""
        async with desk.edit(caller, identities=True) as edit:
            found, whose = await _centre(edit, account, centre)
            member = await edit.contact(contact)
            await edit.tables.remove_member(found, member)
            edit.keys.update(await edit.tables.keys_of_contact(member))
            edit.accounts.add(whose)
            await edit.note("group member removed", member, whose, {"buying_centre": found})
        return Response(status_code=204)


def _suggestions(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/suggestions")
    async def list_suggestions(
        caller: caller_of, account: str, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        """List people who took part in the latest 500 interactions and are in no group, with what suggests them."""
        async with desk.view(caller) as views:
            found = await visible_account(views, account)
            seen = [
                {**row, "parties": row["state"].get("parties", [])}
                for row in await views.interactions(found, None, None, _LOOKED_AT)
                if row["present"]
            ]
            keys = sorted(
                {
                    identity_key(one["kind"], one["value"])
                    for row in seen
                    for party in row["parties"]
                    for one in party["identities"]
                }
            )
            contact_of = await views.known_keys(keys)
            domains = {row["value"] for row in await views.account_identities(found) if row["kind"] == "domain"}
            grouped = await views.grouped_contacts(found)

        def concerns(party: Any, key: str) -> bool:
            kind, _, value = key.partition(":")
            if kind == "address":
                return company_domain(value.rpartition("@")[2]) in domains
            return party["role"] in {"customer", "requester"}

        return answer({"items": [_shown(one) for one in suggest(seen, contact_of, grouped, concerns)[:limit]]})


def _shown(one: Any) -> dict[str, Any]:
    kind, _, value = one.identity.partition(":")
    return {
        "kind": kind,
        "value": value,
        "name": one.name,
        "contact_id": one.contact_id,
        "count": one.count,
        "last_at": one.last_at,
        "interactions": one.interactions,
    }


async def _centre(edit: Edit, account: str, centre: str) -> tuple[str, str]:
    whose = await edit.account(account)
    id_ = canonical(centre)
    if id_ is None or await edit.tables.centre_account(id_) != whose:
        raise not_found("buying centre")
    return id_, whose


async def change_roles(edit: Edit, centre: str, contact: str, roles: Sequence[RoleBody]) -> None:
    """Give a member roles, or end them; rules may ask for the sender's role, so what they wrote is read again."""
    before = await edit.tables.roles(centre, contact)
    after: list[Interval[str]] = before
    for role in roles:
        since = role.since or edit.today
        if role.since is None and role.until is not None:
            after = exclude(after, role.role, role.until)
            continue
        if role.until is not None and role.until <= since:
            raise wrong("roles.until", "must be after since", "give a later day")
        after = include(after, role.role, since, role.until)
    if after != before:
        await edit.tables.set_roles(centre, contact, after)
        edit.keys.update(await edit.tables.keys_of_contact(contact))
