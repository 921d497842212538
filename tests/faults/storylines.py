"""What happens to one thing, from its first report to its last: a mail thread, a ticket, an order.

Each storyline takes a `Scene` and gives drafts in the order in which they happened. Moments are distinct to the
second, so that no figure depends on which of two simultaneous touches came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from contracts.envelope import format_instant
from tests.faults.company import HUB
from tests.faults.dealings import (
    contact,
    contract,
    desk_ticket,
    invoice,
    order,
    partnership,
    programme,
    promise,
    referral,
    survey,
    ticket,
    usage,
)
from tests.faults.drafts import Draft, mail_id, party
from tests.faults.scene import TEXTS, Scene

_TITLES = (
    "Offer for spring",
    "Our invoice of June",
    "The pump is not working",
    "Roadmap for next year",
    "Lunch on Friday",
)


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
        "text": random.choice(TEXTS),
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
            "text": scene.random.choice(TEXTS),
        }
        subject = f"chat-{scene.number}-{place}"
        drafts.append(scene.draft("tenure.chat.message-sent.v1", subject, scene.moment(2), data))
    return drafts


STORYLINES: tuple[tuple[Callable[[Scene], list[Draft]], int], ...] = (
    (mail_thread, 22),
    (hub_mail, 8),
    (call, 10),
    (meeting, 6),
    (note, 2),
    (chat, 6),
    (ticket, 10),
    (desk_ticket, 5),
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
    if of.route == "desk" and not restored:
        data["reason"] = "deleted"
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
        extra={"event": "undeleted" if restored else "soft_deleted"} if of.route == "desk" else None,
    )
