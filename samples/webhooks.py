"""The live day's facts as their providers send them: Zendesk, Aircall, Shopify, a CRM with CloudEvents, mail.

Shapes are those of the providers' documentation, with the fields that a reader needs and some that it must ignore.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from functools import singledispatch
from typing import Any, Literal
from zoneinfo import ZoneInfo

from contracts.envelope import format_instant
from samples.company import CURRENCY, OWN_NUMBER, TIME_ZONE, Company, Person
from samples.facts import Call, Departure, Fact, Mail, OrderStep, Refund, TicketStep
from samples.history_lines import SHOP_DOMAIN, events_of, mailbox_address

Door = Literal["webhooks", "mail", "events"]
Signature = Literal["zendesk", "shopify", "standard-webhooks", "token"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to one of ingest's doors, not signed yet: signatures carry the time at which they are made."""

    door: Door
    source: str
    """The configured source; for mail its mailbox decides."""
    path: str
    body: bytes
    signature: Signature
    """token: the secret stands in the body, as TOKEN."""
    headers: dict[str, str] = field(default_factory=dict)
    forged: bool = False


TOKEN = b"$AIRCALL-TOKEN$"
"""Stands in an Aircall body where the webhook's token belongs."""


@singledispatch
def deliveries_of(fact: Fact, company: Company) -> Iterator[Delivery]:
    """The requests that report a fact."""
    raise TypeError(f"no provider reports a {type(fact).__name__} of {len(company.customers)} customers")


@deliveries_of.register
def _(fact: TicketStep, company: Company) -> Iterator[Delivery]:
    names = {
        "opened": "created",
        "resolved": "status_changed",
        "reopened": "status_changed",
        "closed": "status_changed",
    }
    statuses = {"opened": "NEW", "resolved": "SOLVED", "reopened": "OPEN", "closed": "CLOSED"}
    before = {"resolved": "OPEN", "reopened": "SOLVED", "closed": "SOLVED"}
    change = {"current": statuses[fact.step], "previous": before[fact.step]} if fact.step in before else {}
    yield _webhook(
        "desk",
        {
            "type": f"zen:event-type:ticket.{names[fact.step]}",
            "account_id": 12514403,
            "id": f"audit-{fact.audit}",
            "time": format_instant(fact.at),
            "zendesk_event_version": "2022-11-06",
            "subject": f"zen:ticket:{fact.ticket}",
            "event": change,
            "detail": {
                "id": fact.ticket,
                "subject": fact.subject,
                "description": fact.subject,
                "priority": fact.priority.upper(),
                "status": statuses[fact.step],
                "created_at": format_instant(fact.opened_at),
                "updated_at": format_instant(fact.at),
                "requester_id": fact.requester.desk_id,
                "organization_id": company.customer(fact.requester.account or "").organisation,
                "assignee_id": "5500001",
                "group_id": "360001",
                "is_public": True,
                "tags": ["instrument"],
                "via": {"channel": "web_service"},
            },
        },
        "zendesk",
    )


@deliveries_of.register
def _(fact: Call, _: Company) -> Iterator[Delivery]:
    started = int(fact.at.timestamp())
    answered = None if fact.talked_seconds is None else started + fact.rang_seconds
    ended = started + fact.rang_seconds + (fact.talked_seconds or 0)
    agent = fact.colleague
    yield _webhook(
        "phone",
        {
            "resource": "call",
            "event": "call.ended",
            "timestamp": ended,
            "token": TOKEN.decode(),
            "data": {
                "id": int(fact.number),
                "direct_link": f"https://api.aircall.io/v1/calls/{fact.number}",
                "direction": "inbound" if fact.inbound else "outbound",
                "status": "done",
                "missed_call_reason": "no_available_agent" if fact.inbound and answered is None else None,
                "started_at": started,
                "answered_at": answered,
                "ended_at": ended,
                "duration": ended - started,
                "raw_digits": fact.other.phone,
                "voicemail": None,
                "recording": None,
                "user": {"id": 77, "name": agent.name, "email": agent.address} if agent else None,
                "number": {"id": 1, "name": "Brightwell main line", "digits": OWN_NUMBER},
                "tags": [{"id": place, "name": tag} for place, tag in enumerate(fact.tags)],
                "comments": [],
            },
        },
        "token",
    )


