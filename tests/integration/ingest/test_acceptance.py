"""What is let in reaches `tenure.interactions` before it is answered."""

from __future__ import annotations

import orjson

from contracts.envelope import Envelope
from contracts.events import OrderPlaced, TicketResolved
from services.ingest.domain.schemes import SchemeName
from tests.integration.ingest.conftest import Ingest

SOLVED = {
    "account_id": 22129848,
    "detail": {
        "created_at": "2026-02-27T10:12:07Z",
        "id": "5158",
        "organization_id": "8447346622462",
        "priority": "HIGH",
        "requester_id": "8447388090494",
        "status": "SOLVED",
        "subject": "Sensor drifts",
        "tags": ["calibration"],
        "updated_at": "2026-03-02T08:11:00Z",
    },
    "event": {"current": "SOLVED", "previous": "OPEN"},
    "id": "cbe4028c-7239-495d-b020-f22348516046",
    "subject": "zen:ticket:5158",
    "time": "2026-03-02T08:11:00.672717030Z",
    "type": "zen:event-type:ticket.status_changed",
    "zendesk_event_version": "2022-11-06",
}
PLACED = {
    "specversion": "1.0",
    "id": "4711-1",
    "source": "/erp",
    "type": "tenure.order.placed.v1",
    "subject": "4711",
    "time": "2026-03-02T09:30:00Z",
    "data": {"net": {"amount": "120.00", "currency": "EUR"}},
}


async def test_a_signed_webhook_is_on_the_topic_once_it_is_answered(ingest: Ingest) -> None:
    response = await ingest.post("/v1/webhooks/desk", orjson.dumps(SOLVED), SchemeName.ZENDESK, "desk.secret")

    assert response.status_code == 200, response.text
    (record,) = await ingest.published(1)
    (event,) = await ingest.events(1)
    assert isinstance(event, TicketResolved)
    assert record.key == event.interaction.id.encode()
    assert Envelope.from_headers(dict(record.headers)).source == "/sources/desk"


async def test_a_cloudevent_is_on_the_topic_once_it_is_answered(ingest: Ingest) -> None:
    response = await ingest.events_door(PLACED)

    assert response.status_code == 202, response.text
    (event,) = await ingest.events(1)
    assert isinstance(event, OrderPlaced)
    assert response.json()["results"] == [
        {"index": 0, "status": "accepted", "id": event.id, "interaction": event.interaction.id}
    ]
