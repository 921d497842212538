"""`/v1/doubles`: interactions that look like one, with the reasons; whether they are, people decide."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from contracts.interactions import Interaction
from contracts.values import Kind, json_safe
from services.accounts.api.access import Desk, Edit, answer, canonical, visible_account, wrong
from services.accounts.api.accounts import Body
from services.accounts.api.interactions import assembled, editable
from services.accounts.api.ports import Row, Views
from services.accounts.domain.doubles import WINDOWS, Seen, suspicion
from services.runtime.auth import Caller
from services.runtime.problems import not_found

_PAIRS_AT_ONCE = 200
_DEFAULT_SPAN = timedelta(days=90)
_LONGEST_ID = 40


class PairBody(Body):
    """Two interactions."""

    one: Annotated[str, Field(max_length=_LONGEST_ID)]
    other: Annotated[str, Field(max_length=_LONGEST_ID)]


class WithdrawalBody(PairBody):
    """Two interactions, and which of them stays."""

    keep: Annotated[str, Field(max_length=_LONGEST_ID)]


def router(desk: Desk) -> APIRouter:
    """Return the resource."""
    routes = APIRouter(prefix="/v1/doubles", tags=["doubles"])
    caller_of = Annotated[Caller, Depends(desk.caller)]

    @routes.get("")
    async def list_doubles(  # noqa: PLR0917 - query parameters
        caller: caller_of,
        account: Annotated[str | None, Query(max_length=200)] = None,
        kind: Kind | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Response:
        """List suspected doubles, latest first, of the last 90 days unless told; follow `next` until it is null.

        A page can be empty and have a next one: it has looked at many pairs then and found none of them suspicious.
        """
        span = _span(since, until, desk)
        before = _read_cursor(cursor)
        windows = {each.value: window for each, window in WINDOWS.items() if kind is None or each is kind}
        async with desk.view(caller) as views:
            account_id = None if account is None else await visible_account(views, account)
            pairs = await views.near_pairs(windows, account_id, span, before, _PAIRS_AT_ONCE)
            items = await _suspicious(views, pairs)
        last = pairs[-1] if len(pairs) == _PAIRS_AT_ONCE else None
        more = None if last is None else f"{last['occurred_at'].isoformat()}~{last['one_id']}~{last['other_id']}"
        return answer({"items": items, "next": more})

    @routes.get("/decisions")
    async def list_decisions(caller: caller_of, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> Response:
        """List what was decided about suspected doubles, latest first."""
        async with desk.view(caller) as views:
            return answer({"items": await views.decided_pairs(limit)})

    @routes.post("/dismissals")
    async def dismiss(caller: caller_of, body: PairBody) -> Response:
        """Say that two interactions are two; they are listed no more."""
        async with desk.edit(caller) as edit:
            pair = await _pair(edit, body)
            await _decide(edit, pair, "dismissed", None)
        return answer({"one": pair[0], "other": pair[1], "decision": "dismissed"})

    @routes.post("/withdrawals")
    async def withdraw(caller: caller_of, body: WithdrawalBody) -> Response:
        """Say that two interactions are one: the one that is not kept becomes nobody's, by hand, until restored."""
        async with desk.edit(caller) as edit:
            pair = await _pair(edit, body)
            keep = canonical(body.keep)
            if keep not in pair:
                raise wrong("keep", "is neither of the two", "repeat the id of the one that stays")
            gone = pair[1] if keep == pair[0] else pair[0]
            await edit.tables.decide_by_hand(gone, "hand_accounts", [])
            edit.interactions.add(gone)
            await _decide(edit, pair, "withdrawn", gone)
        return answer({"one": pair[0], "other": pair[1], "decision": "withdrawn", "withdrawn": gone}, 202)

    @routes.post("/restorations")
    async def restore(caller: caller_of, body: PairBody) -> Response:
        """Take a decision back: the two are listed again, and what was withdrawn is whose its parties say.

        Whoever may decide about the one that stayed may, where the other was no account's but theirs.
        """
        async with desk.edit(caller) as edit:
            pair = _named(body)
            decided = await _take_back(edit, pair)
            await edit.note("double restored", pair[0], None, {"other": pair[1], **decided})
        return answer({"one": pair[0], "other": pair[1], "decision": None}, 202)

    return routes


