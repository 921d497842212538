"""The ledger as an account sees it; what people decide about one interaction. Texts are shown here and nowhere else."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from contracts.events import BY_TYPE, Event
from contracts.interactions import Interaction, assemble
from contracts.values import Kind, Line, TouchClass, json_safe
from services.accounts.api.access import Desk, Edit, answer, canonical, cursor_of, read_cursor, visible_account, wrong
from services.accounts.api.accounts import Body
from services.accounts.api.ports import Row, Views
from services.accounts.domain.matching import COMMUNICATION
from services.accounts.domain.touch import TOUCHES
from services.runtime.auth import Caller
from services.runtime.problems import Problem, not_found

_CONTENT = frozenset({"title", "text"})


class AttributionBody(Body):
    """Whose it is, by hand. An empty list: nobody's. None: as the parties say again."""

    accounts: Annotated[list[Line], Field(max_length=50)] | None


class TouchClassBody(Body):
    """How one touch is read, by hand. None: as rules and references say again."""

    touch_class: TouchClass | None = None
    reply_expected: bool | None = None


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1", tags=["interactions"])
    _lists(routes, desk)
    _by_hand(routes, desk)
    return routes


def _lists(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("/accounts/{account}/interactions")
    async def list_interactions(  # noqa: PLR0917 - query parameters
        caller: caller_of,
        account: str,
        kind: Kind | None = None,
        cursor: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        text: bool = False,  # noqa: FBT001, FBT002 - a query parameter
    ) -> Response:
        """List an account's interactions, latest first, with why each is here; `text=true` adds titles and texts."""
        position = read_cursor(cursor)
        async with desk.view(caller) as views:
            found = await visible_account(views, account)
            rows = await views.interactions(found, None if kind is None else kind.value, position, limit)
            contents = await _contents(views, [row["id"] for row in rows]) if text else {}
        items = [{**_shown(row), **contents.get(row["id"], {})} for row in rows]
        more = cursor_of(rows[-1]["occurred_at"], rows[-1]["id"]) if len(rows) == limit else None
        return answer({"items": items, "next": more})

    @routes.get("/interactions/{interaction}")
    async def show_interaction(caller: caller_of, interaction: str) -> Response:
        """Show an interaction: what it adds up to, its text where it may be shown, its reports, whose it is and why."""
        id_ = _id(interaction)
        async with desk.view(caller) as views:
            row = await views.interaction(id_)
            if row is None:
                raise not_found("interaction")
            reports = await views.reports(id_)
            attributions = await views.attributions(id_)
        whole = assembled(reports)
        content = {"title": whole.title, "text": whole.text}
        return answer(
            {**row, **content, "reports": [_report(report) for report in reports], "attributions": attributions}
        )


def _by_hand(routes: APIRouter, desk: Desk) -> None:
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.post("/interactions/{interaction}/attribution")
    async def attribute_by_hand(caller: caller_of, interaction: str, body: AttributionBody) -> Response:
        """Say whose an interaction is; this outranks every other reason and stays until it is taken back."""
        async with desk.edit(caller) as edit:
            id_, row = await editable(edit, interaction)
            accounts = (
                None if body.accounts is None else sorted({await edit.account(account) for account in body.accounts})
            )
            if accounts is not None and len(accounts) > 1 and Kind(row["kind"]) not in COMMUNICATION:
                raise wrong("accounts", f"a {row['kind']} belongs to exactly one account", "name one")
            await edit.tables.decide_by_hand(id_, "hand_accounts", accounts)
            edit.interactions.add(id_)
            await edit.note("attributed by hand", id_, accounts[0] if accounts else None, body.model_dump(mode="json"))
        return answer({"id": id_, "accounts": accounts}, 202)

    @routes.post("/interactions/{interaction}/touch-class")
    async def classify_by_hand(caller: caller_of, interaction: str, body: TouchClassBody) -> Response:
        """Correct how one touch is read, or whether it waits for an answer."""
        async with desk.edit(caller) as edit:
            id_, row = await editable(edit, interaction)
            if Kind(row["kind"]) not in TOUCHES:
                raise wrong(
                    "touch_class",
                    f"a {row['kind']} is no touch",
                    "correct a mail, call, meeting, chat message or comment",
                )
            if "touch_class" in body.model_fields_set:
                await edit.tables.decide_by_hand(id_, "hand_class", body.touch_class)
            if "reply_expected" in body.model_fields_set:
                await edit.tables.decide_by_hand(id_, "hand_reply_expected", body.reply_expected)
            edit.interactions.add(id_)
            account = row["claimed"][0] if row["claimed"] else None
            await edit.note("touch read by hand", id_, account, body.model_dump(mode="json", exclude_unset=True))
        return answer({"id": id_}, 202)


def _id(interaction: str) -> str:
    id_ = canonical(interaction)
    if id_ is None:
        raise not_found("interaction")
    return id_


async def editable(edit: Edit, interaction: str) -> tuple[str, Any]:
    """Return an interaction that the caller may decide about: all of its accounts must be visible."""
    id_ = _id(interaction)
    row = await edit.tables.interaction_scope(id_)
    if row is None or not row["visible"]:
        raise not_found("interaction")
    others = set(row["claimed"]) - await edit.tables.visible(row["claimed"])
    if others:
        raise Problem(
            403, "Not allowed", "It also concerns an account that you may not see; ask a lead of both.", "forbidden"
        )
    return id_, row


def _events(bodies: Sequence[Row]) -> list[Event]:
    return [BY_TYPE[row["event_type"]].model_validate_json(row["body"]) for row in bodies]


def assembled(reports: Sequence[Row]) -> Interaction:
    """Return what the reports about one interaction, as rows of the ledger, add up to."""
    return assemble(_events(reports))


async def _contents(views: Views, ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in await views.texts(ids):
        grouped[row["interaction_id"]].append(row)
    # Assembled, because one private mailbox withholds the text in all.
    wholes = {id_: assembled(rows) for id_, rows in grouped.items()}
    return {id_: {"title": whole.title, "text": whole.text} for id_, whole in wholes.items()}


def _shown(row: Row) -> dict[str, Any]:
    state = row["state"]
    return {
        **{name: value for name, value in row.items() if name != "state"},
        "parties": state.get("parties", []),
        "detail": state["detail"],
        "sources": state["sources"],
        "imported": state["imported"],
    }


def _report(row: Row) -> dict[str, Any]:
    """A report without its content: what may be shown of that is decided over all reports together."""
    # Read as the report that it is: members that we do not know may hold what no other reader of JSON takes.
    body = json_safe(BY_TYPE[row["event_type"]].model_validate_json(row["body"]))
    stated = {name: value for name, value in body.items() if name not in _CONTENT}
    return {**{name: value for name, value in row.items() if name != "body"}, "stated": stated}
