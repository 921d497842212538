"""Shopify: orders, refunds and deliveries.

Only the body is signed: topic, shop and delivery id are headers that anybody who saw a delivery could change. So what a
body means is read from the body, and the topic only has to agree with it.

Amounts are net: of discounts, without tax and shipping. Gift cards are a means of payment and no revenue.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from msgspec import Struct

from contracts.events import (
    Event,
    InteractionWithdrawn,
    OrderCancelled,
    OrderChanged,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
)
from contracts.values import Authority, InteractionKey, Kind, Party
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import (
    Mapped,
    Origin,
    Unmapped,
    digest_of,
    id_at,
    micros,
    moment_of,
    optional_id,
    optional_text,
)
from services.ingest.domain.provider import Delivery, Options, Provider
from services.ingest.domain.reports import key_of, reported, stated
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.commerce import country_of, day_of, decimal_of, first_said, mapping_in, objects, sum_of

_ORDER_TOPICS = frozenset(
    {
        "orders/create",
        "orders/updated",
        "orders/cancelled",
        "orders/paid",
        "orders/fulfilled",
        "orders/partially_fulfilled",
    }
)
_WITHIN_A_SECOND = timedelta(microseconds=999_999)


class ShopOptions(Options):
    """What a shop's table may hold."""

    prices_include_tax: bool = False
    """Whether the shop shows prices with tax; asked only for refunds that do not say it themselves."""


