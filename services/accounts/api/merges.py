"""`/v1/accounts/{id}/merge` and `/unmerge`: two accounts that are one, and that were not.

Everything said while two accounts are one is said of the one that stayed, whichever id or key was used, and stays with
it when they are parted again; what the merged one brought goes back.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from contracts.values import Line
from services.accounts.api.access import Desk, Edit, answer, canonical, wrong
from services.accounts.api.accounts import Body
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found


class MergeBody(Body):
    """The account that stays, by id or `key:<external key>`."""

    into: Line


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1/accounts", tags=["merge"])
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/{account}/merge", status_code=202)
    async def merge(caller: caller_of, account: str, body: MergeBody) -> Response:
        """Merge an account into another; its id and key are names of the other from now on. Again changes nothing.

        Its identities, contacts and buying centres move; its owner, team, stage, key decision and parent are taken on
        days of which the other says nothing. A job writes its attributions anew.
        """
        async with desk.edit(caller, identities=True) as edit:
            edit.need(edit.is_lead, "a lead or an admin")
            into = await edit.account(body.into)
            found = await _named(edit, account)
            if found["merged_into"] is not None:
                survivor = (await edit.tables.surviving([found["id"]]))[found["id"]]
                if survivor != into:
                    raise _merged_elsewhere()
                return answer({"id": into, "merged": found["id"]}, 202)
            await _merge(edit, await edit.account(found["id"]), into, found["name"])
        return answer({"id": into, "merged": found["id"]}, 202)

    @routes.post("/{account}/unmerge", status_code=202)
    async def unmerge(caller: caller_of, account: str) -> Response:
        """Part an account from the one that it was merged into; one that stands for itself stays as it is."""
        async with desk.edit(caller, identities=True) as edit:
            edit.need(edit.is_lead, "a lead or an admin")
            found = await _named(edit, account)
            survivor = await edit.account(found["id"])
            if found["merged_into"] is not None:
                await _unmerge(edit, found["id"], survivor)
        return answer({"id": found["id"], "parted_from": None if survivor == found["id"] else survivor}, 202)

    return routes


async def _named(edit: Edit, reference: str) -> Mapping[str, Any]:
    """Return the very account that was named; merged or not, the caller must see the one that speaks for it."""
    id_ = reference if reference.startswith("key:") else canonical(reference)
    found = None if id_ is None else await edit.tables.named_account(id_)
    if found is None:
        raise not_found("account")
    await edit.account(found["id"])
    return found


async def _merge(edit: Edit, account: str, into: str, name: str) -> None:
    if account == into:
        raise wrong("into", "is the account itself", "name the account that stays")
    await edit.tables.lock_accounts([account, into])
    if account in await edit.tables.ancestors(into) or into in await edit.tables.ancestors(account):
        detail = "into: one of the two stands, or stood, below the other; correct its parent first."
        raise Problem(409, "One is below the other", detail, "in-a-line")
    edit.keys.update(await edit.tables.keys_around(account))
    alias = await edit.tables.merged_under(account)
    await edit.tables.merge_account(account, into, name)
    edit.renamed.update(alias)
    edit.accounts.update([account, into, *await edit.tables.children(alias)])
    await edit.note("account merged", account, into, {"into": into})


async def _unmerge(edit: Edit, account: str, survivor: str) -> None:
    await edit.tables.lock_accounts([survivor])
    alias = await edit.tables.merged_under(account)
    edit.keys.update(await edit.tables.keys_around(survivor, alias))
    await edit.tables.unmerge_account(account, survivor)
    if await edit.tables.is_above_itself(account):
        detail = "account: it would stand below itself by parents that were said meanwhile; correct them first."
        raise Problem(409, "Below itself", detail, "in-a-line")
    edit.renamed.update(alias)
    edit.accounts.update([account, survivor, *await edit.tables.children(alias)])
    await edit.note("account unmerged", account, survivor, {"from": survivor})


def _merged_elsewhere() -> Problem:
    detail = "account: it was merged into another account already; unmerge it first."
    return Problem(409, "Merged already", detail, "merged-already")
