"""Cases whose outcome a person has worked out: who watches the watcher."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.faults.alerting import after_business_days
from tests.faults.directory import ZONE
from tests.faults.drafts import Draft, event_of, party
from tests.faults.history import (
    Company,
    Contact,
    Customer,
    Delivery,
    Edit,
    Expected,
    ExpectedAlert,
    History,
    Person,
    Step,
    Told,
)
from tests.faults.oracle import expect
from tests.faults.said import LinkSaid, Merged, ServingSaid, Statement

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
ANNA = "anna@meridian.example"
MARIA, NILS = "maria@acme.example", "nils@nordic.example"


def company() -> Company:
    def customer(key: str, letter: Any = "C", **more: Any) -> Customer:
        begun = datetime(2025, 1, 1, tzinfo=UTC)
        return Customer(
            key=key, name=key, account_class=letter, owner=ANNA, owner_since=begun.date(), created_at=begun, **more
        )

    return Company(
        own_domain="meridian.example",
        people=(Person(email=ANNA, name="Anna", role="manager", team="north", mailbox="mail-anna"),),
        customers=(
            customer("acme", domains=("acme.example",), organisations=("hub:meridian:org-1",)),
            customer("nordic", domains=("nordic.example",)),
        ),
        contacts=(
            Contact(key="maria", account="acme", name="Maria", addresses=(MARIA,)),
            Contact(key="nils", account="nordic", name="Nils", addresses=(NILS,)),
        ),
        operator="olga",
    )


def draft(word: str, native: str, at: datetime, report: str = "", *, order: int | None = None, **data: Any) -> Draft:
    return Draft(
        type=f"tenure.{word}.v1",
        subject=native,
        report=report or f"{native}/{word}",
        at=at,
        data=data,
        route="hub",
        sequence=order,
    )


def mail(number: int, at: datetime, *, inbound: bool = True, who: str = MARIA, box: str = ANNA, **more: Any) -> Draft:
    people = [party("from", address=who), party("to", address=ANNA)]
    if not inbound:
        people = [party("from", address=ANNA), party("to", address=who)]
    data = {"parties": people, "mailbox": box, "direction": "in" if inbound else "out", **more}
    native = f"mail-{number}"
    return draft(f"email.{'received' if inbound else 'sent'}", native, at, f"{native}/{box}", **data)


def outcome(drafts: Sequence[Draft], said: Sequence[Statement] = (), *, awake: bool = False) -> Expected:
    told = Told(complete_at=NOON - timedelta(days=300) if awake else None)
    events = tuple(event_of(each, source="hub") for each in drafts)
    told.deliveries.append(
        Delivery(name="d", source="hub", path="", media="", body=b"", signature="standard", events=events)
    )
    told.edits.append(Edit(name="e", method="POST", path="", body=None, said=tuple(said)))
    step = Step(number=0, moment=NOON, actions=())
    history = History(
        seed=0, size="small", company=company(), begins_at=NOON, steps=(step,), sources_toml="", secret_files=()
    )
    return expect(history, told, step)


def whose(expected: Expected) -> dict[str, set[str]]:
    """By native id the accounts."""
    names = {each.interaction_id: each.event.interaction.native_id for each in expected.ledger.values()}
    found: dict[str, set[str]] = {name: set() for name in names.values()}
    for interaction, account in expected.attributions:
        found[names[interaction]].add(account)
    return found


def figure(expected: Expected, account: str, kpi: str, window: int = 30, currency: str | None = None) -> Decimal | None:
    return expected.kpis[account].values[kpi, window, currency][0]


def order(at: datetime, amount: str, *, sequence: int | None = None, report: str = "") -> Draft:
    customer = [party("customer", organisation="hub:meridian:org-1")]
    net = {"amount": amount, "currency": "EUR"}
    return draft("order.placed", "order-1", at, report, order=sequence, parties=customer, net=net)


@pytest.mark.parametrize("turn", [1, -1])
def test_the_greatest_revision_of_a_report_wins_whatever_came_first(turn: int) -> None:
    versions = [order(NOON, "10.00", sequence=5), order(NOON, "70.00", sequence=7), order(NOON, "30.00", sequence=3)]
    expected = outcome(versions[::turn])
    assert len(expected.ledger) == 1
    assert figure(expected, "acme", "net_revenue", currency="EUR") == Decimal(70)


def test_a_later_withdrawal_stands_and_an_earlier_one_does_not() -> None:
    gone = draft("interaction.withdrawn", "order-1", NOON, "w", order=5, kind="order")
    back = draft("interaction.restored", "order-1", NOON, "r", order=7, kind="order")
    assert figure(outcome([order(NOON, "10.00"), gone]), "acme", "orders") == 0
    assert figure(outcome([order(NOON, "10.00"), gone, back]), "acme", "orders") == 1


def test_a_mail_goes_only_when_every_mailbox_took_it_back() -> None:
    both = [mail(1, NOON), mail(1, NOON + timedelta(seconds=1), box="bela@meridian.example")]
    native = both[0].subject
    one = draft("interaction.withdrawn", native, NOON, "w1", kind="mail", mailbox=ANNA)
    other = draft("interaction.withdrawn", native, NOON, "w2", kind="mail", mailbox="bela@meridian.example")
    assert figure(outcome([*both, one]), "acme", "touches_in") == 1
    assert figure(outcome([*both, one, other]), "acme", "touches_in") == 0


def test_a_move_leaves_the_past_where_it_was_and_a_correction_does_not() -> None:
    drafts = [mail(1, NOON - timedelta(days=9)), mail(2, NOON)]
    moved = ServingSaid("maria", "nordic", "move", NOON.date())
    corrected = ServingSaid("maria", "nordic", "correction", date(1990, 1, 1))
    assert whose(outcome(drafts, [moved])) == {"mail-1": {"acme"}, "mail-2": {"nordic"}}
    assert whose(outcome(drafts, [corrected])) == {"mail-1": {"nordic"}, "mail-2": {"nordic"}}


def test_without_the_address_the_domain_says_whose_it_is_and_without_both_nobody() -> None:
    gone = LinkSaid("address", MARIA, None, "maria", "erase")
    known = outcome([mail(1, NOON)], [gone])
    assert whose(known) == {"mail-1": {"acme"}}
    assert not any(each.contacts for each in known.attributions.values())
    strange = outcome([mail(1, NOON, who="x@gmail.com")])
    assert len(strange.unmatched) == 1


def test_a_ticket_goes_to_the_organisation_and_a_mail_to_everybody() -> None:
    people = [party("requester", address=NILS, organisation="hub:meridian:org-1")]
    assert whose(outcome([draft("ticket.opened", "t", NOON, parties=people)])) == {"t": {"acme"}}
    guests = [party("attendee", address=NILS), party("attendee", address=MARIA)]
    meeting = draft("meeting.held", "m", NOON, parties=guests, form="remote")
    assert whose(outcome([meeting])) == {"m": {"acme", "nordic"}}


def test_a_refund_follows_its_order_and_counts_nowhere_when_that_is_cancelled() -> None:
    parent = {"kind": "order", "native_id": "order-1"}
    refund = draft("order.refunded", "refund", NOON, parent=parent, refunded={"amount": "4.00", "currency": "EUR"})
    cancelled = draft("order.cancelled", "order-1", NOON + timedelta(hours=1))
    assert figure(outcome([order(NOON, "10.00"), refund]), "acme", "net_revenue", currency="EUR") == Decimal(6)
    assert figure(outcome([order(NOON, "10.00"), refund, cancelled]), "acme", "net_revenue", currency="EUR") == 0


def test_a_merged_account_lives_on_in_the_other_until_they_are_parted() -> None:
    merged = Merged("nordic", "acme")
    drafts = [mail(1, NOON, who=NILS)]
    assert whose(outcome(drafts, [merged])) == {"mail-1": {"acme"}}
    assert whose(outcome(drafts, [merged, Merged("nordic", "acme", undone=True)])) == {"mail-1": {"nordic"}}


def test_what_is_said_of_a_merged_account_stays_with_the_one_that_speaks_for_it() -> None:
    said: list[Statement] = [
        Merged("nordic", "acme"),
        LinkSaid("domain", "new.example", "nordic", None, "assign"),
        Merged("nordic", "acme", undone=True),
    ]
    assert whose(outcome([mail(1, NOON, who="somebody@new.example")], said)) == {"mail-1": {"acme"}}


def test_days_are_those_of_berlin() -> None:
    before_midnight, after = datetime(2026, 2, 25, 22, 59, tzinfo=UTC), datetime(2026, 2, 25, 23, 1, tzinfo=UTC)
    expected = outcome([mail(1, before_midnight), mail(2, after)])
    assert expected.kpis["acme"].values["touches_in", 7, None] == (Decimal(1), Decimal(1))


def test_a_reopened_ticket_counts_its_last_resolution_from_its_first_opening() -> None:
    people = [party("requester", address=MARIA)]
    steps = [
        draft("ticket.opened", "t", NOON - timedelta(hours=10), parties=people),
        draft("ticket.resolved", "t", NOON - timedelta(hours=8), "first"),
        draft("ticket.reopened", "t", NOON - timedelta(hours=7)),
    ]
    reopened = outcome(steps)
    assert figure(reopened, "acme", "tickets_resolved") == 0
    assert {kind for kind, _ in reopened.kpis["acme"].open_items} == {"open_ticket"}
    resolved = outcome([*steps, draft("ticket.resolved", "t", NOON - timedelta(hours=4), "second")])
    assert figure(resolved, "acme", "resolution_hours_mean") == Decimal(6)


def test_a_mail_about_a_ticket_is_support_and_counts_with_the_ticket() -> None:
    people = [party("requester", address=MARIA)]
    opened = draft("ticket.opened", "t", NOON, parties=people)
    about = mail(1, NOON + timedelta(hours=1), references=[{"kind": "ticket", "value": "hub:meridian:t"}])
    expected = outcome([opened, about])
    said = next(each for each in expected.attributions.values() if each.kind == "mail")
    assert (said.touch_class, said.ticket_id) == ("support", event_of(opened, source="hub").interaction.id)
    assert figure(expected, "acme", "support_requests") == 1


def test_a_question_waits_for_the_first_later_touch_to_the_same_person() -> None:
    asked = mail(1, NOON - timedelta(days=8))
    to_another = mail(2, NOON - timedelta(days=7), inbound=False, who="other@acme.example")
    alerts = outcome([asked], awake=True).alerts
    asked_id = event_of(asked, source="hub").interaction.id
    unanswered = ExpectedAlert("acme", "unanswered_mail", "warn", asked_id)
    assert unanswered in (alerts or ())
    # nobody knows who `other` is, so it may have been Maria
    assert unanswered not in (outcome([asked, to_another], awake=True).alerts or ())


def test_silence_is_measured_by_the_accounts_cadence() -> None:
    silent = outcome([], awake=True).alerts
    assert silent == frozenset(ExpectedAlert(each, "stale_touch", "alert") for each in ("acme", "nordic"))
    touched = outcome([mail(1, NOON - timedelta(days=61))], awake=True).alerts or ()
    assert ExpectedAlert("acme", "stale_touch", "warn") in touched
    unanswered = outcome([mail(1, NOON - timedelta(days=2), inbound=False)], awake=True).alerts or ()
    assert ExpectedAlert("acme", "stale_touch", "alert") in unanswered


def test_business_days_leave_out_nights_and_weekends() -> None:
    friday = datetime(2026, 2, 27, 16, tzinfo=ZONE)
    assert after_business_days(friday, 1) == datetime(2026, 3, 2, 16, tzinfo=ZONE)
    assert after_business_days(datetime(2026, 3, 1, 3, tzinfo=ZONE), 2) == datetime(2026, 3, 3, 17, tzinfo=ZONE)
