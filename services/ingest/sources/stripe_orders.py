"""Stripe's checkouts and charges as orders, and its refunds.

A checkout and the charge that it makes have the same payment, by whose id the order is known: whoever lets both count
has one order, and of the two the checkout knows tax and shipping.
"""

from collections.abc import Mapping, Sequence

from contracts.events import Event, InteractionWithdrawn, OrderPlaced, OrderRefunded
from contracts.values import Kind
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import micros, moment_of, optional_text
from services.ingest.domain.reports import key_of, reported, stated
from services.ingest.sources.commerce import mapping_in, objects
from services.ingest.sources.stripe_event import Read, Told
from services.ingest.sources.stripe_money import currency_of, minor, money

_KNOWS_TAX = 1 << 60


def _checkout(told: Told) -> Sequence[Event] | str:
    session = told.object
    if session.get("mode") != "payment":
        return "told_by_its_subscription"
    if "checkout" not in told.options.orders:
        return "not_an_order"
    if session.get("payment_status") == "unpaid":
        return "not_paid_yet"
    details = mapping_in(session, "total_details")
    net = minor(session, "amount_total") - minor(details, "amount_tax") - minor(details, "amount_shipping")
    payment = _id(session, "payment_intent") or told.native
    report = told.report(Kind.ORDER, payment, order=_KNOWS_TAX + micros(told.at))
    return [
        reported(
            OrderPlaced,
            {
                **report,
                "occurred_at": told.moment("created") or told.at,
                "parties": told.customer(),
                "title": one_line(optional_text(session, "client_reference_id")),
                "net": stated(money(net, currency_of(session))),
            },
        )
    ]


def _charge(told: Told) -> Sequence[Event] | str:
    charge = told.object
    if charge.get("captured") is False:
        return "not_captured_yet"
    if _id(charge, "invoice") is not None:
        return "told_by_its_invoice"
    if "charges" not in told.options.orders:
        return "not_an_order"
    return [
        reported(
            OrderPlaced,
            {
                **told.report(Kind.ORDER, _id(charge, "payment_intent") or told.native),
                "occurred_at": told.moment("created") or told.at,
                "parties": told.customer(),
                "title": one_line(optional_text(charge, "description")),
                "net": stated(money(minor(charge, "amount_captured", "amount"), currency_of(charge))),
            },
        )
    ]


def _refund(told: Told) -> Sequence[Event] | str:
    if not told.options.orders:
        return "not_an_order"
    return [_given_back(told, told.object, told.object)]


def _refunded_charge(told: Told) -> Sequence[Event] | str:
    """Until 2022-11-15 a charge held its refunds; since then each tells of itself."""
    if not told.options.orders:
        return "not_an_order"
    listed = told.object.get("refunds")
    held = objects(listed, "data") if isinstance(listed, dict) else objects(told.object, "refunds")
    found = [_given_back(told, refund, told.object) for refund in held if _id(refund, "id") is not None]
    return found or "told_by_its_refunds"


def _dispute(told: Told) -> Sequence[Event] | str:
    """A dispute that is lost took the money back, on the day on which it was lost."""
    dispute = told.object
    if not told.options.orders:
        return "not_an_order"
    if optional_text(dispute, "status") != "lost":
        return "nothing_given_back"
    order = _id(dispute, "payment_intent") or _id(dispute, "charge") or told.native
    return [
        reported(
            OrderRefunded,
            {
                **told.report(Kind.REFUND),
                "occurred_at": told.at,
                "parent": key_of(Kind.ORDER, told.origin.system, order),
                "title": one_line(optional_text(dispute, "reason")),
                "refunded": stated(money(minor(dispute, "amount"), currency_of(dispute))),
            },
        )
    ]


def _given_back(told: Told, refund: Mapping[str, object], charge: Mapping[str, object]) -> Event:
    """Money that goes back concerns the order alone: of what is no order here, a refund is none either."""
    by_invoice = _id(charge, "invoice") if "invoices" in told.options.orders else None
    order = by_invoice or _id(charge, "payment_intent") or _id(refund, "payment_intent") or _id(refund, "charge")
    given = moment_of(refund.get("created"), "refund.created")
    report = {
        **told.report(Kind.REFUND, _id(refund, "id")),
        "occurred_at": given,
        "parent": key_of(Kind.ORDER, told.origin.system, order or _id(charge, "id") or told.native),
    }
    if optional_text(refund, "status") in {"failed", "canceled"}:
        return reported(InteractionWithdrawn, {**report, "reason": "the refund did not succeed"})
    return reported(
        OrderRefunded,
        {
            **report,
            "title": one_line(optional_text(refund, "reason")),
            "refunded": stated(money(minor(refund, "amount"), currency_of(refund))),
        },
    )


def _id(payload: Mapping[str, object], field: str) -> str | None:
    """Return the id under `field`, whether Stripe wrote it alone or with its whole object."""
    value = payload.get(field)
    found = value.get("id") if isinstance(value, dict) else value
    return found if isinstance(found, str) and found else None


ORDERS: Mapping[str, Read] = {
    "checkout.session.completed": _checkout,
    "checkout.session.async_payment_succeeded": _checkout,
    "charge.succeeded": _charge,
    "charge.captured": _charge,
}
REFUNDS: Mapping[str, Read] = {
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.refund.updated": _refund,
    "charge.refunded": _refunded_charge,
    "charge.dispute.closed": _dispute,
}
