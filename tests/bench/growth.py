"""What an event costs when there is a hundred times as much history, or a thousand times as many accounts.

The history is the service's own: it handles a first part itself, and its rows are then multiplied in the database
under new keys (in metrics also further back in time, beyond every window, so that every sum stays right). New events go
to the same accounts and conversations at every size; their processor time, PostgreSQL's included, is compared.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from statistics import median
from typing import Any

from contracts.topics import ACCOUNTS, ACTIVITY, INTERACTIONS, KPIS
from deploy.databases import DatabaseAccess
from deploy.local.processes import free_port
from services.runtime.auth import Issuer
from tests.bench import accounts as accounts_bench
from tests.bench import company
from tests.bench.consuming import settings_of
from tests.bench.doors import server
from tests.bench.figures import CheckFailed, Figure, Measured, Plan, Step, expect
from tests.bench.ground import Ground, blocking
from tests.bench.stream import Outgoing, produce

_COST = "processor time an event, PostgreSQL's included"
HISTORY = {
    "accounts": Figure("history-accounts", f"accounts: {_COST}, history grows", "little history", 2.0, 1.2, "times"),
    "metrics": Figure("history-metrics", f"metrics: {_COST}, history grows", "little history", 2.0, 1.2, "times"),
}
CROWD = {
    "accounts": Figure("crowd-accounts", f"accounts: {_COST}, accounts grow", "few accounts", 2.0, 1.2, "times"),
    "metrics": Figure("crowd-metrics", f"metrics: {_COST}, accounts grow", "few accounts", 2.0, 1.2, "times"),
}
READ = Figure("history-read", "an account's KPIs over the API, history grows", "little history", 1.5, 1.2, "times")

_BASE = 10_000  # events that the service handles itself
_ACTIVE = 100  # accounts that orders are about
_READS = 300
_DAYS_A_COPY = 61
_BEYOND_WINDOWS = 750  # days
_AUDIENCE, _ISSUER = "tenure", "https://bench.tenure.invalid"

_NEW_KEY = "md5({column}::text || ':' || copy)::uuid"
_SHIFTED = f"{{column}} - make_interval(days => {_BEYOND_WINDOWS} + {_DAYS_A_COPY} * copy)"
_SHIFTED_DAY = f"{{column}} - ({_BEYOND_WINDOWS} + {_DAYS_A_COPY} * copy)"
_CHANGED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "accounts": {
        "ledger": {"event_id": _NEW_KEY, "interaction_id": _NEW_KEY},
        "interaction": {
            "id": _NEW_KEY,
            "conversation_id": _NEW_KEY,
            "refs": "array(select one || '~' || copy from unnest({column}) as one)",
        },
        "interaction_party": {"interaction_id": _NEW_KEY},
        "conversation": {"id": _NEW_KEY},
        "conversation_ref": {"reference": "{column} || '~' || copy", "conversation_id": _NEW_KEY},
        "attribution": {"interaction_id": _NEW_KEY, "conversation_id": _NEW_KEY},
    },
    "metrics": {
        "fact": {
            "interaction_id": _NEW_KEY,
            "at": _SHIFTED,
            "began_at": _SHIFTED,
            "resolved_at": _SHIFTED,
            "day": _SHIFTED_DAY,
            "resolved_on": _SHIFTED_DAY,
        },
        "bucket": {"day": _SHIFTED_DAY},
    },
}
"""By table: what differs between a row and its copy; every other column is copied as the service wrote it."""


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """History first, then accounts, for both consumers; the reading of KPIs beside the history of metrics."""
    base = min(_BASE, plan.records)
    found: list[Measured] = []
    for service in ("accounts", "metrics"):
        begun = _begin(ground, plan, step, service, base)
        rows: dict[int, dict[str, float]] = {}
        for size in _sizes(base, plan.history):
            step(f"{service}: {size:,} events of history")
            rows[size] = _with_history(ground, plan, begun, base, size)
        found.append(_grown(HISTORY[service], rows, "events of history"))
        if service == "metrics":
            found.append(_grown(READ, rows, "events of history", "read_ms"))
        crowd: dict[int, dict[str, float]] = {}
        for size in _sizes(_ACTIVE, plan.crowd):
            step(f"{service}: {size:,} accounts")
            crowd[size] = _with_accounts(ground, plan, begun, size)
        found.append(_grown(CROWD[service], crowd, "accounts"))
    return found


def _sizes(first: int, last: int) -> list[int]:
    sizes = [first]
    while sizes[-1] < last:
        sizes.append(min(sizes[-1] * 10, last))
    return sizes


def _grown(figure: Figure, rows: Mapping[int, Mapping[str, float]], what: str, value: str = "us") -> Measured:
    """The last against the first. The note is the table."""
    sizes = list(rows)
    unit = {"us": "µs", "read_ms": "ms"}[value]
    note = ", ".join(f"{rows[size][value]:.{0 if unit == 'µs' else 1}f} {unit} at {size:,}" for size in sizes)
    ratio = rows[sizes[-1]][value] / rows[sizes[0]][value]
    return Measured(figure, (ratio,), {f"{size:,} {what}": rows[size][value] for size in sizes}, f"{what}: {note}")


class _Begun:
    """A service's database after the first part, and the topics that hold the rest."""

    def __init__(self, service: str, template: DatabaseAccess, prefix: str, new: int) -> None:
        self.service = service
        self.template = template
        self.prefix = prefix
        self.new = new


