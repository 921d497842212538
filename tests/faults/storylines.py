"""What happens to one thing, from its first report to its last: a mail thread, a ticket, an order.

Each storyline takes a `Scene` and gives drafts in the order in which they happened. Moments are distinct to the
second, so that no figure depends on which of two simultaneous touches came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from contracts.envelope import format_instant
from tests.faults.company import HUB
from tests.faults.drafts import Draft, Route, mail_id, party
from tests.faults.history import Company, Contact, Customer, Person

_TITLES = (
    "Offer for spring",
    "Our invoice of June",
    "The pump is not working",
    "Roadmap for next year",
    "Lunch on Friday",
)
_TEXTS = ("Please have a look and tell me.", "Here is what we talked about.", "When can you deliver it?")


@dataclass
class Scene:
    """Where a storyline plays. `takes` moments so that no two are the same."""

    random: Random
    company: Company
    strangers: Sequence[tuple[str, str]]
    number: int
    at: datetime
    route: Route
    taken: set[datetime] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.customer: Customer = self.random.choice(self.company.customers)
        own = [contact for contact in self.company.contacts if contact.account == self.customer.key]
        self.contact: Contact = self.random.choice(own)
        self.unknown = self.random.random() < 0.12
        self.stranger = self.random.choice(self.strangers)
        self.manager: Person = next(person for person in self.company.people if person.email == self.customer.owner)
        self.address = self.stranger[0] if self.unknown else self.contact.addresses[0]
        self.phone = self.stranger[1] if self.unknown else self.contact.phones[0]

    def moment(self, hours: float = 0) -> datetime:
        """Move on by about `hours` and return a second that nothing else has."""
        self.at += timedelta(seconds=int(hours * 3600 * self.random.uniform(0.5, 1.5)) + 1)
        while self.at in self.taken:
            self.at += timedelta(seconds=1)
        self.taken.add(self.at)
        return self.at

    def native(self, word: str) -> str:
        """A native id."""
        return f"{word}-{self.number}"

    def sequence(self) -> int | None:
        """Some sources number what they say."""
        return None

    def draft(self, type_: str, subject: str, at: datetime, data: Mapping[str, Any], step: object = "") -> Draft:
        """One report about `subject`."""
        word = type_.split(".")[-2]
        return Draft(
            type=type_, subject=subject, report=f"{subject}/{word}{step}", at=at, data=dict(data), route=self.route
        )

    def theirs(self, role: str, *, business: bool = False) -> dict[str, Any]:
        """The customer's somebody as this storyline names him or her."""
        if self.unknown:
            return party(role, address=self.address)
        person = self.contact.persons[0] if self.contact.persons and self.random.random() < 0.5 else ""
        organisation = ""
        if business and self.customer.organisations and self.random.random() < 0.6:
            organisation = self.customer.organisations[0]
        return party(role, address=self.address, person=person, organisation=organisation)

    def another(self) -> Contact:
        """Somebody of another customer."""
        others = [contact for contact in self.company.contacts if contact.account != self.customer.key]
        return self.random.choice(others)

    def ours(self, role: str) -> dict[str, Any]:
        """The manager."""
        return party(role, address=self.manager.email)


def mail_thread(scene: Scene) -> list[Draft]:
    """Mails to and fro; each seen by one to three of our mailboxes."""
    random = scene.random
    drafts: list[Draft] = []
    above: list[str] = []
    inbound = random.random() < 0.6
    title = random.choice(_TITLES)
    for place in range(random.randint(1, 4)):
        message = f"<{scene.number}.{place}@{'theirs' if inbound else 'ours'}.example>"
        drafts += _mail(scene, message, list(above), inbound=inbound, title=title if not above else f"Re: {title}")
        above.append(message)
        inbound = not inbound
        scene.moment(random.choice((1, 5, 30)))
    return drafts


def _mail(scene: Scene, message: str, above: list[str], *, inbound: bool, title: str) -> Iterable[Draft]:
    random = scene.random
    sent = scene.moment()
    theirs = "from" if inbound else ("cc" if random.random() < 0.1 else "to")
    parties = [party(theirs, address=scene.address), scene.ours("to" if inbound else "from")]
    if random.random() < 0.15:
        parties.append(party("cc", address=scene.another().addresses[0]))
    away = inbound and random.random() < 0.1
    headers: dict[str, str] = {}
    data: dict[str, Any] = {
        # in the order of the headers
        "parties": sorted(parties, key=lambda each: ("from", "to", "cc").index(each["role"])),
        "references": [{"kind": "message", "value": value} for value in (*above, message)],
        "title": "Out of office: back on Monday" if away else title,
        "text": random.choice(_TEXTS),
        "direction": "in" if inbound else "out",
        "sent_at": format_instant(sent),
    }
    if away:
        data["automatic"] = "out_of_office"
    if not above and random.random() < 0.2:
        label = random.choice(("support", "strategy", "misc"))
        data["labels"] = [label]
        headers["X-Gmail-Labels"] = label
    boxes = [person for person in scene.company.people if person.email != scene.manager.email]
    seen = [scene.manager, *random.sample(boxes, random.choice((0, 0, 1, 2)))]
    private = random.random() < 0.05
    for place, box in enumerate(seen):
        stated = {**data, "mailbox": box.email}
        extra: dict[str, Any] = {"headers": dict(headers)}
        if private and place == 0:
            # What is private in one mailbox says nothing there.
            extra = {
                "headers": {**headers, "Sensitivity": "Private"},
                "subject": stated.pop("title"),
                "text": stated.pop("text"),
            }
            stated["private"] = True
        yield Draft(
            type="tenure.email.received.v1" if inbound else "tenure.email.sent.v1",
            subject=message,
            report=box.email,
            at=sent + timedelta(seconds=2 + place),
            data={name: stated[name] for name in stated if name != "mailbox"} | {"mailbox": box.email},
            route="mail",
            mailbox_source=box.mailbox,
            extra=extra,
        )


