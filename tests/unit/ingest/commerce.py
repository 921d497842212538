"""What tests of shops and billing share: golden deliveries, mapped, and what they add up to."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from contracts.events import Event
from contracts.interactions import Interaction, assemble
from contracts.values import Kind
from services.ingest.sources.registry import WEBHOOKS
from tests.unit.ingest.golden import FOLDER, delivery, origin, told

SHUFFLED = st.randoms(use_true_random=False)

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
