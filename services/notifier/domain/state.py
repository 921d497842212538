"""What is kept of accounts, as it travels between the database and the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from contracts.accounts import Account, Team, User
from contracts.activity import Attribution
from contracts.alerts import RuleName
from contracts.kpis import AccountKpis
from services.notifier.domain.life import Alert
from services.notifier.domain.view import Brief, Signal

AT_ONCE = datetime(1990, 1, 1, tzinfo=UTC)
"""A due time that has always passed."""


@dataclass(frozen=True)
class Watched:
    """What accounts and metrics last said of an account. Versions are -1 while nothing has come.

    Kept as the JSON text that came, read when somebody asks: most of what is locked is only replaced.
    """

    account_id: str
    account_json: str | None = None
    account_version: int = -1
    kpis_json: str | None = None
    kpis_version: int = -1
    next_version: int = 1
    traceparent: str | None = None

    @cached_property
    def account(self) -> Account | None:
        """The account; None until it has come."""
        return None if self.account_json is None else Account.model_validate_json(self.account_json)

    @cached_property
    def kpis(self) -> AccountKpis | None:
        """Its KPIs; None until they have come."""
        return None if self.kpis_json is None else AccountKpis.model_validate_json(self.kpis_json)

    def told(self, event: Account | AccountKpis, json: str, traceparent: str | None) -> "Watched":
        """Return it with a newer state, or as it is; `json` is the text that `event` was read from."""
        trace = traceparent or self.traceparent
        known = vars(self)
        if isinstance(event, Account):
            if event.version <= self.account_version:
                return self
            after = replace(self, account_json=json, account_version=event.version, traceparent=trace)
            read = {"account": event, **{name: known[name] for name in ("kpis",) if name in known}}
        else:
            if event.version <= self.kpis_version:
                return self
            after = replace(self, kpis_json=json, kpis_version=event.version, traceparent=trace)
            read = {"kpis": event, **{name: known[name] for name in ("account",) if name in known}}
        # What has been read already is not read again.
        vars(after).update(read)
        return after


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

    def is_due(self, now: datetime, asked_at: datetime) -> bool:
        """Say whether it is due at `now`, and not held in real time beyond `asked_at`."""
        asked = self.ask_again_at is None or self.ask_again_at <= asked_at
        return asked and self.due_at is not None and self.due_at < now


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
