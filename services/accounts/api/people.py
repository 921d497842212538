"""`/v1/users`, `/v1/teams`, deputies: our own people."""

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, Field
from uuid6 import uuid7

from contracts.values import Line
from services.accounts.api.access import Desk, Edit, answer, canonical, wrong
from services.accounts.api.accounts import Body
from services.accounts.api.identities import normalised
from services.accounts.domain.identities import OURS, identity_key
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no time zone; write one like Europe/Berlin") from None
    return name


Zone = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_zone)]
Holidays = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]


class UserPatch(Body):
    """What of a user is to be changed; what is not named stays."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    email: Annotated[str, Field(min_length=3, max_length=320)] | None = None
    role: Literal["manager", "lead", "operator", "admin"] | None = None
    team: Line | None = None
    """A team's name; one that does not exist is created."""
    issuer: Line | None = None
    subject: Line | None = None
    time_zone: Zone | None = None
    holidays: Holidays | None = None
    """A country, with an optional subdivision: DE or DE-BY."""
    mailboxes: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=50)] | None = None
    active: bool | None = None


class UserBody(UserPatch):
    """A new user."""

    name: Annotated[str, Field(min_length=1, max_length=1000)]
    email: Annotated[str, Field(min_length=3, max_length=320)]
    role: Literal["manager", "lead", "operator", "admin"]
    time_zone: Zone


class DeputyBody(Body):
    """Who stands in, and when."""

    user: Line
    since: date
    until: date | None = None


class TeamPatch(Body):
    """What of a team is to be changed."""

    name: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    lead: Line | None = None


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["users"])
    _users(routes, desk)
    _deputies(routes, desk)
    _teams(routes, desk)
    return routes


def _users(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/users")
    async def list_users(caller: caller_of) -> Response:
        """List our own people with their deputies."""
        async with desk.view(caller) as views:
            return answer({"items": await views.users()})

    @routes.post("/users", status_code=201)
    async def create_user(caller: caller_of, body: UserBody) -> Response:
        """Create a user."""
        async with desk.edit(caller, identities=True) as edit:
            edit.need(edit.is_operator, "an operator or an admin")
            user = str(uuid7())
            await _save(edit, user, None, body)
            await edit.note("user created", user, None, body.model_dump(mode="json", include={"role", "team"}))
        return answer({"id": user}, 201)

    @routes.patch("/users/{user}")
    async def change_user(caller: caller_of, user: str, body: UserPatch) -> Response:
        """Change a user."""
        async with desk.edit(caller, identities=True) as edit:
            edit.need(edit.is_operator, "an operator or an admin")
            found = await _user(edit, user)
            await _save(edit, found, await edit.tables.user(found), body)
            await edit.note("user changed", found, None, sorted(body.model_fields_set))
        return answer({"id": found})


def _deputies(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/users/{user}/deputies", status_code=201)
    async def add_deputy(caller: caller_of, user: str, body: DeputyBody) -> Response:
        """Let somebody stand in on given days: they get alerts and access. Users may do so for themselves."""
        async with desk.edit(caller) as edit:
            found = await _user(edit, user)
            edit.need(found == edit.user_id or edit.is_operator or edit.is_lead, "the user, a lead or an admin")
            deputy = await edit.user(body.user, "user")
            if deputy == found:
                raise wrong("user", "is the same user", "name somebody else")
            if body.until is not None and body.until <= body.since:
                raise wrong("until", "must be after since", "give a later day")
            await edit.tables.set_deputy(found, deputy, body.since, body.until)
            edit.users.add(found)
            await edit.note("deputy set", found, None, body.model_dump(mode="json"))
        return answer({"user": found, "deputy": deputy}, 201)

    @routes.delete("/users/{user}/deputies/{deputy}/{since}")
    async def remove_deputy(caller: caller_of, user: str, deputy: str, since: date) -> Response:
        """Take a deputy's days back."""
        async with desk.edit(caller) as edit:
            found = await _user(edit, user)
            edit.need(found == edit.user_id or edit.is_operator or edit.is_lead, "the user, a lead or an admin")
            if not await edit.tables.remove_deputy(found, await edit.user(deputy, "deputy"), since):
                raise not_found("deputy on these days")
            edit.users.add(found)
            await edit.note("deputy removed", found, None, {"since": since.isoformat()})
        return Response(status_code=204)


def _teams(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/teams")
    async def list_teams(caller: caller_of) -> Response:
        """List teams and their leads."""
        async with desk.view(caller) as views:
            return answer({"items": await views.teams()})

    @routes.patch("/teams/{team}")
    async def change_team(caller: caller_of, team: str, body: TeamPatch) -> Response:
        """Rename a team or give it a lead."""
        async with desk.edit(caller) as edit:
            edit.need(edit.is_operator, "an operator or an admin")
            found = canonical(team)
            if found is None or not await edit.tables.team_exists(found):
                raise not_found("team")
            lead = await edit.user(body.lead, "lead") if body.lead else None
            try:
                await edit.tables.save_team(found, body.name, lead)
            except asyncpg.UniqueViolationError:
                raise Problem(
                    409, "Exists already", f"name: there is a team {body.name}; choose another.", "exists"
                ) from None
            edit.teams.add(found)
            await edit.note("team changed", found, None, body.model_dump(mode="json", exclude_unset=True))
        return answer({"id": found})


async def _user(edit: Edit, reference: str) -> str:
    found = canonical(reference)
    if found is None or await edit.tables.user(found) is None:
        raise not_found("user")
    return found


async def _save(edit: Edit, user: str, before: object, body: UserPatch) -> None:
    known = dict(before) if before is not None else {}  # type: ignore[call-overload]
    given = body.model_dump(exclude_unset=True, exclude={"role", "team", "email"})
    merged = {
        "id": user,
        "issuer": None,
        "subject": None,
        "holidays": None,
        "mailboxes": [],
        "active": True,
        "team_id": None,
        **known,
        **given,
    }
    if body.role is not None:
        merged["user_role"] = body.role
    if body.email is not None:
        merged["email"] = normalised("address", body.email, "DE", "email")
    if body.team is not None:
        merged["team_id"] = await edit.tables.team(body.team, str(uuid7()))
    if (merged["issuer"] is None) != (merged["subject"] is None):
        raise wrong("issuer", "and subject name one identity together", "give both, or neither")
    await store_user(edit, known.get("email"), merged)


async def store_user(edit: Edit, old_email: str | None, user: dict[str, object]) -> None:
    """Write a user, keep the team's lead in step, and have mail of a new address read again; 409 for a taken one."""
    try:
        await edit.tables.save_user(user)
    except asyncpg.UniqueViolationError as taken:
        name = "issuer and subject" if "issuer" in (taken.constraint_name or "") else "email"
        raise Problem(
            409, "Exists already", f"{name}: another user has them; change that one first.", "exists"
        ) from None
    edit.users.add(str(user["id"]))
    if user["team_id"] is not None:
        team = str(user["team_id"])
        if user["user_role"] == "lead":
            await edit.tables.save_team(team, None, str(user["id"]))
        edit.teams.add(team)
    if old_email != user["email"]:
        emails = [str(email) for email in (old_email, user["email"]) if email]
        edit.keys.update(f"{OURS}{identity_key('address', email)}" for email in emails)
