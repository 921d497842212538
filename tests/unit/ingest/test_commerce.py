"""Orders, refunds and subscriptions add up to the same whatever the order and repetition of what shops send."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.details import ContractDetail, DeliveryDetail, InvoiceDetail, OrderDetail, RefundDetail
from contracts.events import Event
from contracts.interactions import Interaction, assemble
from contracts.values import Kind
from services.ingest.domain.handshakes import woocommerce_ping
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.provider import Delivery
from services.ingest.sources.registry import WEBHOOKS
from services.ingest.sources.stripe_money import money, places_of
from tests.unit.ingest.golden import FOLDER, delivery, origin, told

SHUFFLED = st.randoms(use_true_random=False)


def golden(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def mapped(provider: str, request: dict[str, Any]) -> list[Event]:
    known = WEBHOOKS[provider]
    options = known.options.model_validate(request.get("options", {}))
    return told(known.bind(options)(delivery(request), origin(provider)))


def events_of(*names: str, **options: Any) -> list[Event]:
    found = []
    for name in names:
        request = golden(name)
        request["options"] = {**request.get("options", {}), **options}
        found += mapped(name.partition("/")[0], request)
    return found


def by_interaction(events: list[Event]) -> dict[tuple[Kind, str], Interaction]:
    keys = dict.fromkeys((event.interaction.kind, event.interaction.native_id) for event in events)
    return {
        key: assemble([one for one in events if (one.interaction.kind, one.interaction.native_id) == key])
        for key in keys
    }


LIVES = {
    "a WooCommerce order": [
        "woocommerce/order_created",
        "woocommerce/order_cancelled",
        "woocommerce/order_paid",
        "woocommerce/order_refunded_in_part",
        "woocommerce/order_refunded_again",
        "woocommerce/order_delivered_status_of_a_plugin",
        "woocommerce/order_delivered_touched_again",
    ],
    "a Shopify order": [
        "shopify/order_created",
        "shopify/order_cancelled",
        "shopify/refund_with_tax_on_top",
        "shopify/fulfillment_delivered",
        "shopify/fulfillment_delivered_touched_again",
    ],
    "a subscription": [
        "stripe/subscription_created",
        "stripe/subscription_activated",
        "stripe/subscription_renewed",
        "stripe/subscription_enlarged",
        "stripe/subscription_reduced",
        "stripe/subscription_notice_given",
        "stripe/subscription_notice_taken_back",
        "stripe/subscription_past_due",
        "stripe/subscription_ended",
    ],
    "an invoice": [
        "stripe/invoice_payment_failed",
        "stripe/invoice_overdue",
        "stripe/invoice_paid",
        "stripe/invoice_payment_succeeded",
    ],
    "a checkout, its charge and a refund": [
        "stripe/checkout_completed",
        "stripe/charge_as_order",
        "stripe/refund_created",
        "stripe/refund_updated",
        "stripe/charge_refunded_of_2020",
    ],
}


@pytest.mark.parametrize("name", LIVES)
@settings(max_examples=12, deadline=None)
@given(random=SHUFFLED, times=st.integers(1, 3))
def test_a_life_adds_up_to_the_same_in_any_order(name: str, random: Any, times: int) -> None:
    events = events_of(*LIVES[name])
    whole = by_interaction(events)
    shuffled = events * times
    random.shuffle(shuffled)
    assert by_interaction(shuffled) == whole


@pytest.mark.parametrize("provider", ["woocommerce", "shopify"])
@settings(max_examples=15, deadline=None)
@given(random=SHUFFLED, days=st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_delivery_arrived_when_it_was_first_said_to(provider: str, random: Any, days: list[int]) -> None:
    name, field = {
        "woocommerce": ("woocommerce/order_delivered_status_of_a_plugin", "date_modified"),
        "shopify": ("shopify/fulfillment_delivered", "updated_at"),
    }[provider]
    events: list[Event] = []
    for day in days:
        request = golden(name)
        moment = datetime(2026, 3, 6, 10, 30, tzinfo=UTC) + timedelta(days=day)
        request["body"][field] = (
            moment.isoformat() if provider == "shopify" else moment.replace(tzinfo=None).isoformat()
        )
        request["body"]["date_modified_gmt"] = moment.replace(tzinfo=None).isoformat()
        events += [event for event in mapped(provider, request) if event.interaction.kind is Kind.DELIVERY]
    random.shuffle(events)
    detail = assemble(events).detail
    assert isinstance(detail, DeliveryDetail)
    assert detail.delivered_on == date(2026, 3, 6) + timedelta(days=min(days))


@settings(max_examples=30, deadline=None)
@given(random=SHUFFLED)
def test_an_order_edited_three_times_in_a_second_is_as_it_was_left(random: Any) -> None:
    events: list[Event] = []
    for number, quantity in enumerate((1, 7, 3)):
        request = golden("shopify/order_created")
        request["headers"] |= {"x-shopify-topic": "orders/updated"}
        request["headers"]["x-shopify-triggered-at"] = f"2026-03-02T10:00:00.{number + 1}00000Z"
        request["body"] |= {"updated_at": "2026-03-02T10:00:00Z"}
        request["body"]["line_items"] = [{"sku": "VALVE-2", "price": "10.00", "quantity": quantity}]
        events += mapped("shopify", request)
    random.shuffle(events)
    detail = assemble(events).detail
    assert isinstance(detail, OrderDetail)
    assert detail.net is not None
    assert detail.net.amount == Decimal(30)


def test_refunds_of_an_order_never_give_back_more_goods_than_it_had() -> None:
    whole = by_interaction(
        events_of("woocommerce/order_created", "woocommerce/order_refunded_in_part", "woocommerce/order_refunded_again")
    )
    given_back = [one.detail.refunded.amount for one in whole.values() if isinstance(one.detail, RefundDetail)]
    order = next(one.detail for one in whole.values() if isinstance(one.detail, OrderDetail))
    assert order.net is not None
    assert sorted(given_back) == [Decimal(10), Decimal(80)]
    assert sum(given_back) == order.net.amount


def test_a_refund_keeps_the_day_on_which_it_was_first_listed() -> None:
    whole = by_interaction(events_of("woocommerce/order_refunded_again", "woocommerce/order_refunded_in_part"))
    assert whole[Kind.REFUND, "4799"].occurred_at == datetime(2026, 3, 3, 10, tzinfo=UTC)
    assert whole[Kind.REFUND, "4805"].occurred_at == datetime(2026, 3, 5, 10, tzinfo=UTC)


def test_an_order_that_is_paid_after_all_was_not_cancelled() -> None:
    cancelled = assemble(events_of("woocommerce/order_created", "woocommerce/order_cancelled"))
    paid = assemble(events_of("woocommerce/order_created", "woocommerce/order_cancelled", "woocommerce/order_paid"))
    assert isinstance(cancelled.detail, OrderDetail)
    assert isinstance(paid.detail, OrderDetail)
    assert cancelled.detail.cancelled_at is not None
    assert paid.detail.cancelled_at is None


def test_an_order_comes_back_out_of_the_bin() -> None:
    binned = events_of("woocommerce/order_created", "woocommerce/order_deleted")
    assert assemble(binned).present is False
    assert assemble([*events_of("woocommerce/order_restored"), *binned]).present is True


@pytest.mark.parametrize(
    ("body", "headers", "is_ping"),
    [
        (b"webhook_id=3", {}, True),
        (b"webhook_id=3", {"x-wc-webhook-signature": "x"}, False),
        (b"webhook_id=3&x=1", {}, False),
        (b'{"id": 1}', {}, False),
    ],
)
def test_woocommerces_ping_is_answered_and_is_no_order(body: bytes, headers: dict[str, str], *, is_ping: bool) -> None:
    assert (woocommerce_ping(Delivery(None, body, headers), ()) is not None) is is_ping
    assert WEBHOOKS["woocommerce"].challenge is woocommerce_ping


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


@settings(max_examples=30, deadline=None)
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


@pytest.mark.parametrize("quantity", ["1E+40", "1E-40", "NaN", "1e17.5", True, None, [], "9" * 40])
def test_a_number_beyond_all_bounds_is_not_understood(quantity: object) -> None:
    request = golden("woocommerce/order_created")
    request["body"]["line_items"][0]["quantity"] = quantity
    with pytest.raises(Unmapped, match="bad_number:quantity"):
        mapped("woocommerce", request)


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


@settings(max_examples=30, deadline=None)
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


@settings(max_examples=30, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=6),
    random=SHUFFLED,
)
def test_any_edits_and_refunds_of_an_order_add_up(edits: list[tuple[int, int]], random: Any) -> None:
    events: list[Event] = []
    refunds: list[dict[str, Any]] = []
    for number, (quantity, fresh) in enumerate(edits):
        refunds += [{"id": 5000 + len(refunds) + one, "total": "-1.19"} for one in range(fresh)]
        request = golden("woocommerce/order_paid")
        request["body"] |= {
            "date_modified_gmt": (datetime(2026, 3, 2, 11) + timedelta(hours=number)).isoformat(),  # noqa: DTZ001 - as the shop writes it
            "refunds": list(refunds),
            "total": str(Decimal("119.00") * quantity),
            "total_tax": str(Decimal("19.00") * quantity),
            "line_items": [{"sku": "VALVE-2", "quantity": quantity, "total": str(100 * quantity)}],
        }
        events += mapped("woocommerce", request)
    events *= 2
    random.shuffle(events)
    whole = by_interaction(events)
    order = whole[Kind.ORDER, "4750"].detail
    assert isinstance(order, OrderDetail)
    assert order.net is not None
    assert order.net.amount == 100 * edits[-1][0]
    given_back = [one.detail.refunded.amount for one in whole.values() if isinstance(one.detail, RefundDetail)]
    assert given_back == [Decimal("1.00")] * len(refunds)
