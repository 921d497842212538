"""The notifier's rules as pure code: states decoded and judged, against the same states only decoded."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from contracts.accounts import Account
from contracts.codec import decode, encode
from contracts.envelope import Envelope
from contracts.kpis import AccountKpis, KpiValue, LastTouch, OrderRhythm
from services.notifier.domain.rules import RULES, RuleVersion, judge
from services.notifier.domain.view import AccountView
from tests.bench import company
from tests.bench.consuming import ZONE
from tests.bench.figures import Figure, Measured, Plan, Step, alternate, compare, expect
from tests.bench.ground import Ground
from tests.bench.stream import Outgoing

FIGURE = Figure(
    "rules", "notifier rules, all of them, states decoded and judged", "decoding alone", first=0.3, goal=0.5
)
_STALE_EVERY = 10
_TYPES = {AccountKpis.TYPE: AccountKpis}
_COUNTS = ("touches_out", "touches_in", "support_requests", "tickets_opened", "tickets_resolved", "orders")
_HOURS = ("resolution_hours_mean", "resolution_hours_median", "resolution_hours_p90")


def measure(ground: Ground, plan: Plan, step: Step) -> list[Measured]:
    """One process each; every tenth account has had no touch for longer than its cadence."""
    states = plan.share(15, at_least=200)

    def run(*, judged: bool) -> float:
        return float(ground.apart("tests.bench.rules:job", states=states, judged=judged)["per_second"])

    rates = alternate(plan.rounds, step, decoding=lambda: run(judged=False), rules=lambda: run(judged=True))
    return [compare(FIGURE, rates["rules"], rates["decoding"])]


async def job(*, states: int, judged: bool) -> dict[str, Any]:
    """States a second; raises CheckFailed when other alerts than expected are found."""
    records = [_record(number) for number in range(states)]
    accounts = [_account(number) for number in range(states)]
    versions = [RuleVersion(name, 1, rule.thresholds()) for name, rule in RULES.items()]
    zone = ZoneInfo(ZONE)
    found: dict[str, int] = {}
    read = 0
    began = time.perf_counter()
    for record, account in zip(records, accounts, strict=True):
        kpis = decode(Envelope.from_headers(record.headers), record.value, _TYPES)
        assert isinstance(kpis, AccountKpis)
        read += 1
        if judged:
            view = AccountView(account, zone, kpis)
            for version in versions:
                for _ in judge(view, version, company.RECORDED).findings:
                    found[version.rule] = found.get(version.rule, 0) + 1
    seconds = time.perf_counter() - began
    expect("states read", read, states)
    if judged:
        expect("findings by rule", found, {"stale_touch": (states + _STALE_EVERY - 1) // _STALE_EVERY})
    return {"per_second": states / seconds}


def _account(number: int) -> Account:
    account = decode(*_account_parts(number))
    assert isinstance(account, Account)
    return account


def _account_parts(number: int) -> tuple[Envelope, bytes]:
    record = company.account_record(number)
    return Envelope.from_headers(record.headers), record.value


def _record(number: int) -> Outgoing:
    """A state as metrics publishes it: every KPI over every window, two touches, a rhythm of orders."""
    now = company.RECORDED
    touched = now - timedelta(days=45 if number % _STALE_EVERY == 0 else 3)
    account = company.account_id(number)
    zero, some = Decimal(0), Decimal(number % 4)  # fewer tickets than any rule asks for
    values = [
        KpiValue(kpi=name, window=window, value=some, previous=zero, change=some)
        for name in _COUNTS
        for window in (7, 30, 90, 365)
    ]
    values += [KpiValue(kpi=name, window=window) for name in _HOURS for window in (7, 30, 90, 365)]
    values += [
        KpiValue(kpi="net_revenue", window=window, currency=company.CURRENCY, value=some, previous=zero, change=some)
        for window in (7, 30, 90, 365)
    ]
    state = AccountKpis(
        account_id=account,
        version=company.FIRST_VERSION,
        account_version=company.FIRST_VERSION,
        as_of_day=now.date(),
        computed_at=now,
        values=tuple(values),
        last_touches=tuple(
            LastTouch(sort=sort, touch_class="routine", at=touched, interaction_id=account)
            for sort in ("inbound", "two_way")
        ),
        order_rhythm=OrderRhythm(
            orders=8, last_order_at=now - timedelta(days=5), last_order_id=account, gaps=7, p90_gap_days=Decimal(20)
        ),
        history_since=(now - timedelta(days=300)).date(),
    )
    envelope = Envelope(
        id=f"{account}.{number}",
        source="/metrics",
        type=AccountKpis.TYPE,
        subject=account,
        time=now,
        recordedtime=now,
    )
    return Outgoing(account.encode(), encode(state), envelope.headers())
