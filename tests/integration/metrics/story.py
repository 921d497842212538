"""A team, its accounts and a seeded history, and what must have come of it."""

import random
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from contracts.accounts import Account, Team
from contracts.activity import Attribution
from contracts.kpis import AccountKpis
from services.metrics.domain.fold import fold_account
from tests.integration.metrics.conftest import State
from tests.integration.metrics.running import Running
from tests.unit.metrics.builders import (
    BERLIN,
    MARIA,
    account,
    at,
    call,
    contact,
    mail,
    order,
    refund,
    ticket,
    uid,
    user,
)
from tests.unit.metrics.builders import withdrawn as taken_back
from tests.unit.metrics.comparison import check

NOW = at("2026-03-02 09:00")
ANNA, NORTH = uid(601), uid(602)
ACCOUNTS_OF = [uid(700 + number) for number in range(12)]
OPERATOR = ("operator",)
_OFTEN = 0.25


def people() -> list[State]:
    """A team, its manager, and their accounts."""
    held = ((ANNA, date(2025, 1, 1), None),)
    roles = (contact(MARIA, "champion"),)
    return [
        Team(team_id=NORTH, version=1, name="north", lead_id=ANNA),
        user(ANNA, "anna", team_id=NORTH),
        *(account(account_id, 1, held, contacts=roles) for account_id in ACCOUNTS_OF),
    ]


def history(seed: int, numbers: Sequence[int]) -> list[Attribution]:
    """Interactions with refunds and withdrawals of some of them."""
    draw = random.Random(seed)  # noqa: S311 - a seeded history
    states: list[Attribution] = []
    for number in numbers:
        made = _interaction(draw, number)
        states.append(made)
        if made.kind == "order" and draw.random() < _OFTEN:
            moment, said = made.occurred_at + timedelta(hours=1), {"account_id": made.account_id}
            states.append(refund(10_000 + number, moment, "1.5", number, "EUR", **said))
        if draw.random() < _OFTEN:
            states.append(taken_back(made, 5000 + number))
    return states


def _interaction(draw: random.Random, number: int) -> Attribution:
    moment = NOW - timedelta(days=draw.choice([0, 1, 6, 20, 100, 380]), minutes=number)
    said: dict[str, Any] = {"account_id": draw.choice(ACCOUNTS_OF), "version": 1 + number}
    kind = draw.choice(["mail", "call", "ticket", "order"])
    if kind == "mail":
        return mail(number, moment, draw.choice(["in", "out"]), people=[(MARIA, draw.choice(["from", "to"]))], **said)
    if kind == "call":
        return call(number, moment, "in", draw.choice(["completed", "missed"]), **said)
    if kind == "ticket":
        return ticket(number, moment, draw.choice([None, moment + timedelta(hours=5)]), **said)
    return order(number, moment, f"{draw.randint(1, 999)}.{draw.randint(0, 999):03}", **said)


def newest(states: Sequence[Attribution]) -> list[Attribution]:
    """What accounts has of each: the greatest version. That is what it publishes anew."""
    latest: dict[tuple[str, str], Attribution] = {}
    for state in states:
        known = latest.get((state.account_id, state.interaction_id))
        if known is None or state.version > known.version:
            latest[state.account_id, state.interaction_id] = state
    return list(latest.values())


async def verify(stage: Running, states: Sequence[Attribution], now: datetime = NOW) -> None:
    """The last published state of each account is the fold of everything, and versions never fell."""
    last: dict[str, AccountKpis] = {}
    said: dict[tuple[str, int], AccountKpis] = {}
    for state in await stage.published():
        known = last.get(state.account_id)
        # a relay that failed between publishing and deleting says a whole round again, each state as it was
        again = said.setdefault((state.account_id, state.version), state)
        assert known is None or state.version > known.version or again is not state
        assert again == state
        last[state.account_id] = state
    copies = {one.account_id: one for one in people() if isinstance(one, Account)}
    for account_id in ACCOUNTS_OF:
        mine = [state for state in states if state.account_id == account_id]
        check(last[account_id], fold_account(mine, BERLIN.day(now), BERLIN, "EUR", copies[account_id]))
