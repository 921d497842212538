"""What is reported again, and differently, is as it was said last, whatever came first."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.details import OrderDetail
from contracts.events import Event
from contracts.interactions import Interaction, assemble
from contracts.standins import model_of
from contracts.values import Authority
from services.ingest.domain.mapping import Invalid
from services.ingest.sources.cloudevents import Reader
from services.ingest.sources.mail import map_mail
from tests.unit.ingest.commerce import golden, mapped
from tests.unit.ingest.golden import MAILBOX, NOW, mails, origin, told

LATE = origin("shop")
ORDER: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/erp",
    "type": "tenure.order.placed.v1",
    "subject": "4711",
    "time": "2026-03-01T09:30:00Z",
}


def in_every_order(events: Iterable[Event]) -> Interaction:
    """What reports make together, the same whichever of them comes first."""
    found = [assemble(list(order)) for order in permutations(events)]
    assert all(one == found[0] for one in found)
    return found[0]


def net(interaction: Interaction) -> Decimal:
    assert isinstance(interaction.detail, OrderDetail)
    assert interaction.detail.net is not None
    return interaction.detail.net.amount


def order_by(authority: int, amount: str, **more: Any) -> Event:
    """An order as a CloudEvent says it."""
    item = {**ORDER, **more, "data": {"net": {"amount": amount, "currency": "EUR"}}}
    return told_one(Reader(replace(LATE, authority=authority), frozenset()).read(item))


def told_one(event: Any) -> Event:
    found = model_of(event)
    assert isinstance(found, Event)
    return found


def shopify(quantity: int, updated: datetime, tenth: int) -> list[Event]:
    request = golden("shopify/order_created")
    request["headers"] |= {
        "x-shopify-topic": "orders/updated",
        "x-shopify-triggered-at": f"{updated:%Y-%m-%dT%H:%M:%S}.{tenth}00000Z",
    }
    request["body"] |= {"updated_at": f"{updated:%Y-%m-%dT%H:%M:%SZ}"}
    request["body"]["line_items"] = [{"sku": "VALVE-2", "price": "10.00", "quantity": quantity}]
    return mapped("shopify", request)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=3)], ids=["right", "three days ahead"])
def test_an_order_edited_three_times_in_a_second_by_a_clock_however_wrong(ahead: timedelta) -> None:
    moment = datetime(2026, 3, 2, 10, tzinfo=UTC) + ahead
    events = [one for tenth, quantity in enumerate((1, 7, 3), start=1) for one in shopify(quantity, moment, tenth)]

    assert net(in_every_order(events)) == Decimal(30)


def test_a_publisher_three_days_ahead_is_told_so_and_its_own_order_holds_when_its_clock_is_right_again() -> None:
    with pytest.raises(Invalid) as wrong:
        order_by(Authority.LIVE, "1.00", time=f"{NOW + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}")
    said = [
        order_by(
            Authority.LIVE,
            f"{number}.00",
            id=str(number),
            sequence=str(number),
            time=f"2026-03-01T09:3{9 - number}:00Z",
        )
        for number in (1, 2, 3)
    ]

    assert wrong.value.errors[0].field == "time"
    assert net(in_every_order(said)) == Decimal(3)


def test_a_mended_mapping_that_fetches_again_stands_above_what_it_said_before() -> None:
    (before,) = shopify(1, datetime(2026, 3, 2, 10, tzinfo=UTC), 1)
    mended = before.revision.model_copy(update={"mapper": before.revision.mapper + 1})
    after = before.model_copy(update={"revision": mended, "title": "mended"})

    assert in_every_order([before, after]).title == "mended"


def test_a_copy_that_amazon_rewrote_is_one_with_the_mail_as_it_was_sent() -> None:
    rewritten = next(path.read_bytes() for path in mails() if path.stem == "rewritten_by_ses")
    sent = rewritten.replace(b"<0102018e-rewritten@eu-west-1.amazonses.com>", b"<offer-42@brightwell.example>")
    sent = sent.replace(b"X-Original-Message-ID: <offer-42@brightwell.example>\r\n", b"")
    events = [one for raw in (sent, rewritten) for one in told(map_mail(raw, MAILBOX, origin("mail")))]

    assert len({event.interaction for event in events}) == 1
    assert in_every_order(events).id == events[0].interaction.id


def test_a_table_that_overlaps_what_webhooks_brought_never_stands_above_them() -> None:
    live = [order_by(Authority.LIVE, "120.00", sequence="1"), order_by(Authority.LIVE, "150.00", id="2", sequence="2")]
    table = order_by(Authority.IMPORT, "999.00", id="row 7", sequence="3", time="2026-03-01T12:00:00Z")

    assert net(in_every_order([*live, table])) == Decimal(150)
