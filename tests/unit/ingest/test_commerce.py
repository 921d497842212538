"""Orders and refunds add up to the same whatever the order and repetition of what shops send."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.details import DeliveryDetail, OrderDetail, RefundDetail
from contracts.events import Event
from contracts.interactions import assemble
from contracts.values import Kind
from services.ingest.domain.handshakes import woocommerce_ping
from services.ingest.domain.mapping import Unmapped
from services.ingest.domain.provider import Delivery
from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest.commerce import LIVES, SHUFFLED, by_interaction, events_of, golden, mapped


@pytest.mark.parametrize("name", LIVES)
@settings(max_examples=12)
@given(random=SHUFFLED, times=st.integers(1, 3))
def test_a_life_adds_up_to_the_same_in_any_order(name: str, random: Any, times: int) -> None:
    events = events_of(*LIVES[name])
    whole = by_interaction(events)
    shuffled = events * times
    random.shuffle(shuffled)
    assert by_interaction(shuffled) == whole


@pytest.mark.parametrize("provider", ["woocommerce", "shopify"])
@settings(max_examples=15)
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


@settings(max_examples=30)
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


def woo(status: str, minute: int) -> list[Event]:
    """The paid order of the examples, as it stands at a minute after ten."""
    request = golden("woocommerce/order_paid")
    request["body"] |= {"status": status, "date_modified_gmt": f"2026-03-02T10:{minute}:00"}
    return mapped("woocommerce", request)


@pytest.mark.parametrize("fallen", ["cancelled", "failed"])
@pytest.mark.parametrize("stands", ["processing", "on-hold", "completed", "wc-in-preparation"])
def test_an_order_that_is_taken_up_again_counts_again(fallen: str, stands: str) -> None:
    """It was paid before it was cancelled by mistake: no later payment says that it stands."""
    down, up, again = woo(fallen, 30), woo(stands, 40), woo(fallen, 50)
    for told, counts in (
        ([*woo("processing", 10), *down], False),
        ([*woo("processing", 10), *down, *up], True),
        ([*up, *down], True),
        ([*again, *up, *down], False),
        ([*down, *woo("refunded", 40)], False),
    ):
        detail = assemble(told).detail
        assert isinstance(detail, OrderDetail)
        assert (detail.cancelled_at is None) is counts


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


@pytest.mark.parametrize("quantity", ["1E+40", "1E-40", "NaN", "1e17.5", True, None, [], "9" * 40])
def test_a_number_beyond_all_bounds_is_not_understood(quantity: object) -> None:
    request = golden("woocommerce/order_created")
    request["body"]["line_items"][0]["quantity"] = quantity
    with pytest.raises(Unmapped, match="bad_number:quantity"):
        mapped("woocommerce", request)


@settings(max_examples=30)
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
