"""Orders, and what depends on them: refunds and deliveries are interactions of their own with the order as parent."""

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from contracts.events.base import Event
from contracts.values import Amount, Kind, Line, Model, Money, Name, Quantity


class OrderLine(Model):
    """One line: amounts are of the whole line, in the order's currency, net."""

    product: Name
    quantity: Quantity
    amount: Amount
    cost: Amount | None = None
    list_price: Amount | None = None


class OrderReport(Event):
    """What a report may state about an order, as placed or changed, before returns.

    The entry `confirmed` (paid, completed) lifts a cancellation before it: shops cancel what is not paid in time.
    """

    KIND: ClassVar[Kind] = Kind.ORDER

    net: Money | None = None
    """Net of discounts, without tax and shipping."""
    lines: Annotated[tuple[OrderLine, ...], Field(max_length=5000)] | None = None
    order_kind: Literal["new", "repeat", "upsell", "cross_sell"] | None = None
    buying_centre: Line | None = None


class OrderPlaced(OrderReport):
    """An order was placed."""

    TYPE: ClassVar[str] = "tenure.order.placed.v1"
    ENTRY: ClassVar[str] = "placed"


class OrderChanged(OrderReport):
    """An order's lines or amounts changed."""

    TYPE: ClassVar[str] = "tenure.order.changed.v1"


class OrderCancelled(OrderReport):
    """An order was cancelled."""

    TYPE: ClassVar[str] = "tenure.order.cancelled.v1"
    ENTRY: ClassVar[str] = "cancelled"


class OrderRefunded(Event):
    """Money went back; counts on its own date."""

    TYPE: ClassVar[str] = "tenure.order.refunded.v1"
    KIND: ClassVar[Kind] = Kind.REFUND

    refunded: Money
    """What was given back, net; positive."""


class OrderDelivered(Event):
    """A delivery reached the customer."""

    TYPE: ClassVar[str] = "tenure.order.delivered.v1"
    KIND: ClassVar[Kind] = Kind.DELIVERY

    promised_on: date | None = None
    delivered_on: date
