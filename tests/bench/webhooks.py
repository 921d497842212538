"""Webhooks as ready-made bytes: signed as Standard Webhooks say, structured as CloudEvents are."""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson

from tests.bench import company


def fresh_secret() -> str:
    """A secret as Standard Webhooks show them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, orders: Iterator[company.Order]) -> Iterator[bytes]:
    """One ready-made request for each order, signed as Standard Webhooks say."""
    return sign_each(secret, map(cloud_event, orders))


def sign_each(secret: str, events: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """One ready-made request for each structured CloudEvent."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    now = int(time.time())
    for event in events:
        body = orjson.dumps(event)
        identifier = f"msg_{event['id']}"
        mac = hmac.digest(key, f"{identifier}.{now}.".encode() + body, sha256)
        head = (
            f"webhook-id: {identifier}\r\nwebhook-timestamp: {now}\r\n"
            f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\n"
        )
        yield request("/v1/events", "application/cloudevents+json", head, body)


def cloud_event(order: company.Order) -> dict[str, Any]:
    """The structured CloudEvent that a shop sends."""
    event = company.event_of(order)
    return {
        "specversion": "1.0",
        "id": event.report,
        "source": "/shop",
        "type": event.TYPE,
        "subject": event.interaction.native_id,
        "time": event.occurred_at.isoformat(),
        "data": event.model_dump(
            mode="json", include={"parties", "references", "net", "lines"}, exclude_none=True, exclude_defaults=True
        ),
    }


def request(path: str, media: str, head: str, body: bytes) -> bytes:
    """One HTTP request as it goes over the wire; `head` is further header lines."""
    start = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return f"{start}{head}\r\n".encode() + body
