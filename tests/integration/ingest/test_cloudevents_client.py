"""What the CloudEvents project's own package sends is understood, in all three content modes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign
from tests.integration.ingest.conftest import SECRETS, Ingest
from tests.integration.ingest.test_acceptance import PLACED


def event(subject: str) -> CloudEvent:
    """An order as the package makes events."""
    attributes: dict[str, Any] = {
        "id": f"report of {subject}",
        "source": "/erp/göteborg",
        "type": "tenure.order.placed.v1",
        "specversion": "1.0",
        "subject": subject,
        "time": datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
        "datacontenttype": "application/json",
        "sequence": "7",
    }
    data: Any = PLACED["data"]
    return CloudEvent(attributes, data)


def as_bytes(text: str | bytes) -> bytes:
    """Whatever the package writes."""
    return text.encode() if isinstance(text, str) else text


async def post(ingest: Ingest, message: HTTPMessage) -> httpx2.Response:
    """Signs and posts what the package made."""
    body = message.body
    headers = {name.lower(): value for name, value in message.headers.items()}
    signed = sign(SchemeName.STANDARD_WEBHOOKS, SECRETS["erp.secret"], body, identifier="msg_1")
    return await ingest.http.post("/v1/events", content=body, headers={**headers, **signed})


async def test_events_of_the_cloudevents_package_are_taken_in_every_mode(ingest: Ingest) -> None:
    form = JSONFormat()
    batch = b"[" + b",".join(as_bytes(form.write(event(subject))) for subject in ("B-1", "B-2")) + b"]"
    messages = [
        to_structured_event(event("S-1 % ü"), form),
        to_binary_event(event("S-1 % ü"), form),
        to_binary_event(event("K-1"), form),
        HTTPMessage(headers={"content-type": "application/cloudevents-batch+json"}, body=batch),
    ]
    for message in messages:
        response = await post(ingest, message)
        assert response.status_code == 202, response.text

    records = await ingest.published(5)

    told = [orjson.loads(record.value)["interaction"]["native_id"] for record in records]
    assert sorted(told) == ["B-1", "B-2", "K-1", "S-1 % ü", "S-1 % ü"]
    # One report in two modes is one report.
    assert len({dict(record.headers)["ce_id"] for record in records}) == 4
    # Whose it is, is configured; what the publisher calls itself is kept beside it.
    assert {dict(record.headers)["ce_source"] for record in records} == {b"/sources/erp"}
    assert {dict(record.headers)["ce_publisher"].decode() for record in records} == {"/erp/göteborg"}
