"""accounts' consumer with all its guarantees, one process and two: against A, a transaction per message, a hot key."""

from __future__ import annotations

from collections import Counter
from typing import Any

import asyncpg

from contracts.topics import ACTIVITY, INTERACTIONS
from deploy.databases import DatabaseAccess
from services.accounts.handlers.batch import InteractionsHandler
from services.accounts.handlers.fold import Fold
from services.accounts.settings import AccountsSettings
from services.accounts.store import conservation
from services.accounts.store.interactions import InteractionTables
from services.runtime.clock import build_clock
from services.runtime.consumer import BatchConsumer
from services.runtime.postgres import create_pool
from services.runtime.telemetry import Telemetry
from tests.bench import company
from tests.bench.consuming import Drain, settings_of
from tests.bench.copying import copy_raw
from tests.bench.each_message import one_by_one
from tests.bench.figures import Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground, blocking
from tests.bench.stream import NotTogether, joint_pace, produce

_WORKLOAD = "accounts consumer, all guarantees, one process"
AGAINST_A = Figure("accounts", _WORKLOAD, "A (getmany → COPY)", first=0.10, goal=0.20)
TWO = Figure(
    "accounts-two",
    "accounts consumer, all guarantees, two processes on two cores",
    "A (getmany → COPY)",
    first=0.18,
    goal=0.30,
)
AGAINST_EACH = Figure("accounts-each", _WORKLOAD, "FastStream, a transaction per message", first=50, goal=100)
HOT = Figure("hot-account", "the same with 50 % of the records on one account", "spread evenly", first=0.8, goal=1.5)


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """All contestants, round by round."""
    step("making the accounts")
    template = ground.database("accounts")
    blocking(seed(ground.admin(template.name), plan.accounts))
    evenly, hot = (write(ground, plan, step, hot=hot) for hot in (False, True))
    plain = ground.plain_database()
    messages = plan.share(50, at_least=200)
    name = INTERACTIONS.name
    rates = alternate(
        plan.many_rounds,
        step,
        baseline=lambda: copy_raw(ground, evenly + name, plan.records, plan.batch, plain),
        evenly_spread=lambda: consume(ground, plan, template, evenly, hot=False),
        two_processes=lambda: consume(ground, plan, template, evenly, hot=False, processes=2),
        hot_account=lambda: consume(ground, plan, template, hot, hot=True),
        each_message=lambda: one_by_one(ground, evenly + name, messages, plan.accounts, plain),
    )
    return [
        compare(AGAINST_A, rates["evenly_spread"], rates["baseline"]),
        compare(TWO, rates["two_processes"], rates["baseline"]),
        compare(AGAINST_EACH, rates["evenly_spread"], rates["each_message"]),
        compare(HOT, rates["hot_account"], rates["evenly_spread"]),
    ]


def write(ground: Ground, plan: Plan, step: Step, *, hot: bool) -> str:
    """The prefix of topics that hold the orders."""
    step("writing the records" + (" with a hot account" if hot else ""))
    prefix = ground.topics((INTERACTIONS, ACTIVITY), partitions=2)
    records = (company.record_of(order)._replace(lane=order.account) for order in _orders(plan, hot=hot))
    written = produce(ground.kafka, prefix + INTERACTIONS.name, records)
    expect("records written", blocking(written), plan.records)
    return prefix


def _orders(plan: Plan, *, hot: bool) -> Any:
    return company.orders(plan.records, accounts=plan.accounts, conversations=plan.conversations, hot=hot)


async def seed(dsn: str, accounts: int) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        ids = [company.account_id(number) for number in range(accounts)]
        # one account and its customer id at the shop for each number
        await connection.execute(
            "insert into account (id, external_key, name, currency, created_at)"
            " select id::uuid, 'customer-' || place, 'Customer ' || place, $2, $3"
            " from unnest($1::text[]) with ordinality as new (id, place)",
            ids,
            company.CURRENCY,
            company.LAST_MOMENT,
        )
        await connection.execute(
            "insert into identity (kind, identity_key, account_id)"
            " select 'organisation', 'organisation:' || value, id::uuid"
            " from unnest($1::text[], $2::text[]) as new (id, value)",
            ids,
            [company.organisation(number) for number in range(accounts)],
        )
        await connection.execute("vacuum analyze")
    finally:
        await connection.close()


def consume(
    ground: Ground,
    plan: Plan,
    template: DatabaseAccess,
    prefix: str,
    *,
    hot: bool,
    processes: int = 1,
    attempts: int = 3,
) -> float:
    """Records a second of the consumer, on a copy of `template`; runs that were not together are made again."""
    database = ground.copy(template)
    ground.settle()
    arguments = {
        "bootstrap": ground.kafka,
        "prefix": prefix,
        "database": database.worker,
        "records": plan.records,
        "batch": plan.batch,
        "directory": str(ground.instance.directory),
    }
    if processes == 1:
        rate = float(ground.apart("tests.bench.accounts:job", **arguments)["per_second"])
    else:
        told = ground.together("tests.bench.accounts:job", processes, **arguments)
        try:
            rate = joint_pace([one["marks"] for one in told])
        except NotTogether:
            if attempts <= 1:
                raise
            ground.drop(database)
            return consume(ground, plan, template, prefix, hot=hot, processes=processes, attempts=attempts - 1)
    _check(ground, plan, database.name, hot=hot)
    ground.drop(database)
    return rate


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
    """Wired as services.accounts.app does it, without relay, jobs and doors: those are other figures."""
    settings = AccountsSettings(**settings_of(bootstrap, prefix, database, batch, directory))
    telemetry = Telemetry("accounts", settings)
    pool = await create_pool(settings.database_url, name="accounts")
    drain = Drain(telemetry.metrics, records, topic=INTERACTIONS, together=together, meeting=meeting)
    consumer = BatchConsumer(
        service="accounts",
        topics=[INTERACTIONS],
        handler=InteractionsHandler(Fold(InteractionTables, settings.zone), conservation.count),
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


def _check(ground: Ground, plan: Plan, database: str, *, hot: bool) -> None:
    """Every record has had its whole effect, on the right account, once."""
    orders = list(_orders(plan, hot=hot))
    (row,) = ground.rows(
        database,
        "select (select count(*) from ledger) as ledger, (select count(*) from dead_letter) as dead,"
        " (select count(*) from job) as jobs, (select count(*) from interaction where unmatched) as unmatched,"
        " (select count(distinct conversation_id) from interaction) as conversations,"
        " (select count(*) from outbox) as messages,"
        " (select sum((convert_from(payload, 'UTF8')::json #>> '{detail,net,amount}')::numeric) from outbox) as money",
    )
    expect("rows in the ledger", row["ledger"], len(orders))
    expect("dead letters", row["dead"], 0)
    expect("open jobs", row["jobs"], 0)
    expect("unmatched interactions", row["unmatched"], 0)
    expect("conversations", row["conversations"], len({(order.account, order.conversation) for order in orders}))
    expect("messages in the outbox", row["messages"], len(orders))
    expect("money in the outbox", row["money"], sum(order.net for order in orders))
    wanted = Counter(company.account_id(order.account) for order in orders)
    for table, account in (("attribution", "account_id::text"), ("outbox", "aggregateid")):
        found = ground.rows(database, f"select {account} as account, count(*) as rows from {table} group by 1")  # noqa: S608
        expect(
            f"accounts with as many rows in {table} as they have orders",
            sum(wanted[one["account"]] == one["rows"] for one in found),
            len(wanted),
        )
