"""Stripe's subscriptions, as contracts, and its invoices."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from contracts.events import (
    ContractCancelled,
    ContractExtended,
    ContractRenewed,
    ContractSigned,
    Event,
    InteractionWithdrawn,
    InvoiceOverdue,
    InvoicePaid,
    OrderCancelled,
    OrderPlaced,
    PaymentFailed,
)
from contracts.values import Kind
from services.ingest.domain.identities import one_line
from services.ingest.domain.mapping import moment_of, optional_text
from services.ingest.domain.reports import reported, stated
from services.ingest.sources.commerce import decimal_of, mapping_in, objects, sum_of
from services.ingest.sources.stripe_event import Read, Told
from services.ingest.sources.stripe_money import currency_of, is_metered, items_of, minor, money, twelve_months

_NOT_IN_FORCE = {
    "incomplete": "not_in_force_yet",
    "incomplete_expired": "never_in_force",
    "trialing": "trial",
    "paused": "trial",
}
_MOST_PRODUCTS = 500


def _subscription(told: Told) -> Sequence[Event] | str:
    """A subscription is signed when it starts to cost: a trial is none yet. Every report says when it was signed."""
    status = told.object.get("status")
    why = _NOT_IN_FORCE.get(str(status))
    if why is not None:
        return why
    signed, ended = _signed_at(told), told.moment("ended_at")
    if ended is not None and ended <= signed and told.moment("trial_end") is not None:
        return "trial"
    model, at, effective = _what_happened(told, signed, ended)
    entries = () if model is ContractSigned else ({"kind": "signed", "at": signed},)
    until = told.moment("cancel_at") or _period_end(told.object)
    recurring = _recurring(told.object)
    stays = told.object.get("cancel_at_period_end") is not True and told.moment("cancel_at") is None and ended is None
    return [
        reported(
            model,
            {
                **told.report(Kind.CONTRACT),
                "occurred_at": at,
                "entries": entries,
                "parties": told.customer(),
                "title": one_line(optional_text(told.object, "description")),
                "effective_on": None if effective is None else effective.date(),
                "recurring": None if recurring is None else stated(recurring),
                "starts_on": signed.date(),
                "due_on": None if until is None else until.date(),
                "auto_renewal": stays,
                "products": _products(told.object),
            },
        )
    ]


def _signed_at(told: Told) -> datetime:
    """Return when it began to cost: after the trial with which it began, else at once."""
    start = told.moment("start_date") or told.moment("start") or told.moment("created") or told.at
    trial_from, trial_until = told.moment("trial_start"), told.moment("trial_end")
    began_with_a_trial = trial_from is not None and trial_until is not None and trial_from <= start
    return trial_until if began_with_a_trial and trial_until is not None else start


def _what_happened(
    told: Told, signed: datetime, ended: datetime | None
) -> tuple[type[Event], datetime, datetime | None]:
    """Return what to report, when it happened, and from when it counts."""
    notice = told.moment("canceled_at")
    if told.type.endswith(".deleted") or ended is not None:
        over = ended or told.at
        return ContractCancelled, min(notice or over, over), over
    if told.object.get("cancel_at_period_end") is True or (told.moment("cancel_at") is not None and notice is not None):
        return ContractCancelled, notice or told.at, told.moment("cancel_at") or _period_end(told.object)
    if any(told.before.get(name) for name in ("cancel_at_period_end", "cancel_at", "canceled_at")):
        # The notice was taken back.
        return ContractRenewed, told.at, told.at
    period, earlier = _period_start(told.object), _period_start(told.before)
    if period is not None and earlier is not None and earlier < period and told.before.get("status") != "trialing":
        return ContractRenewed, period, period
    change = _change(told)
    if change > 0:
        return ContractExtended, told.at, told.at
    # Less than before is no new signing: the same contract with other terms from today.
    return ContractSigned, signed, told.at if change < 0 else None


def _change(told: Told) -> int:
    """Return whether the recurring value rose (1), fell (-1), or neither as far as is known."""
    names = ("items", "plan", "quantity", "discount")
    earlier = {name: told.before[name] for name in names if name in told.before}
    if not earlier:
        return 0
    now, then = _recurring(told.object), _recurring({**told.object, **earlier})
    if now is None or then is None or now["currency"] != then["currency"]:
        return 0
    return int(now["amount"] > then["amount"]) - int(now["amount"] < then["amount"])


def _recurring(subscription: Mapping[str, Any]) -> dict[str, Any] | None:
    items = items_of(subscription)
    return twelve_months(subscription, items) if items else None


def _products(subscription: Mapping[str, Any]) -> list[str] | None:
    """Return what was subscribed to: the product, else the price, by Stripe's id or, in old versions, by name."""
    found = []
    for item in items_of(subscription) or []:
        price = mapping_in(item, "price") or mapping_in(item, "plan")
        product = price.get("product")
        name = product if isinstance(product, str) else optional_text(mapping_in(price, "product"), "name")
        told = one_line(
            optional_text(price, "nickname") or name or optional_text(price, "name") or optional_text(price, "id")
        )
        if told and told not in found:
            found.append(told)
    return found[:_MOST_PRODUCTS] or None


