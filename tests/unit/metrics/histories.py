"""Random histories of one account (or two) for property tests: late, repeated, corrected, withdrawn, out of order."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from contracts import details
from contracts.activity import Attribution
from tests.unit.metrics.builders import (
    ACCOUNT,
    MARIA,
    OTHER,
    TOM,
    call,
    mail,
    meeting,
    order,
    refund,
    ticket,
    uid,
    withdrawn,
)
from tests.unit.metrics.builders import attribution as build

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
"""Moments lie on a coarse grid from here on, so that many fall together."""
SPAN_DAYS = 420


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """A moment: often in the last days, at times at the very edge of a day or a year back."""
    days = draw(st.one_of(st.integers(0, 20), st.integers(0, SPAN_DAYS)))
    hours = draw(st.sampled_from([0, 1, 9, 9, 12, 22, 23]))
    return FIRST - timedelta(days=days) + timedelta(hours=hours)


_PEOPLE: dict[str, list[tuple[tuple[str, str], ...]]] = {
    "in": [(), ((MARIA, "from"),), ((TOM, "from"),), ((MARIA, "from"), (TOM, "cc"))],
    "out": [(), ((MARIA, "to"),), ((TOM, "to"),), ((MARIA, "to"), (TOM, "to")), ((MARIA, "to"), (TOM, "cc"))],
    "internal": [()],
}


@st.composite
def attributions(draw: st.DrawFn, number: int, version: int) -> Attribution:
    """One version of interaction `number`; the kind follows from the number, so that versions stay of one kind."""
    kind = ("mail", "mail", "mail", "call", "meeting", "chat", "comment", "ticket", "order", "refund")[number % 10]
    moment = draw(moments())
    said: dict[str, Any] = {
        "version": version,
        "touch_class": draw(st.sampled_from(["routine", "support", "strategic"])),
    }
    directions = ["in", "out", "in", "out", "internal"] if kind in {"mail", "chat"} else ["in", "out"]
    direction = draw(st.sampled_from(directions))
    if kind in {"mail", "call", "chat", "comment", "meeting"}:
        said["people"] = draw(st.sampled_from(_PEOPLE[direction]))
        said["cc_only"] = draw(st.sampled_from([False] * 5 + [True]))
        said["reply_expected"] = draw(st.sampled_from([True] * 4 + [False]))
        said["automatic"] = draw(st.sampled_from([None] * 5 + ["out_of_office"]))
        said["ticket_id"] = draw(st.sampled_from([None, None, uid(7)]))
    state: Attribution
    if kind == "mail":
        state = mail(number, moment, direction, **said)
    elif kind == "call":
        state = call(number, moment, direction, draw(st.sampled_from(["completed", "missed", "running"])), **said)
    elif kind == "meeting":
        state = meeting(number, moment, **said)
    elif kind == "chat":
        state = build(number, details.ChatDetail(direction=direction), moment, **said)  # type: ignore[arg-type]
    elif kind == "comment":
        state = build(number, details.CommentDetail(direction=direction), moment, **said)  # type: ignore[arg-type]
    elif kind == "ticket":
        resolved = draw(st.one_of(st.none(), moments()))
        state = ticket(number, moment, resolved, priority=draw(st.sampled_from([None, "urgent"])), version=version)
    elif kind == "order":
        cancelled = draw(st.sampled_from([None, None, moment + timedelta(hours=5)]))
        net = draw(st.sampled_from(["100", "12.5", "0.000001", "999999999999999999.99"]))
        state = order(
            number, moment, net, draw(st.sampled_from(["EUR", "EUR", "USD"])), cancelled=cancelled, version=version
        )
    else:
        parent = draw(st.sampled_from([None, number - 1, 8]))
        state = refund(number, moment, draw(st.sampled_from(["5", "100"])), parent, version=version)
    if draw(st.sampled_from([False] * 6 + [True])):
        return withdrawn(state, version)
    return state


@st.composite
def histories(draw: st.DrawFn, accounts: int = 1) -> list[Attribution]:
    """Versions of some interactions, in any order and with repetitions; one account, or two that share some."""
    numbers = draw(st.lists(st.integers(1, 14), min_size=1 if accounts > 1 else 10, max_size=30))
    states = [draw(attributions(number, draw(st.integers(1, 3)))) for number in numbers]
    # A version says one thing: of two that claim the same number and version the first stands.
    distinct: dict[tuple[str, str, int], Attribution] = {}
    for state in states:
        owner = draw(st.sampled_from([ACCOUNT, OTHER])) if accounts > 1 else ACCOUNT
        given = state.model_copy(update={"account_id": owner})
        distinct.setdefault((owner, given.interaction_id, given.version), given)
    if accounts > 1:
        # In the end both accounts know the same of an interaction, if not that it is theirs.
        for state in states:
            for owner in (ACCOUNT, OTHER):
                present = state.present and draw(st.booleans())
                final = {"account_id": owner, "version": 9, "present": present}
                distinct[owner, state.interaction_id, 9] = state.model_copy(update=final)
    said = list(distinct.values())
    repeated = draw(st.lists(st.sampled_from(said), max_size=5))
    return draw(st.permutations(said + repeated))


@st.composite
def batches(draw: st.DrawFn, states: list[Attribution]) -> list[tuple[datetime, list[Attribution]]]:
    """The states in some batches at moments that never run backwards, days or years apart."""
    now = FIRST - timedelta(days=draw(st.sampled_from([0, 1, 3, 40, 400])))
    cut: list[tuple[datetime, list[Attribution]]] = []
    rest = list(states)
    while rest:
        size = draw(st.sampled_from([1, 1, 2, 3, 30]))
        cut.append((now, rest[:size]))
        rest = rest[size:]
        now += timedelta(days=draw(st.sampled_from([0, 0, 1, 2, 31])), hours=draw(st.sampled_from([0, 5])))
    return cut
