"""Champion left: somebody who carries the relationship left the customer or can no longer be reached. One-shot."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from contracts.accounts import GroupRole
from contracts.alerts import Severity
from contracts.values import Kind
from services.notifier.domain.findings import RANK, Finding, Verdict
from services.notifier.domain.thresholds import ChampionLeft
from services.notifier.domain.view import AccountView, Brief, Signal
from services.notifier.domain.wording import item, on_day

ADVICE = (
    "Ask who takes over, get introduced while the old contact still helps, and name the new champion in the "
    "decision group."
)

_TITLES = {"left": "{name} of {account} has left", "bounced": "Mail to {name} of {account} no longer arrives"}
_WORDS: Mapping[GroupRole, str] = {
    "champion": "champion",
    "executive_sponsor": "executive sponsor",
    "decision_maker": "decision maker",
}


def evaluate(view: AccountView, thresholds: ChampionLeft, _now: datetime) -> Verdict:
    """Judge every live signal by the roles that the contact held on its day; age only keeps an alert from opening."""
    unseen = [signal for signal in view.signals if signal.account_version > view.account.version]
    if unseen:
        return Verdict(waits_for="the account's version under which the report was read has not come yet")
    found = (_finding(view, thresholds, signal) for signal in view.signals)
    return Verdict(tuple(finding for finding in found if finding is not None))


def _finding(view: AccountView, thresholds: ChampionLeft, signal: Signal) -> Finding | None:
    severities = thresholds.left if signal.state == "left" else thresholds.bounced
    day = view.day(signal.occurred_at)
    held: list[tuple[Severity, GroupRole, str]] = [
        (severities[role], role, contact_id)
        for contact_id in signal.contact_ids
        for role in view.roles_on(contact_id, day)
        if role in severities
    ]
    if not held:
        return None
    severity, _, contact_id = max(held, key=lambda entry: RANK[entry[0]])
    roles = " and ".join(dict.fromkeys(_WORDS.get(role, role.replace("_", " ")) for _, role, _ in held))
    name = view.contact_name(contact_id) or "A contact"
    what = "was reported to have left" if signal.state == "left" else "can no longer be reached by mail"
    return Finding(
        subject=signal.interaction_id,
        severity=severity,
        deadline=signal.occurred_at,
        title=_TITLES[signal.state].format(name=name, account=view.account.name),
        explanation=(
            f"{name}, our {roles} at {view.account.name}, {what} on {on_day(signal.occurred_at, view.zone)}. "
            f"Relationships often go with the person who carried them."
        ),
        items=(item(Brief(signal.interaction_id, Kind.CONTACT, signal.occurred_at, None, contact_id), view),),
        opens_until=signal.occurred_at + timedelta(days=thresholds.greatest_age_days),
    )