def _begin(ground: Ground, plan: Plan, step: Step, service: str, base: int) -> _Begun:
    step(f"{service}: its own first {base:,} events")
    new = plan.share(3, at_least=200)
    orders = list(company.orders(base + new, accounts=_ACTIVE, conversations=3 * _ACTIVE))
    template = ground.database(service)
    if service == "accounts":
        prefix = ground.topics((INTERACTIONS, ACTIVITY), partitions=1)
        blocking(accounts_bench.seed(ground.admin(template.name), _ACTIVE))
        topic, record = INTERACTIONS, company.record_of
    else:
        prefix = ground.topics((ACCOUNTS, ACTIVITY, KPIS), partitions=1)
        blocking(produce(ground.kafka, prefix + ACCOUNTS.name, map(company.account_record, range(_ACTIVE))))
        _consume(ground, service, template, prefix, _ACTIVE)
        topic, record = ACTIVITY, company.attribution_record
    blocking(produce(ground.kafka, prefix + topic.name, map(record, orders[:base])))
    _consume(ground, service, template, prefix, base)
    blocking(produce(ground.kafka, prefix + topic.name, _records(record, orders[base:])))
    ground.execute(template.name, "truncate outbox", "vacuum analyze")
    return _Begun(service, template, prefix, new)


def _records(record: Any, orders: Sequence[company.Order]) -> Iterator[Outgoing]:
    return map(record, orders)


def _with_history(ground: Ground, plan: Plan, begun: _Begun, base: int, size: int) -> dict[str, float]:
    database = ground.copy(begun.template)
    tables = _CHANGED[begun.service]
    before = {table: _count(ground, database, table) for table in tables}
    copies = size // base - 1
    if copies:
        ground.execute(database.name, *(_multiply(ground, database, table, copies) for table in tables))
        ground.execute(database.name, "vacuum analyze")
        for table in tables:
            expect(f"rows in {table}", _count(ground, database, table), before[table] * (copies + 1))
    grown = _cost(ground, plan, begun, database)
    if begun.service == "metrics":
        grown["read_ms"] = _read_ms(ground, begun, database)
    ground.drop(database)
    return grown


def _with_accounts(ground: Ground, plan: Plan, begun: _Begun, size: int) -> dict[str, float]:
    database = ground.copy(begun.template)
    more = size - _ACTIVE
    if more:
        ground.execute(
            database.name, *(_more_accounts(ground, database, table, more) for table in _CROWD[begun.service])
        )
        ground.execute(database.name, "vacuum analyze")
    grown = _cost(ground, plan, begun, database)
    ground.drop(database)
    return grown


_CROWD: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "accounts": {
        "account": {"id": _NEW_KEY, "external_key": "{column} || '~' || copy"},
        "identity": {"account_id": _NEW_KEY, "identity_key": "{column} || '~' || copy", "id": "default"},
    },
    "metrics": {"account": {"account_id": _NEW_KEY}, "account_state": {"account_id": _NEW_KEY}},
}


