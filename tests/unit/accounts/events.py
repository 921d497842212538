"""Short ways to write events for tests of accounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.codec import encode, event_envelope
from contracts.events import BY_TYPE, Event
from contracts.ids import digest
from contracts.values import Authority
from services.accounts.domain.ports import Report
from services.runtime.consumer import Record

MONDAY = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def at(**delta: float) -> datetime:
    """That long after Monday, 2 March 2026, 9:00 UTC; negative: before."""
    return MONDAY + timedelta(**delta)


def person(role: str, address: str, *, ours: bool = False, **identities: str) -> dict[str, Any]:
    """A party with an address and more identities (phone=…, person=…)."""
    known = [{"kind": "address", "value": address}] if address else []
    known += [{"kind": kind, "value": value} for kind, value in identities.items()]
    return {"role": role, "identities": known, "ours": ours, "name": address.partition("@")[0] or None}


def event(
    name: str,
    kind: str,
    native_id: str,
    *,
    report: str | None = None,
    order: int = 1,
    authority: int = Authority.LIVE,
    when: datetime = MONDAY,
    system: str = "test:acme",
    source: str = "test",
    **fields: Any,
) -> Event:
    """An event of type tenure.<name>.v1; its report is its name and order unless given."""
    model = BY_TYPE[f"tenure.{name}.v1"]
    body = {
        "interaction": {"kind": kind, "system": system, "native_id": native_id},
        "report": report or f"{name}-{order}",
        "revision": {
            "authority": authority,
            "order": order,
            "digest": digest(f"{name} {order} {when} {fields}".encode()),
        },
        "source": source,
        "occurred_at": when,
        **fields,
    }
    return model.model_validate(body)


def mail(
    native_id: str, sender: str, to: str, *, text: str = "When does it arrive?", when: datetime = MONDAY, **fields: Any
) -> Event:
    """A mail; who writes from brightwell.example is one of ours."""
    ours = "brightwell.example"
    outgoing = sender.endswith(ours)
    fields.setdefault("references", [{"kind": "message", "value": native_id}])
    fields.setdefault("parties", [person("from", sender, ours=outgoing), person("to", to, ours=to.endswith(ours))])
    return event(
        "email.sent" if outgoing else "email.received",
        "mail",
        native_id,
        system="mail",
        when=when,
        mailbox="anna@brightwell.example",
        direction="out" if outgoing else "in",
        text=text,
        **fields,
    )


def order(native_id: str, customer: str, net: str = "100.00", *, when: datetime = MONDAY, **fields: Any) -> Event:
    """A placed order."""
    fields.setdefault("parties", [person("customer", customer)])
    return event("order.placed", "order", native_id, when=when, net={"amount": net, "currency": "EUR"}, **fields)


def refund(native_id: str, order_id: str, *, when: datetime = MONDAY, **fields: Any) -> Event:
    """A refund of an order, naming nobody but the order."""
    parent = {"kind": "order", "system": "test:acme", "native_id": order_id}
    return event(
        "order.refunded",
        "refund",
        native_id,
        when=when,
        parent=parent,
        refunded={"amount": "10.00", "currency": "EUR"},
        **fields,
    )


def ticket(name: str, native_id: str, requester: str = "", *, when: datetime = MONDAY, **fields: Any) -> Event:
    """A step in a ticket's life, such as opened or resolved."""
    if requester:
        fields.setdefault("parties", [person("requester", requester)])
    return event(f"ticket.{name}", "ticket", native_id, when=when, **fields)


def withdrawn(of: Event, *, order: int = 100) -> Event:
    """The withdrawal of what `of` reports about."""
    key = of.interaction
    return event("interaction.withdrawn", key.kind.value, key.native_id, system=key.system, order=order)


def report(of: Event, recorded_at: datetime | None = None) -> Report:
    """An event as the fold gets it."""
    return Report(of, encode(of), recorded_at or of.occurred_at, None, of.interaction.id, of.id)


def record(of: Event, offset: int = 0) -> Record:
    """An event as the broker gives it."""
    envelope = event_envelope(of, of.occurred_at)
    return Record("tenure.interactions", 0, offset, of.interaction.id.encode(), encode(of), envelope.headers())
