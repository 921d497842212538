"""What happens to tickets, orders, contracts and everything else that is no message; see `storylines`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from contracts.envelope import format_instant
from tests.faults.company import DESK
from tests.faults.drafts import Draft, party
from tests.faults.scene import TEXTS, Scene


def ticket(scene: Scene) -> list[Draft]:
    """A ticket with its comments, resolved once, twice or not yet, and perhaps a mail about it."""
    random = scene.random
    subject = scene.native("ticket")
    requester = [scene.theirs("requester", business=True)]
    priority = random.choice(("low", "normal", "high", "urgent"))
    opened = {"parties": requester, "priority": priority, "status": "open", "title": "Pump leaks"}
    drafts = [scene.draft("tenure.ticket.opened.v1", subject, scene.moment(), opened)]
    for place in range(random.choice((0, 1, 2))):
        ours = place % 2 == 0
        comment = {
            "parties": [scene.theirs("to" if ours else "from"), scene.ours("from" if ours else "to")],
            "parent": {"kind": "ticket", "native_id": subject},
            "direction": "out" if ours else "in",
            "text": random.choice(TEXTS),
        }
        drafts.append(
            scene.draft("tenure.ticket.commented.v1", f"comment-{scene.number}-{place}", scene.moment(3), comment)
        )
    if random.random() < 0.3:
        raised = {"priority": "urgent", "tags": ["escalated"]}
        drafts.append(scene.draft("tenure.ticket.updated.v1", subject, scene.moment(4), raised))
    if random.random() < 0.75:
        drafts.append(scene.draft("tenure.ticket.resolved.v1", subject, scene.moment(30), {"status": "resolved"}, 1))
        if random.random() < 0.3:
            drafts.append(scene.draft("tenure.ticket.reopened.v1", subject, scene.moment(20), {"status": "open"}))
            if random.random() < 0.7:
                drafts.append(
                    scene.draft("tenure.ticket.resolved.v1", subject, scene.moment(9), {"status": "resolved"}, 2)
                )
        elif random.random() < 0.5:
            drafts.append(scene.draft("tenure.ticket.closed.v1", subject, scene.moment(40), {"status": "closed"}))
            drafts.append(
                scene.draft("tenure.ticket.rated.v1", subject, scene.moment(5), {"rating": random.randint(1, 5)})
            )
    return drafts


def desk_ticket(scene: Scene) -> list[Draft]:
    """A ticket in Zendesk, from its first event to its last."""
    random = scene.random
    ticket_id = str(40_000 + scene.number)
    opened_at = scene.moment()
    person = next((each for each in scene.contact.persons if each.startswith(DESK)), f"{DESK}:6{scene.number}")
    people = [party("requester", address=scene.address, person=person)]
    organisation = next((each for each in scene.customer.organisations if each.startswith(DESK)), None)
    if organisation and random.random() < 0.6:
        people.append(party("customer", organisation=organisation))
    stated = {
        "parties": people,
        "priority": random.choice(("low", "normal", "high", "urgent")),
        "title": "Valve stuck",
        "references": [{"kind": "ticket", "value": f"{DESK}:{ticket_id}"}],
    }
    opening = {"opened_at": format_instant(opened_at)}

    def event(word: str, at: datetime, status: str, **extra: Any) -> Draft:
        later = {} if word == "opened" else {"entries": [{"kind": "opened", "at": format_instant(opened_at)}]}
        return Draft(
            type=f"tenure.ticket.{word}.v1",
            subject=ticket_id,
            report=f"audit-{scene.number}-{word}-{at.timestamp():.0f}",
            at=at,
            data={**stated, **later, "status": status},
            route="desk",
            extra={**opening, **extra},
        )

    def changed(word: str, at: datetime, status: str, previous: str) -> Draft:
        current = {"resolved": "SOLVED", "open": "OPEN", "closed": "CLOSED"}[status]
        return event(word, at, status, event="status_changed", change={"current": current, "previous": previous})

    drafts = [event("opened", opened_at, "open", event="created")]
    if random.random() < 0.3:
        drafts.append(event("updated", scene.moment(3), "open", event="priority_changed"))
    if random.random() < 0.8:
        drafts.append(changed("resolved", scene.moment(25), "resolved", "OPEN"))
        if random.random() < 0.3:
            drafts.append(changed("reopened", scene.moment(12), "open", "SOLVED"))
        elif random.random() < 0.5:
            drafts.append(changed("closed", scene.moment(70), "closed", "SOLVED"))
    return drafts


def order(scene: Scene) -> list[Draft]:
    """An order, changed or not, delivered, refunded or cancelled."""
    random = scene.random
    subject = scene.native("order")
    currency = "USD" if random.random() < 0.1 else "EUR"
    amount = f"{random.randint(50, 9000)}.{random.choice(('00', '50', '99'))}"
    customer = [scene.theirs("customer", business=True)]
    lines = [{"product": "pump", "quantity": "1", "amount": amount}]
    placed = {"parties": customer, "net": {"amount": amount, "currency": currency}, "lines": lines}
    drafts = [scene.draft("tenure.order.placed.v1", subject, scene.moment(), placed)]
    if random.random() < 0.4:
        changed = {"net": {"amount": f"{random.randint(50, 9000)}.00", "currency": currency}}
        drafts.append(scene.draft("tenure.order.changed.v1", subject, scene.moment(10), changed))
    parent = {"parent": {"kind": "order", "native_id": subject}}
    chance = random.random()
    if chance < 0.15:
        drafts.append(scene.draft("tenure.order.cancelled.v1", subject, scene.moment(20), {}))
    if chance < 0.05 or 0.6 < chance < 0.8:
        back = {**parent, "refunded": {"amount": f"{random.randint(1, 40)}.00", "currency": currency}}
        drafts.append(scene.draft("tenure.order.refunded.v1", f"refund-{scene.number}", scene.moment(60), back))
    if chance > 0.5:
        at = scene.moment(48)
        arrived = {**parent, "promised_on": "2026-03-01", "delivered_on": str(at.date())}
        drafts.append(scene.draft("tenure.order.delivered.v1", f"delivery-{scene.number}", at, arrived))
    return drafts


def contract(scene: Scene) -> list[Draft]:
    """A contract through its life."""
    subject = scene.native("contract")
    at = scene.moment()
    data = {
        "parties": [scene.theirs("customer", business=True)],
        "value": {"amount": "12000.00", "currency": "EUR"},
        "recurring": {"amount": "6000.00", "currency": "EUR"},
        "starts_on": str(at.date()),
        "due_on": "2027-01-31",
        "products": ["service"],
    }
    drafts = [scene.draft("tenure.contract.signed.v1", subject, at, data)]
    ending = scene.random.choice(("renewed", "extended", "expired", "cancelled", None))
    if ending:
        changed = {"effective_on": "2026-06-01", "due_on": "2028-01-31"}
        drafts.append(scene.draft(f"tenure.contract.{ending}.v1", subject, scene.moment(100), changed))
    return drafts


Stage = tuple[str, dict[str, Any]]
"""Type and fields."""


def _series(
    scene: Scene, word: str, first: tuple[str, dict[str, Any]], later: Sequence[tuple[str, dict[str, Any]]]
) -> list[Draft]:
    """A thing that begins in one way and goes on in one of several."""
    subject = scene.native(word)
    who = {"parties": [scene.theirs("customer", business=True)]}
    drafts = [scene.draft(first[0], subject, scene.moment(), {**who, **first[1]})]
    if later and scene.random.random() < 0.7:
        name, data = scene.random.choice(later)
        drafts.append(scene.draft(name, subject, scene.moment(50), data))
    return drafts


def promise(scene: Scene) -> list[Draft]:
    """A promise made, then kept or broken."""
    made = {"made_by": "us", "due_on": "2026-03-20", "title": "A new manual"}
    return _series(
        scene,
        "promise",
        ("tenure.promise.made.v1", made),
        [("tenure.promise.kept.v1", {}), ("tenure.promise.broken.v1", {})],
    )


def invoice(scene: Scene) -> list[Draft]:
    """An invoice overdue, then paid, or a payment that failed."""
    owed = {"owed": {"amount": "310.00", "currency": "EUR"}, "due_on": "2026-02-20"}
    later: list[Stage] = [("tenure.invoice.paid.v1", {}), ("tenure.invoice.payment-failed.v1", {})]
    return _series(scene, "invoice", ("tenure.invoice.overdue.v1", owed), later)


def survey(scene: Scene) -> list[Draft]:
    """An answered survey."""
    nps = scene.random.random() < 0.5
    data = {"survey": "nps" if nps else "csat", "score": scene.random.randint(0 if nps else 1, 10 if nps else 5)}
    return _series(scene, "survey", ("tenure.survey.answered.v1", data), [])


def usage(scene: Scene) -> list[Draft]:
    """A day's use."""
    data = {
        "product": "portal",
        "on": str(scene.at.date()),
        "active_users": scene.random.randint(0, 50),
        "licences": 50,
    }
    return _series(scene, "usage", ("tenure.usage.reported.v1", data), [])


def programme(scene: Scene) -> list[Draft]:
    """Somebody took part."""
    return _series(
        scene, "programme", ("tenure.programme.attended.v1", {"programme": "Basics", "form": "training"}), []
    )


def referral(scene: Scene) -> list[Draft]:
    """A lead, perhaps won."""
    return _series(
        scene, "referral", ("tenure.referral.lead-given.v1", {"referred": "Omega"}), [("tenure.referral.won.v1", {})]
    )


def partnership(scene: Scene) -> list[Draft]:
    """A partnership, perhaps over."""
    return _series(
        scene,
        "partnership",
        ("tenure.partnership.started.v1", {"form": "campaign"}),
        [("tenure.partnership.ended.v1", {})],
    )


def contact(scene: Scene) -> list[Draft]:
    """Somebody joined, left or bounced."""
    subject = scene.native("person")
    who = {"parties": [scene.theirs("subject")]}
    word = scene.random.choice(("joined", "left", "bounced"))
    return [scene.draft(f"tenure.contact.{word}.v1", subject, scene.moment(), who)]