@deliveries_of.register
def _(fact: OrderStep, _: Company) -> Iterator[Delivery]:
    topics = {"placed": "orders/create", "changed": "orders/updated", "cancelled": "orders/cancelled"}
    yield _shopify(
        topics[fact.step],
        fact.at,
        {
            "id": int(fact.order),
            "name": f"#{fact.order}",
            "created_at": _shop_time(fact.placed_at),
            "processed_at": _shop_time(fact.placed_at),
            "updated_at": _shop_time(fact.at),
            "cancelled_at": _shop_time(fact.at) if fact.step == "cancelled" else None,
            "currency": CURRENCY,
            "taxes_included": False,
            "contact_email": fact.buyer.address,
            "email": fact.buyer.address,
            "subtotal_price": str(fact.net),
            "total_price": str(fact.net),
            "total_tax": "0.00",
            "customer": _customer(fact.buyer),
            "line_items": [
                {
                    "id": place,
                    "title": line.product,
                    "quantity": line.quantity,
                    "price": str(line.amount / line.quantity),
                    "gift_card": False,
                    "discount_allocations": [],
                    "tax_lines": [],
                }
                for place, line in enumerate(fact.lines, start=1)
            ],
        },
    )


@deliveries_of.register
def _(fact: Refund, _: Company) -> Iterator[Delivery]:
    yield _shopify(
        "refunds/create",
        fact.at,
        {
            "id": int(fact.refund),
            "order_id": int(fact.order),
            "created_at": _shop_time(fact.at),
            "processed_at": _shop_time(fact.at),
            "note": "one piece came damaged",
            "order_adjustments": [],
            "refund_line_items": [
                {
                    "id": 1,
                    "quantity": 1,
                    "subtotal": str(fact.amount),
                    "total_tax": "0.00",
                    "subtotal_set": {"shop_money": {"amount": str(fact.amount), "currency_code": CURRENCY}},
                }
            ],
            "transactions": [{"id": 1, "kind": "refund", "amount": str(fact.amount), "currency": CURRENCY}],
        },
    )


@deliveries_of.register
def _(fact: Departure, company: Company) -> Iterator[Delivery]:
    for event in events_of(fact, company):
        body = json.dumps(event).encode()
        headers = {"content-type": "application/cloudevents+json"}
        yield Delivery("events", "crm", "/v1/events", body, "standard-webhooks", headers)


@deliveries_of.register
def _(fact: Mail, company: Company) -> Iterator[Delivery]:
    for source in fact.mailboxes:
        address = mailbox_address(company, source)
        yield Delivery(
            "mail", source, f"/v1/mail/{source}", message_bytes(fact, address), "standard-webhooks",
            {"content-type": "message/rfc822"},
        )  # fmt: skip


def message_bytes(mail: Mail, delivered_to: str) -> bytes:
    """The mail as RFC 5322 text, as the server of that mailbox keeps it."""
    message = EmailMessage(policy=SMTP)
    if mail.inbound:
        # the receipt by our own server; mail that we sent has none
        received = format_datetime(mail.at.astimezone(UTC))
        message["Received"] = f"from mx.{mail.sender.address.partition('@')[2]} by mx.brightwell.example; {received}"
        message["Delivered-To"] = delivered_to
    message["Date"] = format_datetime(mail.at)
    message["From"] = _written(mail.sender)
    message["To"] = ", ".join(map(_written, mail.to))
    if mail.cc:
        message["Cc"] = ", ".join(map(_written, mail.cc))
    message["Subject"] = mail.subject
    message["Message-ID"] = mail.message_id
    if mail.thread:
        message["In-Reply-To"] = mail.thread[-1]
        message["References"] = " ".join(mail.thread)
    if mail.automatic == "newsletter":
        message["List-Unsubscribe"] = f"<mailto:leave@{mail.sender.address.partition('@')[2]}>"
        message["Precedence"] = "bulk"
    elif mail.automatic in {"out_of_office", "auto_reply"}:
        message["Auto-Submitted"] = "auto-replied"
    message.set_content(mail.body)
    return message.as_bytes()


def _written(person: Person) -> str:
    return formataddr((person.name, person.address))


def _shop_time(moment: datetime) -> str:
    """Shopify writes the shop's local time with its offset."""
    return moment.astimezone(ZoneInfo(TIME_ZONE)).isoformat()


def _customer(person: Person) -> dict[str, Any]:
    first, _, last = person.name.partition(" ")
    return {"id": int(person.shop_id or 0), "email": person.address, "first_name": first, "last_name": last}


def _webhook(
    source: str, payload: dict[str, Any], signature: Signature, headers: dict[str, str] | None = None
) -> Delivery:
    body = json.dumps(payload, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", **(headers or {})}
    return Delivery("webhooks", source, f"/v1/webhooks/{source}", body, signature, headers)


def _shopify(topic: str, at: datetime, payload: dict[str, Any]) -> Delivery:
    named = {
        "x-shopify-topic": topic,
        "x-shopify-shop-domain": SHOP_DOMAIN,
        "x-shopify-api-version": "2026-01",
        "x-shopify-triggered-at": format_instant(at),
    }
    return _webhook("shop", payload, "shopify", named)