def hub_mail(scene: Scene) -> list[Draft]:
    """Mails that a hub reports as events, with its own numbers."""
    drafts = []
    for draft in mail_thread(scene):
        data = {**draft.data}
        data.pop("private", None)
        drafts.append(draft.changed(route="hub", data=data, extra=None))
    return drafts


def call(scene: Scene) -> list[Draft]:
    """One to three legs of a call."""
    random = scene.random
    subject = scene.native("call")
    inbound = random.random() < 0.5
    answered = random.random() < 0.6
    parties = [
        party("caller" if inbound else "callee", phone=scene.phone),
        scene.ours("callee" if inbound else "caller"),
    ]
    drafts = []
    for leg in range(random.choice((1, 1, 2, 3))):
        root = leg == 0
        person = answered and leg == 0
        data: dict[str, Any] = {
            "parties": parties,
            "leg": f"leg{leg}",
            "root": root,
            "direction": "in" if inbound else "out",
            "answered_by_person": person,
            "talk_seconds": random.randint(20, 900) if person else 0,
        }
        if random.random() < 0.2:
            data["tags"] = [random.choice(("support", "qbr", "fair"))]
        drafts.append(scene.draft("tenure.call.leg-ended.v1", subject, scene.moment(0.05), data, leg))
    return drafts


def meeting(scene: Scene) -> list[Draft]:
    """A meeting, perhaps with people of two customers."""
    parties = [scene.theirs("attendee"), scene.ours("organiser")]
    if scene.random.random() < 0.2:
        parties.append(party("attendee", address=scene.another().addresses[0]))
    form = scene.random.choice(("on_site", "remote", "business_review"))
    data = {"parties": parties, "form": form, "minutes": scene.random.randint(15, 180), "title": "Meeting"}
    return [scene.draft("tenure.meeting.held.v1", scene.native("meeting"), scene.moment(), data)]


def note(scene: Scene) -> list[Draft]:
    """A note of ours."""
    data = {"parties": [scene.theirs("subject")], "title": "Note", "text": "They plan a new site."}
    return [scene.draft("tenure.note.written.v1", scene.native("note"), scene.moment(), data)]


def chat(scene: Scene) -> list[Draft]:
    """Some chat messages of one thread."""
    drafts = []
    for place in range(scene.random.randint(1, 3)):
        inbound = scene.random.random() < 0.5
        data = {
            "parties": [scene.theirs("from" if inbound else "to"), scene.ours("to" if inbound else "from")],
            "references": [{"kind": "thread", "value": f"{HUB}:thread-{scene.number}"}],
            "direction": "in" if inbound else "out",
            "text": scene.random.choice(_TEXTS),
        }
        subject = f"chat-{scene.number}-{place}"
        drafts.append(scene.draft("tenure.chat.message-sent.v1", subject, scene.moment(2), data))
    return drafts


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
            "text": random.choice(_TEXTS),
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


STORYLINES: tuple[tuple[Callable[[Scene], list[Draft]], int], ...] = (
    (mail_thread, 22),
    (hub_mail, 8),
    (call, 10),
    (meeting, 6),
    (note, 2),
    (chat, 6),
    (ticket, 14),
    (order, 14),
    (contract, 3),
    (promise, 2),
    (invoice, 2),
    (survey, 2),
    (usage, 2),
    (programme, 2),
    (referral, 2),
    (partnership, 2),
    (contact, 2),
)
"""With their weights. Every family is among them."""


def lifecycle(of: Draft, at: datetime, *, restored: bool) -> Draft:
    """A withdrawal or restoration of what `of` reports, by the same publisher."""
    word = "restored" if restored else "withdrawn"
    data: dict[str, Any] = {"kind": of.kind}
    if of.kind == "mail":
        # Named as the mail doors name it: by the hash that the mail's own reports have.
        data["mailbox"] = of.data["mailbox"]
    return Draft(
        type=f"tenure.interaction.{word}.v1",
        subject=mail_id(of) if of.kind == "mail" else of.subject,
        report=f"{of.subject}/{word}/{at.timestamp():.0f}",
        at=at,
        data=data,
        route="hub" if of.route == "mail" else of.route,
    )