def read(request: Delivery, origin: Origin, options: ShopOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = request.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    delivery = _Delivery(payload, request.body, request.headers, origin)
    if not delivery.shop:
        raise Unmapped("missing:x-shopify-shop-domain")
    topic = delivery.topic
    if topic == "orders/delete":
        return _map_deletion(delivery)
    if topic == "orders/edited" and "order_edit" in payload:
        return Mapped(ignored="told_by_orders_updated")
    if payload.get("test") is True:
        # "Send test notification" and orders of the test gateway.
        return Mapped(ignored="test_order")
    if topic in _ORDER_TOPICS and "line_items" in payload and "order_id" not in payload:
        return Mapped([_order(delivery)])
    if topic == "refunds/create" and "refund_line_items" in payload:
        return _map_refund(delivery, prices_include_tax=options.prices_include_tax)
    if topic in {"fulfillments/create", "fulfillments/update"} and "order_id" in payload:
        return _map_fulfillment(delivery)
    raise Unmapped("unknown_topic")


class _Delivery(Struct, frozen=True):
    """One delivery. Only `body`, and `payload` with it, is signed."""

    payload: Mapping[str, Any]
    body: bytes
    headers: Mapping[str, str]
    origin: Origin

    @property
    def topic(self) -> str:
        return self.headers.get("x-shopify-topic", "")

    @property
    def shop(self) -> str:
        return self.headers.get("x-shopify-shop-domain", "").lower()

    def key(self, kind: Kind, field: str = "id") -> InteractionKey:
        """The interaction of `kind` whose id is in the payload's `field`."""
        native = order_native_id(self.shop, id_at(self.payload, field))
        return key_of(kind, self.origin.system, native)

    def order_at(self, updated: datetime) -> int:
        """`updated_at` has whole seconds; within one, the unsigned time at which the delivery was triggered decides."""
        try:
            later = moment_of(self.headers.get("x-shopify-triggered-at"), "x-shopify-triggered-at") - updated
        except Unmapped:
            return micros(updated)
        return micros(updated + min(max(later, timedelta()), _WITHIN_A_SECOND))

    def report(self, kind: Kind, order: int, authority: int | None = None) -> dict[str, Any]:
        """What every report about this delivery's own interaction states."""
        return {
            "interaction": self.key(kind),
            "report": digest_of(self.body),
            "revision": self.origin.revision(order, self.body, authority),
            "source": self.origin.source,
        }


def order_native_id(shop: str, order_id: str) -> str:
    """Return the native id of an order: the shop's domain and the order's id."""
    return f"{shop.lower()}/{order_id}"


def _order(delivery: _Delivery) -> Event:
    order = delivery.payload
    placed = moment_of(order.get("processed_at") or order.get("created_at"), "created_at")
    updated = moment_of(order.get("updated_at") or order.get("created_at"), "updated_at")
    model, at = _model_of(delivery.topic, placed, updated, order.get("cancelled_at"))
    included = order.get("taxes_included") is True
    back = _returned(order)
    items = [item for item in objects(order, "line_items") if not item.get("gift_card")]
    lines = [
        _line(item, back, included=included) for item in items if _quantity(item, back) or not item.get("quantity")
    ]
    return reported(
        model,
        {
            **delivery.report(Kind.ORDER, delivery.order_at(updated)),
            "occurred_at": at,
            "entries": () if model is OrderPlaced else ({"kind": "placed", "at": placed},),
            "parties": _people(order, delivery.origin),
            "title": one_line(optional_text(order, "name")),
            "net": stated({"amount": sum_of(lines, "amount"), "currency": order.get("currency")}),
            "lines": [stated(line) for line in lines],
        },
    )


def _model_of(topic: str, placed: datetime, updated: datetime, cancelled: Any) -> tuple[type[Event], datetime]:
    if cancelled is not None:
        return OrderCancelled, moment_of(cancelled, "cancelled_at")
    return (OrderPlaced, placed) if topic == "orders/create" else (OrderChanged, updated)


def _returned(order: Mapping[str, Any]) -> Counter[str]:
    """Return how many pieces of each line came back: they are no change of the order."""
    pieces: Counter[str] = Counter()
    for refund in objects(order, "refunds"):
        for item in objects(refund, "refund_line_items"):
            quantity = item.get("quantity")
            if isinstance(quantity, int):
                pieces[str(item.get("line_item_id"))] += quantity
    return pieces


def _quantity(item: Mapping[str, Any], returned: Counter[str]) -> Decimal:
    """Return how many pieces were ordered in the end.

    "quantity" keeps what an edit took off; "current_quantity" leaves out what came back, too.
    """
    ordered = decimal_of(item.get("quantity"), "quantity")
    if item.get("current_quantity") is None:
        return ordered
    left = decimal_of(item["current_quantity"], "current_quantity")
    return min(ordered, max(left + returned[str(item.get("id"))], Decimal(0)))


def _line(item: Mapping[str, Any], returned: Counter[str], *, included: bool) -> dict[str, Any]:
    ordered, quantity = decimal_of(item.get("quantity"), "quantity"), _quantity(item, returned)
    gross = decimal_of(item.get("price"), "price") * quantity
    discount = sum_of(objects(item, "discount_allocations"), "amount")
    tax = sum_of(objects(item, "tax_lines"), "price") if included else Decimal(0)
    if quantity != ordered:
        # Discounts and tax are written for all that was ever ordered.
        discount, tax = (_cents(part * quantity / ordered) for part in (discount, tax))
    product = optional_text(item, "sku") or optional_id(item, "product_id") or optional_text(item, "title")
    return {
        "product": one_line(product) or "unknown",
        "quantity": quantity,
        "amount": gross - discount - tax,
    }


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _map_refund(delivery: _Delivery, *, prices_include_tax: bool) -> Mapped:
    refund = delivery.payload
    items = objects(refund, "refund_line_items")
    adjusted = [part for part in objects(refund, "order_adjustments") if part.get("kind") != "shipping_refund"]
    # Adjustments are written as what they do to the order: a discrepancy of "-5.00" is five given back.
    goods = sum_of(items, "subtotal") - sum_of(adjusted, "amount")
    tax = sum_of(items, "total_tax")
    net = goods - tax if _tax_included(refund, goods, tax, otherwise=prices_include_tax) else goods
    if net <= 0:
        return Mapped(ignored="refund_without_goods")
    at = moment_of(refund.get("processed_at") or refund.get("created_at"), "created_at")
    return Mapped(
        [
            reported(
                OrderRefunded,
                {
                    **delivery.report(Kind.REFUND, micros(at)),
                    "occurred_at": at,
                    "parent": delivery.key(Kind.ORDER, "order_id"),
                    "refunded": stated({"amount": net, "currency": _refund_currency(refund)}),
                },
            )
        ]
    )


def _tax_included(refund: Mapping[str, Any], goods: Decimal, tax: Decimal, *, otherwise: bool) -> bool:
    """Say whether subtotals include tax. A refund does not say it, but what was paid back usually gives it away."""
    if not tax:
        return False
    shipping = [part for part in objects(refund, "order_adjustments") if part.get("kind") == "shipping_refund"]
    # What was paid back is in the customer's currency; in another than the shop's it gives nothing away.
    currency = _refund_currency(refund)
    back = [part for part in objects(refund, "transactions") if part.get("kind") == "refund"]
    paid = sum_of([part for part in back if part.get("currency") in (None, currency)], "amount")
    # Shipping is written as a negative adjustment too, its tax beside it.
    without_shipping = {
        paid + sum_of(shipping, "amount"),
        paid + sum_of(shipping, "amount") + sum_of(shipping, "tax_amount"),
    }
    if not paid or (goods in without_shipping) is (goods + tax in without_shipping):
        return otherwise
    return goods in without_shipping


def _refund_currency(refund: Mapping[str, Any]) -> str:
    """The shop's currency, in which subtotals are."""
    for field, amounts in (("refund_line_items", "subtotal_set"), ("order_adjustments", "amount_set")):
        for part in objects(refund, field):
            code = mapping_in(mapping_in(part, amounts), "shop_money").get("currency_code")
            if isinstance(code, str):
                return code
    for transaction in objects(refund, "transactions"):
        if isinstance(transaction.get("currency"), str):
            return str(transaction["currency"])
    raise Unmapped("missing:currency")


def _map_fulfillment(delivery: _Delivery) -> Mapped:
    fulfillment = delivery.payload
    updated = moment_of(fulfillment.get("updated_at"), "updated_at")
    parent = delivery.key(Kind.ORDER, "order_id")
    if fulfillment.get("status") == "cancelled":
        report = {
            **delivery.report(Kind.DELIVERY, delivery.order_at(updated)),
            "occurred_at": updated,
            "parent": parent,
        }
        return Mapped([reported(InteractionWithdrawn, {**report, "reason": "the fulfilment was cancelled"})])
    if fulfillment.get("shipment_status") != "delivered":
        return Mapped(ignored="not_delivered_yet")
    # The day on the shop's own clock: Shopify writes times with the shop's offset.
    day = day_of(fulfillment["updated_at"], "updated_at")
    # Whatever changes later, a tracking number for instance, comes as "delivered" again with a later time.
    report = {**delivery.report(Kind.DELIVERY, first_said(updated)), "occurred_at": updated, "parent": parent}
    return Mapped([reported(OrderDelivered, {**report, "delivered_on": day})])


def _map_deletion(delivery: _Delivery) -> Mapped:
    """The body is the id alone: a deletion without an order of its own, so nothing may undo it."""
    if delivery.payload.keys() != {"id"}:
        raise Unmapped("unknown_topic")
    triggered = delivery.headers.get("x-shopify-triggered-at")
    at = moment_of(triggered, "x-shopify-triggered-at") if triggered else delivery.origin.received_at
    report = delivery.report(Kind.ORDER, 0, Authority.DELETION)
    return Mapped([reported(InteractionWithdrawn, {**report, "occurred_at": at, "reason": "deleted in the shop"})])


def _people(order: Mapping[str, Any], origin: Origin) -> tuple[Party, ...]:
    customer, company = mapping_in(order, "customer"), mapping_in(order, "company")
    customer_id = optional_id(customer, "id")
    # Without a B2B company the customer's record is the shop's only word for who buys.
    buyer = optional_id(company, "id") or customer_id
    names = (optional_text(customer, "first_name"), optional_text(customer, "last_name"))
    billing = mapping_in(order, "billing_address") or mapping_in(customer, "default_address")
    party = origin.directory.party(
        "customer",
        address=optional_text(order, "contact_email")
        or optional_text(order, "email")
        or optional_text(customer, "email"),
        phone=optional_text(order, "phone") or optional_text(customer, "phone"),
        region=country_of(billing, "country_code"),
        person=origin.named(customer_id) if customer_id else None,
        organisation=origin.named(buyer) if buyer else None,
        name=" ".join(filter(None, names)) or None,
    )
    return () if party is None else (party,)


PROVIDER = Provider(
    name="shopify",
    scheme=SchemeName.SHOPIFY,
    read=read,
    options=ShopOptions,
    kept=("x-shopify-topic", "x-shopify-shop-domain", "x-shopify-triggered-at"),
)
