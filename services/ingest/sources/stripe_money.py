"""Stripe's amounts: whole numbers in a currency's smallest unit, and what a subscription is worth in twelve months."""

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.commerce import decimal_of, mapping_in, objects

# docs.stripe.com/currencies. ISK and UGX have no smaller unit either, but Stripe writes them with two places.
_NO_PLACES = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())  # noqa: SIM905 - a list of words
_THREE_PLACES = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
_PER_YEAR = {"day": 365, "week": 52, "month": 12, "year": 1}
_TWELVE = 12
_GREATEST = 10**20


def currency_of(payload: Mapping[str, Any]) -> str:
    """Return the ISO 4217 code of an object; Stripe writes it in small letters."""
    value = payload.get("currency")
    if not isinstance(value, str):
        raise Unmapped("missing:currency")
    return value.upper()


def places_of(currency: str) -> int:
    """Return how many places the smallest unit lies behind the point."""
    return 0 if currency in _NO_PLACES else 3 if currency in _THREE_PLACES else 2


def money(amount: Decimal, currency: str) -> dict[str, Any]:
    """Return an amount in the smallest unit as money."""
    places = places_of(currency)
    if abs(amount) >= _GREATEST:
        raise Unmapped("bad_number:amount")
    exact = amount.scaleb(-places)
    return {"amount": exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP), "currency": currency}


def minor(payload: Mapping[str, Any], *fields: str) -> Decimal:
    """Return the first of `fields` that is stated, in the smallest unit; none: 0."""
    for field in fields:
        if payload.get(field) is not None:
            return decimal_of(payload[field], field)
    return Decimal(0)


def twelve_months(subscription: Mapping[str, Any], items: list[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the recurring value of twelve months, net; None where it cannot be known: tiers, or more than one page.

    What is metered has no value before it is used and counts as nothing. `items` of any version of the API.
    """
    total = Decimal(0)
    currency = None
    for item in items:
        price = mapping_in(item, "price") or mapping_in(item, "plan")
        recurring = mapping_in(price, "recurring") or price
        currency = currency or currency_of(price)
        if is_metered(item):
            continue
        unit = next((price[name] for name in _UNIT_AMOUNTS if price.get(name) is not None), None)
        times = _PER_YEAR.get(str(recurring.get("interval")))
        every = decimal_of(recurring.get("interval_count") or 1, "interval_count")
        if unit is None or times is None or every < 1:
            return None
        quantity = decimal_of(item["quantity"], "quantity") if item.get("quantity") is not None else Decimal(1)
        amount = decimal_of(unit, "unit_amount") * quantity * times / every
        total += amount / (1 + _tax_inside(item, subscription))
    if currency is None:
        return None
    return money(_discounted(total, subscription, items), currency)


_UNIT_AMOUNTS = ("unit_amount_decimal", "unit_amount", "amount_decimal", "amount")


def items_of(subscription: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Return the items of a subscription of any version; None where the event does not hold them all."""
    listed = subscription.get("items")
    if isinstance(listed, dict):
        return None if listed.get("has_more") is True else objects(listed, "data")
    # Before 2018 a subscription had one plan and said so itself.
    return [subscription] if isinstance(subscription.get("plan"), dict) else []


def is_metered(item: Mapping[str, Any]) -> bool:
    """Say whether an item costs what is used of it."""
    price = mapping_in(item, "price") or mapping_in(item, "plan")
    return (mapping_in(price, "recurring") or price).get("usage_type") == "metered"


def _tax_inside(item: Mapping[str, Any], subscription: Mapping[str, Any]) -> Decimal:
    """Return the share of tax that a price includes, as far as named rates tell."""
    rates = objects(item, "tax_rates") or objects(subscription, "default_tax_rates")
    included: Iterable[Mapping[str, Any]] = (rate for rate in rates if rate.get("inclusive") is True)
    return max(
        sum((decimal_of(rate.get("percentage"), "percentage") for rate in included), Decimal(0)) / 100, Decimal(0)
    )


def _discounted(total: Decimal, subscription: Mapping[str, Any], items: list[Mapping[str, Any]]) -> Decimal:
    """Take off what a coupon gives in twelve months. Later versions name discounts by id only: unknown then."""
    discount = mapping_in(subscription, "discount")
    source = mapping_in(discount, "source")
    coupon = mapping_in(discount, "coupon") or mapping_in(source, "coupon")
    duration = coupon.get("duration")
    if duration == "repeating":
        months = min(decimal_of(coupon.get("duration_in_months") or 0, "duration_in_months"), Decimal(_TWELVE))
    else:
        months = Decimal(_TWELVE if duration == "forever" else 0)
    if not months:
        return total
    if coupon.get("percent_off") is not None:
        off = total * decimal_of(coupon["percent_off"], "percent_off") / 100
    else:
        off = decimal_of(coupon.get("amount_off") or 0, "amount_off") * _bills(items)
    return max(total - off * months / _TWELVE, Decimal(0))


def _bills(items: list[Mapping[str, Any]]) -> Decimal:
    """Return how many bills twelve months bring: an amount comes off each."""
    price = mapping_in(items[0], "price") or mapping_in(items[0], "plan")
    recurring = mapping_in(price, "recurring") or price
    every = max(decimal_of(recurring.get("interval_count") or 1, "interval_count"), Decimal(1))
    return Decimal(_PER_YEAR.get(str(recurring.get("interval")), 0)) / every
