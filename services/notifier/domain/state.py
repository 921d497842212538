"""What is kept of accounts, as it travels between the database and the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.alerts import RuleName
from contracts.kpis import AccountKpis
from services.notifier.domain.life import Alert
from services.notifier.domain.view import Brief, Signal

AT_ONCE = datetime(1990, 1, 1, tzinfo=UTC)
"""A due time that has always passed."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What accounts and metrics last said of an account. Versions are -1 while nothing has come."""

    account_id: str
    account: Account | None = None
    account_version: int = -1
    kpis: AccountKpis | None = None
    kpis_version: int = -1
    next_version: int = 1
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What rules need beside the account's own row."""

    users: Mapping[str, User] = field(default_factory=dict)
    teams: Mapping[str, Team] = field(default_factory=dict)
    signals: Mapping[str, Sequence[Signal]] = field(default_factory=dict)
    """By account."""
    briefs: Mapping[str, Mapping[str, Brief]] = field(default_factory=dict)
    """By account, then interaction: only those that were asked for."""
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By account: the live sources that delivered for it lately."""
    alerts: Mapping[str, Sequence[Alert]] = field(default_factory=dict)
    """By account: the latest alert of each dedup key that is open, or whose cause may still be there."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a rule is to be looked at again for an account, or why it is held."""

    account_id: str
    rule: RuleName
    due_at: datetime | None
    held_by: Literal["service", "source", "broken"] | None = None
    held_why: str | None = None
    ask_again_at: datetime | None = None
    """Real time."""


def signal_of(attribution: Attribution) -> Signal | None:
    """Return the one-shot signal that a live attribution is; None for all others."""
    detail = attribution.detail
    if attribution.imported or detail.kind != "contact" or detail.state not in {"left", "bounced"}:
        return None
    return Signal(
        attribution.interaction_id,
        "left" if detail.state == "left" else "bounced",
        tuple(contact.contact_id for contact in attribution.contacts),
        attribution.occurred_at,
        attribution.account_version,
    )


def brief_of(attribution: Attribution) -> Brief:
    """Return the line about an interaction: who of theirs wrote, called or was written to first."""
    first = ("from", "caller", "requester", "customer", "organiser", "subject")
    ranked = sorted(attribution.contacts, key=lambda contact: contact.role not in first)
    contact_id = ranked[0].contact_id if ranked else None
    return Brief(
        attribution.interaction_id, attribution.kind, attribution.occurred_at, attribution.direction, contact_id
    )


def evidence_ids(kpis: AccountKpis) -> set[str]:
    """Return the interactions that rules may name as evidence."""
    found = {touch.interaction_id for touch in kpis.last_touches}
    found |= {item.interaction_id for item in kpis.open_items}
    if kpis.order_rhythm.last_order_id:
        found.add(kpis.order_rhythm.last_order_id)
    for value in kpis.values:
        if value.kpi == "tickets_opened" and value.evidence:
            found |= set(value.evidence.interaction_ids)
    return found
