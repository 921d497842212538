"""WooCommerce: orders with their refunds, and deliveries where the shop says so.

Only the body is signed; the topic is a header that anybody who saw a delivery could change, so it only has to agree
with the body. Amounts are net: of discounts, without tax and shipping. Every delivery holds the order as it is now.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, NamedTuple

from pydantic import StringConstraints

from contracts.events import (
    Event,
    InteractionRestored,
    InteractionWithdrawn,
    OrderCancelled,
    OrderChanged,
    OrderDelivered,
    OrderPlaced,
    OrderRefunded,
)
from contracts.values import Authority, Kind, Party
from services.ingest.domain.handshakes import woocommerce_ping
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
from services.ingest.domain.provider import FORM, JSON, Delivery, Options, Provider
from services.ingest.domain.reports import key_of, reported, stated
from services.ingest.domain.schemes import SchemeName
from services.ingest.sources.commerce import counted, country_of, decimal_of, first_said, mapping_in, objects, sum_of

_DRAFTS = frozenset({"checkout-draft", "auto-draft", "draft"})
_NOT_PLACED = "pending"
_FALLEN = frozenset({"cancelled", "failed"})
"""What is not to be fulfilled. A payment may fail days after the order was taken: a debit that comes back."""
_REFUNDED = "refunded"
_IN_THE_BIN = "trash"


class WooOptions(Options):
    """How one shop uses its statuses."""

    completed_is_delivered: bool = False
    """Whether the shop sets an order to "completed" when it has arrived; "delivered" always means that."""
    promised_meta: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The order's custom field that holds the promised day, as 2026-03-31."""


def read(delivery: Delivery, origin: Origin, options: WooOptions) -> Mapped:
    """Map a verified webhook. Raises `Unmapped` for what it does not understand."""
    payload = delivery.payload
    if not isinstance(payload, dict):
        raise Unmapped("not_an_object")
    topic = delivery.headers.get("x-wc-webhook-topic", "")
    if topic == "order.deleted" and payload.keys() == {"id"}:
        return _deleted(payload, delivery.body, origin)
    if "line_items" not in payload or "status" not in payload:
        if topic.startswith("order.") or not topic:
            raise Unmapped("unknown_topic")
        return Mapped(ignored=counted(topic))
    order = _Order(payload, delivery.body, origin, options)
    if order.status in _DRAFTS:
        return Mapped(ignored="draft")
    if order.status == _NOT_PLACED:
        return Mapped(ignored="not_placed_yet")
    if order.status == _IN_THE_BIN:
        return Mapped(ignored="in_the_bin")
    return Mapped([*order.itself(), *order.refunds(), *order.arrival(), *order.restored(topic)])


def _deleted(payload: Mapping[str, Any], body: bytes, origin: Origin) -> Mapped:
    """The body is the id alone: a deletion without an order of its own, which only a restoration undoes."""
    event = {
        "interaction": key_of(Kind.ORDER, origin.system, id_at(payload, "id")),
        "report": digest_of(body),
        "revision": origin.revision(0, body, Authority.DELETION),
        "source": origin.source,
        "occurred_at": origin.received_at,
        "reason": "deleted in the shop",
    }
    return Mapped([reported(InteractionWithdrawn, event)])


