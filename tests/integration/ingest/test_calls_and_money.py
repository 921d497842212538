"""Calls, shops and billing through the real door: signed as their providers sign, published, and adding up."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import orjson

from contracts.details import CallDetail, ContractDetail, InvoiceDetail, OrderDetail, RefundDetail
from contracts.events import Event
from contracts.interactions import assemble
from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import Request, seal
from tests.integration.ingest.conftest import SECRETS, Ingest, StartIngest
from tests.unit.ingest.golden import FOLDER

OUTSIDE = "https://tenure.brightwell.example"
SOURCES = """
[sources.hotline]
provider = "twilio"
system = "twilio:brightwell"
secret_files = ["shop.secret"]
own_numbers = ["+4930999*"]
[sources.switchboard]
provider = "ringcentral"
system = "ringcentral:brightwell"
secret_files = ["desk.secret"]
[sources.webshop]
provider = "woocommerce"
system = "woocommerce:brightwell"
secret_files = ["shop.secret"]
[sources.billing]
provider = "stripe"
system = "stripe:brightwell"
secret_files = ["shop.secret"]
"""
PROVIDERS = {"hotline": "twilio", "switchboard": "ringcentral", "webshop": "woocommerce", "billing": "stripe"}
DELIVERIES = {
    "hotline": ["inbound_under_way", "inbound_dialled_client_answered", "inbound_root_completed"],
    "switchboard": ["in_caller_hung_up", "in_answered_by_anna", "internal_between_extensions"],
    "webshop": ["order_refunded_in_part", "order_created", "product_updated"],
    "billing": ["subscription_enlarged", "subscription_created", "invoice_overdue", "test_mode"],
}


async def deliver(ingest: Ingest, source: str, body: bytes, media: str, headers: dict[str, str]) -> httpx2.Response:
    """Sends what the provider would, signed for the address that it knows us by."""
    scheme = SchemeName(PROVIDERS[source])
    secret = SECRETS["desk.secret" if source == "switchboard" else "shop.secret"]
    path = f"/v1/webhooks/{source}"
    request = seal(scheme, secret, Request(OUTSIDE + path, {**headers, "content-type": media}, body))
    return await ingest.http.post(path, content=request.body, headers=dict(request.headers))


def golden(source: str, name: str) -> tuple[bytes, str, dict[str, str]]:
    example: dict[str, Any] = json.loads(Path(FOLDER, PROVIDERS[source], f"{name}.json").read_text(encoding="utf-8"))
    headers = {key: value for key, value in example["headers"].items() if "signature" not in key}
    if "form" in example:
        return urlencode(example["form"]).encode(), "application/x-www-form-urlencoded", headers
    return orjson.dumps(example["body"]), "application/json", headers


async def handshakes_are_answered_and_nothing_unsigned_comes_in(ingest: Ingest) -> None:
    """What is published afterwards is counted to the record: nothing of this may be among it."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    ping = await ingest.http.post("/v1/webhooks/webshop", content=b"webhook_id=3", headers=form)
    made = await ingest.http.post("/v1/webhooks/switchboard", headers={"validation-token": "a1b2-c3"})
    assert (ping.status_code, made.status_code) == (HTTPStatus.OK, HTTPStatus.OK)
    assert made.headers["validation-token"] == "a1b2-c3"

    for source in PROVIDERS:
        body, media, headers = golden(source, DELIVERIES[source][-1])
        answer = await ingest.http.post(
            f"/v1/webhooks/{source}", content=body, headers={**headers, "content-type": media}
        )
        assert answer.status_code == HTTPStatus.UNAUTHORIZED, source


async def test_calls_orders_and_contracts_come_in_as_their_providers_send_them(start_ingest: StartIngest) -> None:
    ingest = await start_ingest(SOURCES, public_url=OUTSIDE)
    await handshakes_are_answered_and_nothing_unsigned_comes_in(ingest)

    # Twice: every provider delivers at least once.
    for source, names in DELIVERIES.items():
        for name in (*names, *names):
            answer = await deliver(ingest, source, *golden(source, name))
            assert answer.status_code == HTTPStatus.OK, (name, answer.text)

    # What is repeated is published again, with the same ids.
    events = await ingest.events(2 * (2 + 2 + 3 + 3))
    reports: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        reports[event.interaction.id].append(event)
    details = [assemble(one).detail for one in reports.values()]
    assert [(one.direction, one.outcome) for one in details if isinstance(one, CallDetail)] == [("in", "completed")] * 2
    orders = [one.net.amount for one in details if isinstance(one, OrderDetail) and one.net is not None]
    refunds = [one.refunded.amount for one in details if isinstance(one, RefundDetail)]
    contracts = [
        one.recurring.amount for one in details if isinstance(one, ContractDetail) and one.recurring is not None
    ]
    assert (orders, refunds, contracts) == ([Decimal(90)], [Decimal(10)], [Decimal(3000)])
    assert [one.state for one in details if isinstance(one, InvoiceDetail)] == ["overdue"]