async def _suspicious(views: Views, pairs: Sequence[Row]) -> list[dict[str, Any]]:
    ids = sorted({str(pair[name]) for pair in pairs for name in ("one_id", "other_id")})
    grouped: dict[str, list[Row]] = defaultdict(list)
    for row in await views.texts(ids) if ids else ():
        grouped[row["interaction_id"]].append(row)
    seen: Mapping[str, Seen] = {id_: Seen(assembled(rows)) for id_, rows in grouped.items()}
    items = []
    for pair in pairs:
        one, other = seen.get(pair["one_id"]), seen.get(pair["other_id"])
        reasons = suspicion(one, other) if one is not None and other is not None else ()
        if one is not None and other is not None and reasons:
            items.append(
                {
                    "account_id": pair["account_id"],
                    "kind": one.interaction.kind.value,
                    "reasons": list(reasons),
                    "one": _shown(one.interaction),
                    "other": _shown(other.interaction),
                }
            )
    return items


def _shown(interaction: Interaction) -> dict[str, Any]:
    return {
        "id": interaction.id,
        "system": interaction.key.system,
        "native_id": interaction.key.native_id,
        "occurred_at": interaction.occurred_at,
        "title": interaction.title,
        "imported": interaction.imported,
        "sources": list(interaction.sources),
        "detail": json_safe(interaction.detail),
    }


async def _pair(edit: Edit, body: PairBody) -> tuple[str, str]:
    """Return two interactions that the caller may decide about."""
    pair = _named(body)
    for id_ in pair:
        await editable(edit, id_)
    return pair


def _named(body: PairBody) -> tuple[str, str]:
    one, other = canonical(body.one), canonical(body.other)
    if one is None or other is None:
        raise not_found("interaction")
    if one == other:
        raise wrong("other", "is the same interaction", "name two")
    return (one, other) if one < other else (other, one)


async def _take_back(edit: Edit, pair: tuple[str, str]) -> Row:
    """Undo what was decided about two interactions, and return it; refuse who may not decide about them."""
    decided = await edit.tables.take_back_double(pair)
    withdrawn = None if decided is None else decided["withdrawn_id"]
    for id_ in pair:
        if id_ == withdrawn:
            await _restorable(edit, id_)
        else:
            await editable(edit, id_)
    if decided is None:
        raise not_found("decision")
    if withdrawn is not None:
        await edit.tables.decide_by_hand(withdrawn, "hand_accounts", None)
        edit.interactions.add(withdrawn)
    return decided


async def _restorable(edit: Edit, withdrawn: str) -> None:
    """Refuse who may not decide about what was withdrawn: it is nobody's, so what counts is whose it was."""
    former = await edit.tables.former_accounts(withdrawn)
    if not former or former - await edit.tables.visible(former):
        await editable(edit, withdrawn)


async def _decide(edit: Edit, pair: tuple[str, str], decision: str, withdrawn: str | None) -> None:
    caller = edit.caller
    earlier = await edit.tables.take_back_double(pair)
    if earlier is not None and earlier["withdrawn_id"] not in {None, withdrawn}:
        # Otherwise both would be nobody's, and nothing would say why.
        await edit.tables.decide_by_hand(earlier["withdrawn_id"], "hand_accounts", None)
        edit.interactions.add(earlier["withdrawn_id"])
    await edit.tables.decide_double(pair, decision, withdrawn, caller.issuer, caller.subject, edit.now)
    await edit.note(f"double {decision}", pair[0], None, {"other": pair[1], "withdrawn": withdrawn})


def _span(since: datetime | None, until: datetime | None, desk: Desk) -> tuple[datetime, datetime]:
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise wrong(name, "has no offset", "write 2026-03-02T00:00:00Z")
    end = until or datetime.combine(desk.today() + timedelta(days=2), datetime.min.time(), UTC)
    return since or end - _DEFAULT_SPAN, end


def _read_cursor(text: str | None) -> tuple[datetime, str, str] | None:
    if text is None:
        return None
    moment, _, ids = text.partition("~")
    one, _, other = ids.partition("~")
    try:
        read = datetime.fromisoformat(moment.replace(" ", "+"))
    except ValueError:
        read = None
    found_one, found_other = canonical(one), canonical(other)
    if read is None or read.tzinfo is None or found_one is None or found_other is None:
        raise wrong("cursor", "is no cursor of this list", "use the value of next as it was returned")
    return read, found_one, found_other
