"""The whole service on real Kafka and PostgreSQL: from activity and accounts to kpis and the API."""

from datetime import date
from decimal import Decimal

from contracts.topics import ACCOUNTS, ACTIVITY
from services.runtime.clock import write_moment
from tests.integration.metrics.running import Running
from tests.unit.metrics.builders import ACCOUNT, account, at, mail, uid, user

ANNA = uid(501)


async def test_a_mail_on_activity_becomes_figures_on_kpis_and_in_the_api_and_midnight_moves_them(
    running: Running,
) -> None:
    moment = at("2026-03-02 08:30")
    owned = account(version=3, owners=((ANNA, date(2026, 1, 1), None),))
    await running.produce(ACCOUNTS.name, [user(ANNA, subject="anna"), owned], moment)
    await running.drained()
    await running.produce(ACTIVITY.name, [mail(1, moment, version=4)], moment)
    flow = await running.drained()
    assert flow["parts"]["slides"]["due"] == 0
    states = await running.published(2)
    assert (states[-1].account_version, states[-1].as_of_day) == (3, date(2026, 3, 2))
    assert next(value.value for value in states[-1].values if value.kpi == "touches_in") == 1

    shown = (await running.get(f"/v1/accounts/{ACCOUNT}/kpis")).json()
    assert shown["values"][4] | {"evidence": ""} == {
        "kpi": "touches_in",
        "window": 7,
        "unit": "count",
        "value": "1",
        "previous": "0",
        "change": "1",
        "evidence": "",
    }
    items = (await running.get(shown["values"][4]["evidence"])).json()
    assert [item["interaction_id"] for item in items["items"]] == [uid(1)]
    manager = (await running.get(f"/v1/managers/{ANNA}/kpis")).json()
    assert manager["values"][4]["value"] == "1"
    assert (await running.get(f"/v1/accounts/{ACCOUNT}/kpis", "nobody")).status_code == 404

    write_moment(running.clock, at("2026-03-08 23:30"))  # the ninth in Berlin: the second has left the week
    await running.drained()
    states = await running.published(3)
    touches_in = states[-1].values[4]
    assert states[-1].as_of_day == date(2026, 3, 9)
    assert (touches_in.value, touches_in.previous) == (Decimal(0), Decimal(1))
    before = (await running.get(f"/v1/accounts/{ACCOUNT}/kpis?as_of=2026-03-08")).json()
    assert before["values"][4]["value"] == "1"
