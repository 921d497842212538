"""What must be so once everything that was told has been processed: a pure fold, without a word from the services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from contracts.events import Event
from tests.faults.alerting import alerts_of
from tests.faults.attributing import attribute, claims_of, conversations
from tests.faults.company import CURRENCY
from tests.faults.directory import Directory, day_of
from tests.faults.figures import by_account, kpis, roll_up, void_orders
from tests.faults.folding import fold, winners
from tests.faults.history import Expected, ExpectedDeadLetter, ExpectedReport, History, Scope, Step, Told


def expect(history: History, told: Told, step: Step) -> Expected:
    """Fold what was accepted so far into what must be found at `step`'s moment."""
    ledger = winners(told.events)
    things = fold(ledger)
    directory = Directory(history.company, [said for edit in told.edits for said in edit.said])
    claims = claims_of(things, directory)
    groups = conversations(things)
    attributions = attribute(things, claims, groups, directory)
    today = day_of(step.moment)
    seen = by_account(attributions.values(), things)
    created = {
        customer.key: customer.created_at
        for customer in history.company.customers
        if customer.key not in directory.alias
    }
    awake = told.complete_at is not None and told.complete_at < step.moment
    alerts = alerts_of(seen, created, directory, step.moment) if awake else None
    return Expected(
        seed=history.seed,
        moment=step.moment,
        ledger={id_: ExpectedReport(id_, event.interaction.id, event) for id_, event in ledger.items()},
        accepted_by_source=Counter(event.source for event in ledger.values()),
        interactions={id_: (thing.present, thing.occurred_at) for id_, thing in things.items()},
        conversations=groups,
        attributions=attributions,
        unmatched=frozenset(id_ for id_ in things if not claims[id_] and directory.hand_accounts.get(id_) != ()),
        dead_letters=tuple(_dead_letters(told)),
        owners={customer.key: directory.owner(customer.key, today) or "" for customer in history.company.customers},
        kpis={
            customer.key: kpis(customer.key, today, seen[customer.key], void_orders(seen[customer.key]), CURRENCY)
            for customer in history.company.customers
            if customer.key not in directory.alias
        },
        rollups=roll_up(seen, lambda account, day: _scopes(directory, account, day)),
        alerts=None if alerts is None else alerts.standing,
        allowed_alerts=frozenset() if alerts is None else alerts.allowed,
    )


def _scopes(directory: Directory, account: str, day: date) -> Iterator[Scope]:
    """Whose figures an account's day counts in: its owner's on that day, the owner's team's, and everybody's."""
    yield "portfolio", ""
    owner = directory.owner(account, day)
    person = next((each for each in directory.company.people if each.email == owner), None)
    if person is not None:
        yield "manager", person.email
        yield "team", person.team


def _dead_letters(told: Told) -> Iterator[ExpectedDeadLetter]:
    for publication, placed in told.publications:
        for service in publication.dead_in:
            yield ExpectedDeadLetter(service, publication.topic, publication.value, placed, publication.poison)
    for delivery in told.deliveries:
        if delivery.unmapped:
            yield ExpectedDeadLetter("accounts", "tenure.interactions", delivery.body, None, "a mail of nobody")


def reports_of(told: Told) -> dict[str, list[Event]]:
    """All accepted reports by event id, for a person who looks into a violation."""
    found: dict[str, list[Event]] = {}
    for event in told.events:
        found.setdefault(event.id, []).append(event)
    return found
