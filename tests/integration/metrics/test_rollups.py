"""Roll-ups equal the fold over the accounts that were credited, whatever was restated or handed over in between."""

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.accounts import Account
from contracts.activity import Attribution
from deploy.databases import DatabaseAccess
from services.metrics.domain.figures import figures
from services.metrics.domain.fold import Credited, fold_scope
from services.metrics.domain.scope import PORTFOLIO, Scope
from services.metrics.domain.windows import summed
from services.metrics.store import reading
from services.runtime.auth import Caller
from services.runtime.postgres import create_pool, scoped
from tests.integration.metrics.conftest import NO_SHRINKING, TABLES, Desk
from tests.unit.metrics.builders import ACCOUNT, BERLIN, OTHER, account, uid, user
from tests.unit.metrics.histories import FIRST, histories

ANNA, BEN, NORTH, SOUTH = (uid(number) for number in range(601, 605))
ADMIN = Caller("test", "admin", frozenset({"admin"}))
NOW = FIRST + timedelta(hours=12)
handovers = st.lists(
    st.sampled_from([date(2025, 12, 20), date(2025, 12, 31), date(2025, 6, 1)]), max_size=2, unique=True
)


@st.composite
def owned(draw: st.DrawFn, account_id: str, version: int) -> Account:
    """An account that anna and ben own in turn, or nobody at times."""
    days = [date(2024, 1, 1), *sorted(draw(handovers))]
    owners = []
    for since, until in zip(days, [*days[1:], None], strict=True):
        who = draw(st.sampled_from([ANNA, BEN, None]))
        if who is not None:
            owners.append((who, since, until))
    return account(account_id, version, tuple(owners))


def test_roll_ups_equal_the_fold(database: Callable[[str], DatabaseAccess]) -> None:
    access = database("metrics")

    @settings(
        phases=NO_SHRINKING,
        max_examples=int(os.environ.get("TENURE_EXAMPLES", "30")),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        history = data.draw(histories(accounts=2))
        cut = data.draw(st.integers(0, len(history)))
        copies = [data.draw(owned(each, version)) for version in (1, 2) for each in (ACCOUNT, OTHER)]
        teams = [data.draw(st.sampled_from([NORTH, SOUTH, None])) for _ in range(3)]
        ago = data.draw(st.sampled_from([0, 1, 8, 40]))
        asyncio.run(_play(access, history, cut, copies, teams, BERLIN.day(NOW) - timedelta(days=ago)))

    run()


async def _play(  # noqa: PLR0917 - drawn
    access: DatabaseAccess,
    history: Sequence[Attribution],
    cut: int,
    copies: Sequence[Account],
    teams: Sequence[str | None],
    day: date,
) -> None:
    pool = await create_pool(access.worker, max_size=2)
    api = await create_pool(access.api, max_size=1)
    try:
        await pool.execute("; ".join(f"delete from {table}" for table in TABLES))  # noqa: S608 - constants
        desk = Desk(pool, access)
        await desk.apply([user(ANNA, "anna", team_id=teams[0]), user(BEN, "ben", team_id=teams[1]), *copies[:2]], NOW)
        await desk.apply(history[:cut], NOW)
        await desk.roll_up()
        await desk.apply([*copies[2:], user(ANNA, "anna", team_id=teams[2], version=2)], NOW)
        await desk.apply(history[cut:], NOW)
        await desk.roll_up()
        spans = {copy.account_id: copy.owners for copy in copies[2:]}

        def credited_to(*people: str) -> Credited:
            return lambda account_id, on: any(held.holds_on(on) and held.value in people for held in spans[account_id])

        members = {
            team: [who for who, in_team in ((ANNA, teams[2]), (BEN, teams[1])) if in_team == team] for team in teams[1:]
        }
        scopes = {
            PORTFOLIO: lambda _account, _day: True,
            Scope("manager", ANNA): credited_to(ANNA),
            Scope("manager", BEN): credited_to(BEN),
        }
        scopes |= {Scope("team", team): credited_to(*people) for team, people in members.items() if team is not None}
        async with scoped(api, ADMIN) as connection:
            for scope, credited in scopes.items():
                sums = summed(await reading.roll_up(connection, scope, day), day)
                hours = await reading.scope_hours(connection, scope, day)
                rates = await reading.scope_repeat_rates(connection, scope, day)
                shown = {
                    (f.kpi, f.window, f.currency): (f.value, f.previous) for f in figures(sums, hours, rates, "EUR")
                }
                assert shown == _plain(fold_scope(history, day, BERLIN, "EUR", credited)), scope
    finally:
        await api.close()
        await pool.close()


def _plain(folded: object) -> dict[object, object]:
    assert isinstance(folded, dict)
    return {
        key: tuple(Decimal(0) if value == 0 and key[0] == "net_revenue" else value for value in pair)
        for key, pair in folded.items()
    }