class _Order(NamedTuple):
    """An order as one delivery tells it."""

    payload: Mapping[str, Any]
    body: bytes
    origin: Origin
    options: WooOptions

    @property
    def status(self) -> str:
        return str(self.payload["status"]).removeprefix("wc-")

    @property
    def placed(self) -> datetime:
        return _utc(self.payload, "date_created")

    @property
    def changed(self) -> datetime:
        return _utc(self.payload, "date_modified")

    def report(self, kind: Kind, native: str, order: int, authority: int | None = None) -> dict[str, Any]:
        """What every report out of this delivery states."""
        return {
            "interaction": key_of(kind, self.origin.system, native),
            "report": digest_of(self.body),
            "revision": self.origin.revision(order, self.body, authority),
            "source": self.origin.source,
        }

    def itself(self) -> list[Event]:
        """Return the order as placed and changed, or cancelled."""
        placed, changed = self.placed, self.changed
        model: type[Event] = OrderPlaced if placed == changed else OrderChanged
        if self.status in _FALLEN:
            model = OrderCancelled
        entries = [] if model is OrderPlaced else [{"kind": "placed", "at": placed}]
        entries += [{"kind": "confirmed", "at": at} for at in self.confirmed()]
        lines = self.lines()
        return [
            reported(
                model,
                {
                    **self.report(Kind.ORDER, self.native, micros(changed)),
                    "occurred_at": placed if model is OrderPlaced else changed,
                    "entries": entries,
                    "parties": self.people(),
                    "title": one_line(f"#{self.payload.get('number') or self.native}"),
                    "net": stated({"amount": sum_of(lines, "amount"), "currency": self.payload.get("currency")}),
                    "lines": [stated(line) for line in lines],
                },
            )
        ]

    def confirmed(self) -> list[datetime]:
        """Return when it stood: a shop may cancel what is not paid in time, or by mistake, and take it up again."""
        if self.status in _FALLEN:
            return []
        dated = [_utc(self.payload, name) for name in ("date_paid", "date_completed") if _is_dated(self.payload, name)]
        again = [] if self.status == _REFUNDED or self.placed == self.changed else [self.changed]
        return sorted({*dated, *again})

    @property
    def native(self) -> str:
        return id_at(self.payload, "id")

    def lines(self) -> list[dict[str, Any]]:
        """Return what was sold, and fees: a fee is revenue, a negative one a discount."""
        goods = [
            {
                "product": one_line(
                    optional_text(item, "sku") or optional_id(item, "product_id") or optional_text(item, "name")
                )
                or "unknown",
                "quantity": decimal_of(item.get("quantity"), "quantity"),
                "amount": decimal_of(item.get("total"), "total"),
                "list_price": None if item.get("subtotal") is None else decimal_of(item["subtotal"], "subtotal"),
            }
            for item in objects(self.payload, "line_items")
        ]
        fees = [
            {
                "product": one_line(optional_text(fee, "name")) or "fee",
                "quantity": Decimal(1),
                "amount": decimal_of(fee.get("total"), "total"),
            }
            for fee in objects(self.payload, "fee_lines")
        ]
        return goods + fees

    def refunds(self) -> list[Event]:
        """Return every refund that the order lists. The list says how much, with tax and shipping, and not when."""
        found: list[Event] = []
        listed = objects(self.payload, "refunds")
        left = sum_of(self.lines(), "amount") if listed else Decimal(0)
        for refund in sorted(listed, key=lambda one: decimal_of(one.get("id"), "refunds.id")):
            net = min(self._net_of(decimal_of(refund.get("total"), "refunds.total")), left)
            if net <= 0:
                continue
            left -= net
            report = {
                **self.report(Kind.REFUND, id_at(refund, "id"), first_said(self.changed)),
                "occurred_at": self.changed,
                "parent": key_of(Kind.ORDER, self.origin.system, self.native),
                "title": one_line(optional_text(refund, "reason")),
                "refunded": stated({"amount": net, "currency": self.payload.get("currency")}),
            }
            found.append(reported(OrderRefunded, report))
        return found

    def _net_of(self, refunded: Decimal) -> Decimal:
        """Return what of a refund is goods: in the order's own proportion, and never more than is left of them."""
        gross, total = abs(refunded), decimal_of(self.payload.get("total"), "total")
        if gross == total or total <= 0:
            return gross
        tax = sum_of([self.payload], "total_tax")
        return (gross * (total - tax) / total).quantize(refunded, ROUND_HALF_UP)

    def arrival(self) -> list[Event]:
        """Return the delivery of the order, where its status says that it arrived. The first word about it counts."""
        if self.status == "delivered":
            at, day = self.changed, _local_day(self.payload, "date_modified")
        elif self.options.completed_is_delivered and self.status == "completed":
            dated = "date_completed" if _is_dated(self.payload, "date_completed") else "date_modified"
            at, day = _utc(self.payload, dated), _local_day(self.payload, dated)
        else:
            return []
        return [
            reported(
                OrderDelivered,
                {
                    **self.report(Kind.DELIVERY, self.native, first_said(at)),
                    "occurred_at": at,
                    "parent": key_of(Kind.ORDER, self.origin.system, self.native),
                    "delivered_on": day,
                    "promised_on": self._promised(),
                },
            )
        ]

    def _promised(self) -> date | None:
        for meta in objects(self.payload, "meta_data"):
            if meta.get("key") == self.options.promised_meta and isinstance(meta.get("value"), str):
                try:
                    return date.fromisoformat(meta["value"][:10])
                except ValueError:
                    return None
        return None

    def restored(self, topic: str) -> list[Event]:
        """Return that the order came back out of the bin. It undoes a deletion, which has no order of its own."""
        if topic != "order.restored":
            return []
        report = self.report(Kind.ORDER, self.native, micros(self.changed), Authority.DELETION)
        return [reported(InteractionRestored, {**report, "occurred_at": self.changed})]

    def people(self) -> tuple[Party, ...]:
        """Return the buyer: the shop's customer, and who the bill goes to."""
        billing = mapping_in(self.payload, "billing")
        customer = optional_id(self.payload, "customer_id")
        names = (optional_text(billing, "first_name"), optional_text(billing, "last_name"))
        party = self.origin.directory.party(
            "customer",
            address=optional_text(billing, "email"),
            phone=optional_text(billing, "phone"),
            region=country_of(billing, "country"),
            person=self.origin.named(customer) if customer else None,
            organisation=self.origin.named(customer) if customer else None,
            name=" ".join(filter(None, names)) or optional_text(billing, "company"),
        )
        return () if party is None else (party,)


def _is_dated(payload: Mapping[str, Any], field: str) -> bool:
    return payload.get(f"{field}_gmt") is not None or payload.get(field) is not None


def _utc(payload: Mapping[str, Any], field: str) -> datetime:
    """Read the field that is written in UTC without saying so."""
    value = payload.get(f"{field}_gmt")
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise Unmapped(f"bad_time:{field}_gmt") from None
    return moment_of(payload.get(field), f"{field}_gmt")


def _local_day(payload: Mapping[str, Any], field: str) -> date:
    """Return the day on the shop's own clock."""
    value = payload.get(field)
    try:
        return datetime.fromisoformat(value).date() if isinstance(value, str) else _utc(payload, field).date()
    except ValueError:
        raise Unmapped(f"bad_time:{field}") from None


PROVIDER = Provider(
    name="woocommerce",
    scheme=SchemeName.WOOCOMMERCE,
    read=read,
    options=WooOptions,
    media=JSON | FORM,
    kept=("x-wc-webhook-topic", "x-wc-webhook-source"),
    challenge=woocommerce_ping,
)
