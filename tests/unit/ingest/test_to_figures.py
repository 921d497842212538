"""The same call is the same touch, the same purchase the same revenue, whichever provider told of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from contracts.activity import Attribution
from contracts.details import ContractDetail, InvoiceDetail
from contracts.events import Event
from contracts.events.order import OrderReport
from contracts.values import Money
from services.accounts.domain.identities import identity_key
from services.accounts.domain.matching import Directory, Link, Serving
from services.metrics.domain.fold import fold_account
from tests.unit.accounts.memory import MemoryOffice
from tests.unit.ingest.commerce import events_of
from tests.unit.metrics.builders import ACCOUNT, BERLIN, MARIA

AS_OF = date(2026, 3, 31)
CUSTOMERS = ("woocommerce:brightwell:17", "shopify:brightwell:115310627314723954", "stripe:brightwell:cus_acme")
KNOWN = Directory(
    links={
        identity_key("phone", "+49301234567"): [Link(None, MARIA)],
        **{identity_key("organisation", customer): [Link(ACCOUNT, None)] for customer in CUSTOMERS},
    },
    servings={MARIA: [Serving(ACCOUNT, date(2020, 1, 1))]},
)
Figures = Mapping[tuple[str, int], Any]


async def attributed(events: Sequence[Event]) -> list[Attribution]:
    """What accounts makes of events, as metrics reads it."""
    office = MemoryOffice(ZoneInfo("Europe/Berlin"), KNOWN)
    for event in events:
        await office.receive(event)
    return [Attribution.model_validate(orjson.loads(value)) for _, _, value in office.tables.said]


async def figures(events: Sequence[Event]) -> Figures:
    values = fold_account(await attributed(events), AS_OF, BERLIN, "EUR").values
    return {(name, window): now for (name, window, _), (now, _) in values.items()}


CALLS = {
    "aircall": ["aircall/hungup", "aircall/ended_answered"],
    "twilio": ["twilio/inbound_root_completed", "twilio/inbound_dialled_client_answered"],
    "ringcentral": ["ringcentral/in_answered_by_anna", "ringcentral/in_caller_hung_up"],
}
MISSED = {
    "aircall": ["aircall/ended_missed"],
    "twilio": ["twilio/inbound_root_completed", "twilio/inbound_dialled_mobile_no_answer"],
    "ringcentral": ["ringcentral/in_missed"],
}
OURS = {
    "twilio": ["twilio/outbound_api_answered"],
    "ringcentral": ["ringcentral/out_answered_by_the_customer", "ringcentral/out_our_leg_ended"],
}


@pytest.mark.parametrize("provider", CALLS)
async def test_a_call_that_was_answered_is_one_touch_of_the_customer(provider: str) -> None:
    found = await figures(events_of(*CALLS[provider]))
    assert (found["touches_in", 90], found["touches_out", 90]) == (1, 0)


@pytest.mark.parametrize("provider", OURS)
async def test_a_call_of_ours_that_was_answered_is_one_touch(provider: str) -> None:
    found = await figures(events_of(*OURS[provider]))
    assert (found["touches_in", 90], found["touches_out", 90]) == (0, 1)


@pytest.mark.parametrize("provider", MISSED)
async def test_a_missed_call_waits_for_an_answer(provider: str) -> None:
    attributions = await attributed(events_of(*MISSED[provider]))
    fold = fold_account(attributions, AS_OF, BERLIN, "EUR")
    assert [kind for _, _, kind, _ in fold.open_items] == ["missed_call"]
    assert {contact.contact_id for contact in attributions[-1].contacts} == {MARIA}


PURCHASES: dict[str, list[str]] = {
    "shopify": ["shopify/order_created"],
    "woocommerce": ["woocommerce/order_created", "woocommerce/order_paid"],
    "stripe's checkout": ["stripe/checkout_completed"],
    "stripe's invoice": ["stripe/invoice_finalized_as_order"],
}


@pytest.mark.parametrize("provider", PURCHASES)
async def test_a_purchase_is_one_order_with_its_net_revenue(provider: str) -> None:
    events = events_of(*PURCHASES[provider])
    found = await figures(events)
    stated = [event.net.amount for event in events if isinstance(event, OrderReport) and event.net is not None]
    assert found["orders", 90] == 1
    assert found["net_revenue", 90] == stated[-1]
    assert stated[-1] > 0


@pytest.mark.parametrize(
    ("names", "net"),
    [
        (["woocommerce/order_created", "woocommerce/order_refunded_in_part"], Decimal("80.00")),
        (["woocommerce/order_refunded_again"], Decimal("0.00")),
        (["stripe/checkout_completed", "stripe/refund_created", "stripe/refund_updated"], Decimal("200.00")),
        (["stripe/checkout_completed", "stripe/refund_created", "stripe/refund_failed"], Decimal("250.00")),
    ],
)
async def test_what_is_given_back_is_the_orders_account_and_no_revenue(names: list[str], net: Decimal) -> None:
    found = await figures(events_of(*names))
    assert found["net_revenue", 90] == net


async def test_a_cancelled_order_is_none() -> None:
    found = await figures(events_of("woocommerce/order_created", "woocommerce/order_cancelled"))
    assert found["orders", 90] == 0


@pytest.mark.parametrize(
    ("names", "detail"),
    [
        (
            ["stripe/subscription_created", "stripe/subscription_enlarged"],
            ContractDetail(
                state="in_force",
                effective_on=date(2026, 2, 11),
                recurring=Money(amount=Decimal(3000), currency="EUR"),
                starts_on=date(2026, 1, 1),
                due_on=date(2026, 3, 1),
                auto_renewal=True,
                products=("prod_care",),
            ),
        ),
        (
            ["stripe/invoice_overdue"],
            InvoiceDetail(state="overdue", owed=Money(amount=Decimal(119), currency="EUR"), due_on=date(2026, 3, 15)),
        ),
    ],
)
async def test_contracts_and_invoices_reach_their_account_as_they_stand(names: list[str], detail: object) -> None:
    last = (await attributed(events_of(*names)))[-1]
    assert (last.account_id, last.reason, last.present) == (ACCOUNT, "organisation", True)
    assert last.detail == detail
