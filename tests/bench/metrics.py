"""metrics' consumer, one process and two, 5 % of the events late: against A."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from contracts.topics import ACCOUNTS, ACTIVITY, KPIS
from deploy.databases import DatabaseAccess
from services.metrics.domain.days import CompanyDays
from services.metrics.handlers import Handlers, Tables
from services.metrics.settings import MetricsSettings
from services.metrics.store import accounts, facts, rollups, states
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.postgres import create_pool
from services.runtime.telemetry import Telemetry
from tests.bench import company
from tests.bench.consuming import ZONE, Drain, settings_of
from tests.bench.copying import copy_raw
from tests.bench.figures import Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground, blocking
from tests.bench.stream import joint_pace, produce

FIGURE = Figure("metrics", "metrics consumer, 5 % late, one process", "A (getmany → COPY)", first=0.08, goal=0.15)
TWO = Figure(
    "metrics-two",
    "metrics consumer, 5 % late, two processes on two cores",
    "A (getmany → COPY)",
    first=0.14,
    goal=0.25,
)
_WINDOW = 365


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """The consumer against A, on the same records."""
    template, prefix = prepare(ground, plan, step)
    plain = ground.plain_database()
    rates = alternate(
        plan.many_rounds,
        step,
        baseline=lambda: copy_raw(ground, prefix + ACTIVITY.name, plan.records, plan.batch, plain),
        metrics=lambda: consume(ground, plan, template, prefix),
        two_processes=lambda: consume(ground, plan, template, prefix, processes=2),
    )
    return [
        compare(FIGURE, rates["metrics"], rates["baseline"]),
        compare(TWO, rates["two_processes"], rates["baseline"]),
    ]


def prepare(ground: Ground, plan: Plan, step: Step) -> tuple[DatabaseAccess, str]:
    """A database that knows the accounts and nothing else, and the prefix of topics that hold the orders."""
    step("making the accounts")
    prefix = ground.topics((ACCOUNTS, ACTIVITY, KPIS), partitions=2)
    blocking(produce(ground.kafka, prefix + ACCOUNTS.name, map(company.account_record, range(plan.accounts))))
    template = ground.database("metrics")
    _run(ground, plan, template, prefix, plan.accounts)
    ground.execute(template.name, "truncate outbox", "vacuum analyze")
    step("writing the records")
    written = produce(ground.kafka, prefix + ACTIVITY.name, map(company.attribution_record, _orders(plan)))
    expect("records written", blocking(written), plan.records)
    return template, prefix


def consume(ground: Ground, plan: Plan, template: DatabaseAccess, prefix: str, *, processes: int = 1) -> float:
    """Records a second."""
    database = ground.copy(template)
    ground.settle()
    rate = _run(ground, plan, database, prefix, plan.records, processes=processes)
    _check(ground, plan, database.name)
    ground.drop(database)
    return rate


def _orders(plan: Plan) -> Iterator[company.Order]:
    return company.orders(plan.records, accounts=plan.accounts, conversations=plan.conversations, late=True)


def _run(
    ground: Ground, plan: Plan, database: DatabaseAccess, prefix: str, records: int, *, processes: int = 1
) -> float:
    arguments = {
        "bootstrap": ground.kafka,
        "prefix": prefix,
        "database": database.worker,
        "records": records,
        "batch": min(plan.batch, max(1, records // 4)),
        "directory": str(ground.instance.directory),
    }
    if processes == 1:
        return float(ground.apart("tests.bench.metrics:job", **arguments)["per_second"])
    return joint_pace([one["marks"] for one in ground.together("tests.bench.metrics:job", processes, **arguments)])


async def job(
    *,
    bootstrap: str,
    prefix: str,
    database: str,
    records: int,
    batch: int,
    directory: str,
    together: int = 1,
    meeting: str | None = None,
) -> dict[str, Any]:
    """Wired as services.metrics.app does it, without relay, roll-ups, slides and API."""
    settings = MetricsSettings(api_database_url=database, **settings_of(bootstrap, prefix, database, batch, directory))
    telemetry = Telemetry("metrics", settings)
    pool = await create_pool(settings.database_url, name="metrics")
    drain = Drain(telemetry.metrics, records, topic=ACTIVITY, together=together, meeting=meeting)
    consumer = BatchConsumer(
        service="metrics",
        topics=(ACCOUNTS, ACTIVITY),
        handler=Handlers(
            Tables(facts, states, accounts, rollups), CompanyDays(settings.zone), settings.reporting_currency
        ),
        pool=pool,
        settings=settings,
        clock=build_clock(settings),
        telemetry=telemetry,
        after_commit=drain.committed,
    )
    answer = await drain.run(consumer, pool)
    await pool.close()
    telemetry.close()
    return answer


def _check(ground: Ground, plan: Plan, database: str) -> None:
    """Every order stands in its day, late ones included, and the last figures of each account count them all."""
    orders = list(_orders(plan))
    (row,) = ground.rows(
        database,
        "select (select count(*) from fact) as facts, (select sum(amount) from fact) as money,"
        " (select sum(counts[6]) from bucket) as counted, (select count(*) from dead_letter) as dead",
    )
    expect("slim rows", row["facts"], len(orders))
    expect("money in slim rows", row["money"], sum(order.net for order in orders))
    expect("orders in buckets", row["counted"], len(orders))
    expect("dead letters", row["dead"], 0)
    published = ground.rows(
        database, "select distinct on (aggregateid) aggregateid, payload from outbox order by aggregateid, id desc"
    )
    found = {one["aggregateid"]: _figures(one["payload"]) for one in published}
    wanted = _recomputed(orders)
    wrong = [account for account in wanted if found.get(account) != wanted[account]]
    expect("accounts whose last figures differ from a recomputation", len(wrong), 0)


def _recomputed(orders: list[company.Order]) -> dict[str, tuple[int, Decimal]]:
    """By account: orders and net revenue of the last 365 days, from scratch."""
    zone = ZoneInfo(ZONE)
    as_of = company.RECORDED.astimezone(zone).date()
    counts: Counter[str] = Counter()
    money: defaultdict[str, Decimal] = defaultdict(Decimal)
    for order in orders:
        account = company.account_id(order.account)
        inside = order.placed_at.astimezone(zone).date() > as_of - timedelta(days=_WINDOW)
        counts[account] += inside
        money[account] += order.net if inside else 0
    return {account: (count, money[account]) for account, count in counts.items()}


def _figures(payload: bytes) -> tuple[int, Decimal]:
    values = {
        (value["kpi"], value["window"]): Decimal(value.get("value") or 0) for value in orjson.loads(payload)["values"]
    }
    return int(values["orders", _WINDOW]), values["net_revenue", _WINDOW]
