"""Subscriptions, invoices and charges add up to the same whatever the order and repetition of what Stripe sends."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.details import ContractDetail, InvoiceDetail, OrderDetail
from contracts.events import Event
from contracts.interactions import assemble
from contracts.values import Kind
from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.stripe_money import money, places_of
from tests.unit.ingest.commerce import LIVES, SHUFFLED, by_interaction, events_of, golden, mapped


def contract(*names: str) -> ContractDetail:
    detail = assemble(events_of(*(f"stripe/subscription_{name}" for name in names))).detail
    assert isinstance(detail, ContractDetail)
    return detail


def test_a_subscription_is_a_contract_with_the_value_of_twelve_months() -> None:
    began = contract("created", "activated")
    assert (began.state, began.starts_on, began.due_on, began.auto_renewal) == (
        "in_force",
        date(2026, 1, 1),
        date(2026, 2, 1),
        True,
    )
    assert began.recurring is not None
    assert began.recurring.amount == Decimal(1200)


@pytest.mark.parametrize(
    ("lived", "state", "yearly", "effective"),
    [
        (("created", "renewed"), "in_force", 1200, date(2026, 2, 1)),
        (("created", "renewed", "enlarged"), "in_force", 3000, date(2026, 2, 11)),
        (("created", "renewed", "enlarged", "reduced"), "in_force", 1800, date(2026, 2, 11)),
        (("created", "enlarged", "reduced", "notice_given"), "cancelled", 1800, date(2026, 3, 1)),
        (("created", "notice_given", "notice_taken_back"), "in_force", 1800, date(2026, 2, 12)),
        (("created", "past_due", "ended"), "cancelled", 1800, date(2026, 3, 11)),
        # The creation never came, or came last: each report says when it was signed.
        (("renewed",), "in_force", 1200, date(2026, 2, 1)),
        (("after_trial",), "in_force", 600, None),
    ],
)
def test_the_life_of_a_subscription(lived: tuple[str, ...], state: str, yearly: int, effective: date | None) -> None:
    detail = contract(*lived)
    assert (detail.state, detail.effective_on) == (state, effective)
    assert detail.recurring is not None
    assert detail.recurring.amount == Decimal(yearly)


def test_every_report_of_a_subscription_says_when_it_was_signed() -> None:
    for name in LIVES["a subscription"]:
        for event in events_of(name):
            assert [entry.at for entry in event.stated_entries if entry.kind == "signed"] == [
                datetime(2026, 1, 1, tzinfo=UTC)
            ]


def test_an_invoice_is_paid_once_although_stripe_says_it_twice() -> None:
    whole = assemble(events_of(*LIVES["an invoice"]))
    assert isinstance(whole.detail, InvoiceDetail)
    assert whole.detail.state == "paid"
    assert [entry.kind for entry in whole.entries] == ["payment_failed", "overdue", "paid"]


def test_a_void_invoice_is_gone_and_as_an_order_cancelled() -> None:
    names = ("stripe/invoice_overdue", "stripe/invoice_finalized_as_order", "stripe/invoice_voided_as_order")
    whole = by_interaction(events_of(*names))
    order = whole[Kind.ORDER, "in_1"].detail
    assert whole[Kind.INVOICE, "in_1"].present is False
    assert isinstance(order, OrderDetail)
    assert order.cancelled_at is not None


def test_a_checkout_and_its_charge_are_one_order_without_tax_and_shipping() -> None:
    whole = by_interaction(events_of("stripe/charge_as_order", "stripe/checkout_completed"))
    assert len(whole) == 1
    detail = whole[Kind.ORDER, "pi_1"].detail
    assert isinstance(detail, OrderDetail)
    assert detail.net is not None
    assert detail.net.amount == Decimal(250)


@settings(max_examples=30)
@given(random=SHUFFLED)
def test_a_refund_that_fails_in_the_end_gave_nothing_back(random: Any) -> None:
    events = events_of("stripe/refund_created", "stripe/refund_updated", "stripe/refund_failed")
    random.shuffle(events)
    assert assemble(events).present is False


@pytest.mark.parametrize(
    ("currency", "amount", "told"),
    [
        ("EUR", 1099, "10.99"),
        ("JPY", 1099, "1099"),
        ("KWD", 1099, "1.099"),
        ("ISK", 1099, "10.99"),
        ("UGX", 500, "5.00"),
    ],
)
def test_amounts_are_in_the_smallest_unit_of_their_currency(currency: str, amount: int, told: str) -> None:
    assert str(money(Decimal(amount), currency)["amount"]) == told
    assert places_of(currency) == len(told.partition(".")[2])


def test_an_event_that_does_not_hold_its_object_is_kept_and_not_guessed_at() -> None:
    thin = {
        "id": "evt_1",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": True,
    }
    with pytest.raises(Unmapped, match="thin_event"):
        mapped("stripe", {"headers": {}, "body": thin})


MONTH = 30 * 86_400
BEGAN = 1_767_225_600


def subscription(quantity: int, period: int, **more: Any) -> dict[str, Any]:
    """A subscription of five euros a month and seat in its `period`th month."""
    found: dict[str, Any] = golden("stripe/subscription_created")["body"]["data"]["object"]
    start = BEGAN + period * MONTH
    item = {**found["items"]["data"][0], "quantity": quantity}
    item |= {"current_period_start": start, "current_period_end": start + MONTH}
    return {**found, "items": {**found["items"], "data": [item]}, **more}


def lived(steps: list[tuple[str, int]]) -> tuple[list[Event], int, str]:
    """Return what Stripe says of a life, how many seats there are in the end, and the state of the contract."""
    seats, period, at = 2, 0, BEGAN
    notice: int | None = None
    whole = subscription(seats, period)
    told: list[tuple[str, int, dict[str, Any], dict[str, Any] | None]] = [("created", at, whole, None)]
    for step, number in steps:
        at += 3600
        before = whole
        if step == "renewed" and notice is not None:
            continue
        if step == "renewed":
            period, at = period + 1, BEGAN + (period + 1) * MONTH + 5
        elif step == "seats":
            seats = number
        elif step == "notice":
            notice = at
        else:
            notice = None
        more = {} if notice is None else {"cancel_at_period_end": True, "canceled_at": notice}
        whole = subscription(seats, period, **more)
        told.append(("updated", at, whole, {name: before[name] for name in before if before[name] != whole[name]}))
    if notice is not None and steps[-1][1] % 2:
        over = BEGAN + (period + 1) * MONTH
        told.append(("deleted", over, {**whole, "status": "canceled", "ended_at": over}, None))
    events = []
    for number, (kind, moment, body, changed) in enumerate(told):
        data = {"object": body} if changed is None else {"object": body, "previous_attributes": changed}
        event = {"id": f"evt_{number}", "object": "event", "created": moment, "livemode": True, "data": data}
        request = {"headers": {}, "body": {**event, "type": f"customer.subscription.{kind}"}}
        events += mapped("stripe", request)
    return events, seats, "in_force" if notice is None else "cancelled"


STEPS = st.lists(st.tuples(st.sampled_from(["renewed", "seats", "notice", "kept"]), st.integers(1, 9)), max_size=8)


@settings(max_examples=30)
@given(steps=STEPS, random=SHUFFLED)
def test_any_life_of_a_subscription_ends_as_it_was_left(steps: list[tuple[str, int]], random: Any) -> None:
    events, seats, state = lived(steps)
    events *= 2
    random.shuffle(events)
    detail = assemble(events).detail
    assert isinstance(detail, ContractDetail)
    assert detail.recurring is not None
    assert detail.recurring.amount == 600 * seats
    assert detail.state == state