def _multiply(ground: Ground, database: DatabaseAccess, table: str, copies: int) -> str:
    changed = _CHANGED[database.service][table]
    return _insert(ground, database, table, changed, f"generate_series(1, {copies}) as copy")


def _more_accounts(ground: Ground, database: DatabaseAccess, table: str, more: int) -> str:
    changed = _CROWD[database.service][table]
    share = -(-more // _ACTIVE)
    return _insert(ground, database, table, changed, f"generate_series(1, {share}) as copy")


def _insert(ground: Ground, database: DatabaseAccess, table: str, changed: Mapping[str, str], times: str) -> str:
    # whatever columns the table has by now, but for those that number themselves
    rows = ground.rows(
        database.name,
        "select column_name as name from information_schema.columns where table_schema = 'public'"  # noqa: S608 - ours
        f" and table_name = '{table}' and is_identity = 'NO' and is_generated = 'NEVER' order by ordinal_position",
    )
    columns = [row["name"] for row in rows if changed.get(row["name"]) != "default"]
    values = [changed.get(column, "{column}").format(column=f"old.{column}") for column in columns]
    return (
        f"insert into {table} ({', '.join(columns)}) select {', '.join(values)}"  # noqa: S608 - names of our own tables
        f" from (select * from {table}) as old cross join {times}"
    )


def _count(ground: Ground, database: DatabaseAccess, table: str) -> int:
    return int(ground.rows(database.name, f"select count(*) as rows from {table}")[0]["rows"])  # noqa: S608 - ours


def _consume(ground: Ground, service: str, database: DatabaseAccess, prefix: str, records: int) -> dict[str, Any]:
    return ground.apart(
        f"tests.bench.{service}:job",
        bootstrap=ground.kafka,
        prefix=prefix,
        database=database.worker,
        records=records,
        batch=max(1, min(1_000, records // 4)),
        directory=str(ground.instance.directory),
    )


_ADDED = {"accounts": "attribution", "metrics": "fact"}


def _cost(ground: Ground, _plan: Plan, begun: _Begun, database: DatabaseAccess) -> dict[str, float]:
    """Microseconds of processor time for each of the new events, once each has had its effect."""
    table = _ADDED[begun.service]
    before = _count(ground, database, table)
    ground.settle()
    answer = _consume(ground, begun.service, database, begun.prefix, begun.new)
    expect(f"new rows in {table}", _count(ground, database, table) - before, begun.new)
    expect("dead letters", _count(ground, database, "dead_letter"), 0)
    return {"us": float(answer["processor_us"]) + float(answer["database_us"])}


# reading


def _read_ms(ground: Ground, begun: _Begun, database: DatabaseAccess) -> float:
    """The median over many readings of an account's KPIs, from the real service."""
    directory = ground.instance.directory
    issuer = Issuer(directory / "secrets" / "issuer", _ISSUER, _AUDIENCE)
    port, operations = free_port(), free_port()
    settings = {
        **settings_of(ground.kafka, begun.prefix, database.worker, 1_000, str(directory)),
        "api_database_url": database.api,
        "http_port": port,
        "operations_port": operations,
        "auth_jwks_file": issuer.jwks_file,
        "auth_issuer": _ISSUER,
        "auth_audience": _AUDIENCE,
    }
    environment = {f"TENURE_{name.upper()}": str(value) for name, value in settings.items()}
    command = ["-m", "services.metrics.app"]
    with server(ground, "metrics", command, f"http://127.0.0.1:{operations}/readyz", environment):
        token = issuer.issue("bench", ["admin"], timedelta(hours=1))
        return _timed_reads(port, token)


def _timed_reads(port: int, token: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken = []
    for number in range(_READS):
        account = company.account_id(number % _ACTIVE)
        began = time.perf_counter()
        connection.request("GET", f"/v1/accounts/{account}/kpis", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        taken.append((time.perf_counter() - began) * 1000)
        if answer.status != http.HTTPStatus.OK or not json.loads(body)["values"]:
            raise CheckFailed(f"KPIs were answered with {answer.status}: {body[:300].decode(errors='replace')}")
    connection.close()
    return median(taken[_READS // 10 :])
