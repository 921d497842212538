"""The rules, each a pure function of what is known of an account, the thresholds of its version, and the time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.alerts import RuleName
from services.notifier.domain import thresholds as data
from services.notifier.domain.calendar import after_business_days
from services.notifier.domain.findings import Verdict
from services.notifier.domain.rules import champion_left, order_gap, stale_touch, ticket_volume, unanswered_mail
from services.notifier.domain.view import AccountView

LeadTimes = Callable[[AccountView, Any, datetime, datetime], tuple[datetime, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `evaluate` takes the view, the thresholds (an instance of `thresholds`) and now."""

    name: RuleName
    thresholds: type[data.Thresholds]
    evaluate: Callable[[AccountView, Any, datetime], Verdict]
    advice: str
    """What the manager may do next."""
    lead_times: LeadTimes
    """(view, thresholds, since, now): when the lead is told of an alert that is open since `since`."""
    silence: bool = False
    """It speaks of what did not happen, so it must ask the horizon first."""
    one_shot: bool = False
    """It speaks of one event: resolved once, it never comes back."""


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """The thresholds of a rule that hold from the moment they were given."""

    rule: RuleName
    version: int
    thresholds: data.Thresholds


def _never(_view: AccountView, _thresholds: Any, _since: datetime, _now: datetime) -> tuple[datetime, ...]:
    return ()


def _after_days(_view: AccountView, thresholds: Any, since: datetime, _now: datetime) -> tuple[datetime, ...]:
    return tuple(since + timedelta(days=days) for days in sorted(thresholds.lead_after_days))


def _after_business_days(view: AccountView, thresholds: Any, since: datetime, now: datetime) -> tuple[datetime, ...]:
    if not view.is_key(now):
        return ()
    return tuple(
        after_business_days(since, days, view.owner_hours(now), view.zone)
        for days in sorted(thresholds.key_lead_after_business_days)
    )


RULES: Mapping[RuleName, Rule] = {
    rule.name: rule
    for rule in (
        Rule("stale_touch", data.StaleTouch, stale_touch.evaluate, stale_touch.ADVICE, _after_days, silence=True),
        Rule("ticket_volume", data.TicketVolume, ticket_volume.evaluate, ticket_volume.ADVICE, _never),
        Rule("order_gap", data.OrderGap, order_gap.evaluate, order_gap.ADVICE, _after_days, silence=True),
        Rule("champion_left", data.ChampionLeft, champion_left.evaluate, champion_left.ADVICE, _never, one_shot=True),
        Rule(
            "unanswered_mail",
            data.UnansweredMail,
            unanswered_mail.evaluate,
            unanswered_mail.ADVICE,
            _after_business_days,
            silence=True,
        ),
    )
}


SOURCE_RULE: RuleName = "source_silent"
"""The rule that looks at sources instead of accounts: see `services.notifier.domain.sources`."""

THRESHOLDS: Mapping[RuleName, type[data.Thresholds]] = {
    **{name: rule.thresholds for name, rule in RULES.items()},
    SOURCE_RULE: data.SourceSilent,
}
"""What may be changed about every rule, the one about sources included."""

_SOURCE_ADVICE = (
    "Run `tenure sources show` and `tenure sources test` with the source's name, and look at the provider's own log of "
    "deliveries. It ends by itself with the next delivery or good pass. If the quiet is right, resolve it."
)


def advice(rule: str) -> str:
    """Return what may be done next about an alert of `rule`; empty for a rule that is not known any more."""
    if rule == SOURCE_RULE:
        return _SOURCE_ADVICE
    return next((one.advice for one in RULES.values() if one.name == rule), "")


def judge(view: AccountView, version: RuleVersion, now: datetime) -> Verdict:
    """Return what one rule says now. While an account's history is incomplete its rules wait."""
    if view.account.merged_into is not None or not version.thresholds.enabled:
        return Verdict()
    complete = view.account.history_complete_at
    if complete is None or complete >= now:
        return Verdict(due=complete, waits_for="the account's history is not declared complete")
    rule = RULES[version.rule]
    if not rule.one_shot and view.kpis is not None and view.kpis.account_version > view.account.version:
        return Verdict(waits_for="the account's version under which its KPIs were computed has not come yet")
    return rule.evaluate(view, version.thresholds, now)