def _period_start(subscription: Mapping[str, Any]) -> datetime | None:
    return _period(subscription, "current_period_start")


def _period_end(subscription: Mapping[str, Any]) -> datetime | None:
    return _period(subscription, "current_period_end")


def _period(subscription: Mapping[str, Any], field: str) -> datetime | None:
    """Return the period of the subscription; since 2025-03-31 each item has its own.

    Of several the earliest counts; what is metered binds nobody.
    """
    if subscription.get(field) is not None:
        return moment_of(subscription[field], field)
    items = [item for item in objects(mapping_in(subscription, "items"), "data") if item.get(field) is not None]
    bound = [item for item in items if not is_metered(item)]
    moments = [moment_of(item[field], field) for item in bound or items]
    return min(moments, default=None)


def _invoice(told: Told) -> Sequence[Event] | str:
    """What became of an invoice: paid, overdue, a payment that failed, void."""
    if not minor(told.object, "total", "amount_due"):
        return "nothing_owed"
    owed = money(minor(told.object, "amount_due", "total"), currency_of(told.object))
    due = told.moment("due_date")
    report = {
        **told.report(Kind.INVOICE),
        "parties": told.customer(),
        "title": one_line(optional_text(told.object, "number")),
        "owed": stated(owed),
        "due_on": None if due is None else due.date(),
    }
    what = told.type.partition(".")[2]
    if what in {"paid", "payment_succeeded"}:
        at = told.moment("status_transitions", "paid_at") or told.at
        return [reported(InvoicePaid, {**report, "occurred_at": at}), *_order(told)]
    if what == "payment_failed":
        return [reported(PaymentFailed, {**report, "occurred_at": told.at})]
    if what == "voided":
        stays = ("interaction", "report", "revision", "source", "parties", "title")
        gone = {**{name: report[name] for name in stays}, "occurred_at": told.at, "reason": "void"}
        return [reported(InteractionWithdrawn, gone), *_order(told)]
    # Overdue, or given up: what is never paid is overdue for good.
    return [reported(InvoiceOverdue, {**report, "occurred_at": told.at})]


def _finalized(told: Told) -> Sequence[Event] | str:
    return _order(told) or "not_an_order"


def _order(told: Told) -> list[Event]:
    """Return the invoice as an order, where invoices are revenue."""
    if "invoices" not in told.options.orders or not minor(told.object, "total"):
        return []
    placed = (
        told.moment("status_transitions", "finalized_at") or told.moment("created") or told.moment("date") or told.at
    )
    void = told.type == "invoice.voided"
    lines = _lines(told.object)
    return [
        reported(
            OrderCancelled if void else OrderPlaced,
            {
                **told.report(Kind.ORDER),
                "occurred_at": told.at if void else placed,
                "entries": ({"kind": "placed", "at": placed},) if void else (),
                "parties": told.customer(),
                "title": one_line(optional_text(told.object, "number")),
                "net": stated(money(_net(told.object), currency_of(told.object))),
                **({} if lines is None else {"lines": [stated(line) for line in lines]}),
            },
        )
    ]


def _net(invoice: Mapping[str, Any]) -> Any:
    """Return the total without tax and shipping, in the smallest unit."""
    shipping = minor(mapping_in(invoice, "shipping_cost"), "amount_subtotal", "amount_total")
    if invoice.get("total_excluding_tax") is not None:
        return minor(invoice, "total_excluding_tax") - shipping
    taxes = objects(invoice, "total_taxes") or objects(invoice, "total_tax_amounts")
    return minor(invoice, "total") - (sum_of(taxes, "amount") if taxes else minor(invoice, "tax")) - shipping


def _lines(invoice: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the lines, net; None where the event holds only the first of them."""
    listed = mapping_in(invoice, "lines")
    if listed.get("has_more") is True:
        return None
    return [
        {
            "product": one_line(optional_text(line, "description")) or "unknown",
            "quantity": decimal_of(line["quantity"], "quantity") if line.get("quantity") is not None else 1,
            "amount": money(_line_net(line), currency_of(line))["amount"],
        }
        for line in objects(listed, "data")
    ]


def _line_net(line: Mapping[str, Any]) -> Any:
    inside = [tax for tax in objects(line, "taxes") if tax.get("tax_behavior") == "inclusive"]
    inside += [tax for tax in objects(line, "tax_amounts") if tax.get("inclusive") is True]
    return minor(line, "amount") - sum_of(objects(line, "discount_amounts"), "amount") - sum_of(inside, "amount")


SUBSCRIPTIONS: Mapping[str, Read] = dict.fromkeys(
    (
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.resumed",
    ),
    _subscription,
)
INVOICES: Mapping[str, Read] = {
    **dict.fromkeys(
        (
            "invoice.paid",
            "invoice.payment_succeeded",
            "invoice.payment_failed",
            "invoice.overdue",
            "invoice.marked_uncollectible",
            "invoice.voided",
        ),
        _invoice,
    ),
    "invoice.finalized": _finalized,
}
